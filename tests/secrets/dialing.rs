//! A known password goes through everything that can be said about dialling: every error and its
//! causes, every Debug, every line of the log at its most talkative. It is found nowhere.
//!
//! With TLS, so are the passphrase and the key of a client's identity: see [`with_tls`].

use std::error::Error as StdError;
use std::fmt::Debug;
#[cfg(feature = "tls")]
use std::sync::Once;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Context, Dialer, Error, Mux, Pool, PubSubConn, logging};

use crate::capture::{listen, log_so_far};
#[cfg(feature = "tls")]
use crate::support::certs;
use crate::support::fake_server::{FakeServer, FullQueue, refused_address};
use crate::support::redis_server::RedisServer;
use crate::support::wait::{SHORT, promptly};

/// Has what a URL must encode, so it can be found in both forms; and no part of it is a word that a
/// server uses.
const PASSWORD: &str = "Zq7/xK@Wj w%Vj";
const ENCODED: &str = "Zq7%2FxK%40Wj%20w%25Vj";
/// What must not be seen: pieces that survive each way of quoting, cutting and splitting.
const PIECES: [&str; 4] = ["Zq7", "xK", "Wj", "Vj"];
const USER: &str = "ursula";

#[track_caller]
fn clean(what: &str, text: &str) {
    for piece in PIECES {
        assert!(!text.contains(piece), "{what} shows {piece:?}: {text}");
    }
    #[cfg(feature = "tls")]
    for line in std::fs::read_to_string(certs::cert("client.key")).unwrap().lines() {
        let is_secret = !line.starts_with("-----");
        assert!(!is_secret || !text.contains(line), "{what} shows the client's key: {text}");
    }
}

/// In both of its forms.
#[track_caller]
fn debug(what: &str, shown: &impl Debug) {
    clean(what, &format!("{shown:?}"));
    clean(what, &format!("{shown:#?}"));
}

/// The error as its user reads it, with all its causes.
#[track_caller]
fn told(what: &str, error: &Error) {
    debug(what, error);
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(error) = cause {
        clean(what, &error.to_string());
        debug(what, &error);
        cause = error.source();
    }
    if let Some(server) = error.as_server() {
        clean(what, server.message());
        clean(what, server.code());
    }
}

/// Everything that hands on what a dial has to say.
#[track_caller]
fn every_dial(what: &str, dialer: &Dialer) {
    let dialer = dialer.clone().connect_timeout(SHORT).read_timeout(SHORT);
    debug(what, &dialer);
    promptly(what, || {
        match dialer.dial() {
            Ok(mut conn) => {
                debug(what, &conn);
                if let Err(error) = conn.call("PING", ()) {
                    told(what, &error);
                }
                debug(what, &conn);
                debug(what, &logging(conn, "log"));
            }
            Err(error) => told(what, &error),
        }
        let ctx = Context::background().with_timeout(SHORT);
        if let Err(error) = dialer.dial_context(&ctx) {
            told(what, &error);
        }

        let builder = Pool::builder(dialer.clone()).max_active(1).wait(true);
        debug(what, &builder);
        let pool = builder.build().unwrap();
        debug(what, &pool);
        let mut conn = pool.get();
        debug(what, &conn);
        if let Err(error) = conn.call("PING", ()) {
            told(what, &error);
        }
        debug(what, &conn);
        // The report of a pool that has none to lend tells of the last dial.
        if let Err(error) = pool.get_timeout(Duration::ZERO) {
            told(what, &error);
        }
        drop(conn);
        if let Err(error) = pool.get_timeout(Duration::ZERO) {
            told(what, &error);
        }

        let mux = Mux::new(dialer.clone());
        if let Err(error) = mux.call("PING", ()) {
            told(what, &error);
        }
        debug(what, &mux);
        if let Some(error) = mux.err() {
            told(what, &error);
        }
    });
    clean(what, &log_so_far());
}

/// With the secrets in each way in which they can be told.
fn every_dialler(address: &str) -> Vec<(String, Dialer)> {
    #[allow(unused_mut)]
    let mut rows = in_the_clear(address);
    #[cfg(feature = "tls")]
    rows.extend(with_tls(address));
    rows
}

fn in_the_clear(address: &str) -> Vec<(String, Dialer)> {
    let mut rows = vec![
        ("options".into(), Dialer::tcp(address).password(PASSWORD)),
        ("options".into(), Dialer::tcp(address).username(USER).password(PASSWORD).database(7)),
        ("options".into(), Dialer::tcp(address).password(PASSWORD).client_name("name")),
    ];
    for url in [
        format!("redis://:{ENCODED}@{address}"),
        format!("redis://{USER}:{ENCODED}@{address}/3"),
        format!("redis://{ENCODED}@{address}?db=1"),
    ] {
        rows.push((url.clone(), Dialer::url(url).unwrap()));
    }
    rows
}

/// A client's certificate and key behind the password, made once.
#[cfg(feature = "tls")]
fn identity() -> std::path::PathBuf {
    use certs::{cert, folder};

    static MADE: Once = Once::new();
    let file = folder().path.join("guarded.p12");
    MADE.call_once(|| {
        let made = std::process::Command::new("openssl")
            .args(["pkcs12", "-export", "-passout", &format!("pass:{PASSWORD}")])
            .args(["-in".as_ref(), cert("client.pem").as_os_str()])
            .args(["-inkey".as_ref(), cert("client.key").as_os_str()])
            .args(["-out".as_ref(), file.as_os_str()])
            .output()
            .expect("the openssl tool");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    });
    file
}

/// With a client's identity whose passphrase is the password, in a file that is right, that is not
/// there and that is none; and with a key in the place of each other file.
#[cfg(feature = "tls")]
fn with_tls(address: &str) -> Vec<(String, Dialer)> {
    use certs::{cert, folder};

    let url = format!("rediss://{USER}:{ENCODED}@{address}");
    let dialer = Dialer::url(&url).unwrap();
    let (key, prose) = (cert("client.key"), folder().path.join("prose"));
    // What is wrong with it must not be told by repeating it.
    std::fs::write(&prose, format!("-----BEGIN PRIVATE KEY-----\n{PASSWORD}\n")).unwrap();
    let mut rows = vec![
        ("rediss".into(), dialer.clone()),
        ("rediss".into(), dialer.clone().tls_skip_verify(true)),
        ("use_tls".into(), Dialer::tcp(address).password(PASSWORD).use_tls(true)),
        ("an identity".into(), dialer.clone().tls_client_identity(cert("client.pem"), &key)),
        ("no certificate".into(), dialer.clone().tls_client_identity(&key, &key)),
        ("no key".into(), dialer.clone().tls_client_identity(cert("client.pem"), &prose)),
        ("no authority".into(), dialer.clone().tls_ca_file(&prose)),
    ];
    for file in [identity(), folder().path.join("no-such-file"), prose] {
        let dialer = dialer.clone().tls_client_identity_pkcs12(file, PASSWORD);
        rows.push(("pkcs12".into(), dialer));
    }
    rows
}

#[test]
fn a_url_that_is_refused() {
    let _alone = listen();
    let urls = [
        format!("redis://{USER}:{PASSWORD}@localhost:6379"),
        format!("redis://:{PASSWORD}@localhost"),
        format!("redis://{USER}:{ENCODED}@localhost:port"),
        format!("redis://{USER}:{ENCODED}@localhost:0"),
        format!("redis://{USER}:{ENCODED}@localhost:99999"),
        format!("redis://{USER}:{ENCODED}@[::1"),
        format!("redis://{USER}:{ENCODED}@[localhost]"),
        format!("redis://{USER}:{ENCODED}@a:b:c"),
        format!("redis://{USER}:{ENCODED}@host/{ENCODED}"),
        format!("redis://{USER}:{ENCODED}@host/x"),
        format!("redis://{USER}:{ENCODED}@host?db=x"),
        format!("redis://{USER}:{ENCODED}@host?db=1&db=2"),
        format!("redis://{USER}:{ENCODED}@host?password={ENCODED}"),
        format!("redis://host?password={ENCODED}"),
        format!("redis://{USER}:{ENCODED}@host/1?db=2"),
        format!("redis://{USER}:{ENCODED}%@host"),
        format!("redis://{USER}:{ENCODED}%zz@host"),
        format!("redis://{USER}:{ENCODED}%ff@host"),
        format!("redis://{USER}:{ENCODED}#@host"),
        format!("redis:{USER}:{ENCODED}@host"),
        format!("redis:/{USER}:{ENCODED}@host"),
        format!("{USER}:{ENCODED}@host"),
        format!("{ENCODED}:{USER}@host"),
        format!(":{ENCODED}@host"),
        format!("{ENCODED}://host"),
        format!("{ENCODED}@host"),
        format!("http://{USER}:{ENCODED}@host"),
        format!("unix://{USER}:{ENCODED}@host/path"),
        format!("unix://{USER}:{ENCODED}@"),
        format!("rediss://{USER}:{ENCODED}@host"),
    ];
    for url in urls {
        match Dialer::url(&url) {
            Err(error) => told(&url, &error),
            Ok(dialer) => every_dial(&url, &dialer),
        }
        // A URL where an address belongs, too.
        let dialer = Dialer::tcp(&url);
        every_dial(&url, &dialer);
    }
}

#[test]
fn a_server_that_is_not_there() {
    let _alone = listen();
    let full = FullQueue::new();
    for address in [refused_address().to_string(), full.address.to_string()] {
        for (what, dialer) in every_dialler(&address) {
            every_dial(&what, &dialer);
        }
    }
    for (what, dialer) in every_dialler("no-such-host.invalid:6379") {
        every_dial(&what, &dialer);
    }
    every_dial("a socket", &Dialer::unix("/nonexistent/redis.sock").password(PASSWORD));
    every_dial("a user alone", &Dialer::tcp(":6379").username(USER));
}

#[test]
fn a_server_that_lets_nobody_in_or_anybody() {
    let _alone = listen();
    let open = RedisServer::shared();
    let guarded = RedisServer::builder().arg("--requirepass", "another").start();
    let lets_in = RedisServer::builder().arg("--requirepass", "Zq7xK").start();
    let with_user = RedisServer::builder()
        .args(["--user", USER, "on", ">Zq7Vj", "+ping", "--user", "default", "on", "nopass"])
        .args(["+@all"])
        .start();
    for address in [open.addr(), guarded.addr()] {
        for (what, dialer) in every_dialler(&address) {
            every_dial(&what, &dialer);
        }
    }
    every_dial("let in", &Dialer::tcp(lets_in.addr()).password("Zq7xK"));
    every_dial("no such database", &Dialer::tcp(lets_in.addr()).password("Zq7xK").database(99));
    let user = Dialer::tcp(with_user.addr()).username(USER).password("Zq7Vj");
    every_dial("a user", &user);
    every_dial("a user who may not", &user.database(1));
}

/// Servers that repeat what they were told: to one that speaks no TLS, a dialler that does tells
/// nothing.
#[test]
fn a_server_that_gives_it_away() {
    let _alone = listen();
    let answers = [
        format!("-ERR invalid password '{PASSWORD}'\r\n"),
        format!("-WRONGPASS {PASSWORD}\r\n"),
        format!("-{PASSWORD}\r\n"),
        format!("-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}' \r\n"),
        format!("-ERR unknown command 'AUTH', with args beginning with: '{USER}' 'Zq7/xK@\r\n"),
        format!("+{PASSWORD}\r\n"),
        format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{PASSWORD}\r\n", PASSWORD.len()),
        format!("${}\r\n{PASSWORD}", PASSWORD.len()),
        format!("{PASSWORD}\r\n"),
        format!(":{PASSWORD}\r\n"),
        format!("${PASSWORD}\r\n"),
        format!("*{PASSWORD}\r\n"),
        format!("+{PASSWORD}\n"),
    ];
    for answer in answers {
        for server in [FakeServer::saying(&*answer), FakeServer::closing_after(&*answer)] {
            for (what, dialer) in in_the_clear(&server.address()) {
                // The first byte of nonsense is told, and that is all.
                every_dial(&format!("{what}: {answer:?}"), &dialer);
            }
        }
    }
}

#[test]
fn a_server_that_says_nothing_or_hangs_up() {
    let _alone = listen();
    for server in [FakeServer::silent(), FakeServer::deaf(), FakeServer::closing_after("")] {
        for (what, dialer) in every_dialler(&server.address()) {
            every_dial(&what, &dialer);
        }
    }
}

/// A custom connector that fails with an error of its own says what it likes; the crate adds
/// nothing to it.
#[test]
fn a_connector_and_a_dial_function_of_ones_own() {
    let _alone = listen();
    let dialer = Dialer::tcp(":6379").password(PASSWORD).connector(|_, address| {
        debug("the address", address);
        Err(Error::other("no way through"))
    });
    every_dial("connector", &dialer);
    let pool = Pool::builder_with(move |ctx| dialer.dial_context(ctx)).build().unwrap();
    told("the pool's", &pool.acquire().unwrap_err());
    debug("the pool", &pool);
    clean("the log", &log_so_far());
}

/// What is sent later, by hand, on a connection whose commands are logged.
#[test]
fn a_command_that_carries_it() {
    let _alone = listen();
    let commands: [(&str, &[&str]); 12] = [
        ("AUTH", &[PASSWORD]),
        ("auth", &[USER, PASSWORD]),
        ("HELLO", &["2", "AUTH", USER, PASSWORD]),
        ("HELLO", &["2", "SETNAME", "name", "AUTH", USER, PASSWORD]),
        ("CONFIG", &["SET", "requirepass", PASSWORD]),
        ("CONFIG", &["SET", "maxmemory", "0", "masterauth", PASSWORD]),
        ("config", &["set", "tls-key-file-pass", PASSWORD]),
        ("ACL", &["SETUSER", USER, "on", ">Zq7xK"]),
        ("MIGRATE", &["host", "6379", "key", "0", "10", "AUTH", PASSWORD]),
        ("MIGRATE", &["host", "6379", "key", "0", "10", "AUTH2", USER, PASSWORD]),
        ("SENTINEL", &["SET", "master", "auth-pass", PASSWORD]),
        ("SENTINEL", &["CONFIG", "SET", "sentinel-pass", PASSWORD]),
    ];
    for (command, args) in commands {
        // Answered, refused, not answered, and in a pipeline.
        for answer in ["+OK\r\n+OK\r\n", "-ERR no\r\n-ERR no\r\n", "", "nonsense"] {
            let mut conn = logging(Dialer::tcp(":6379").wrap(MemoryStream::new(answer)), "log");
            debug(command, &conn.call(command, args));
            debug(command, &conn);
            let _ = conn.send(command, args);
            let mut pipeline = conn.pipeline();
            pipeline.push(command, args);
            debug(command, &pipeline.run());
            drop(conn);
            let log = log_so_far();
            assert!(log.contains("redigo::commands"), "nothing is logged: {log}");
            clean(command, &log);
        }
    }
}

/// A reply that holds it is the caller's to see, and not the log's.
#[test]
fn a_reply_that_carries_it() {
    let _alone = listen();
    let answer = format!("*2\r\n$11\r\nrequirepass\r\n$14\r\n{PASSWORD}\r\n");
    let mut conn = logging(Dialer::tcp(":6379").wrap(MemoryStream::new(answer)), "log");
    conn.call("CONFIG", ("GET", "requirepass")).unwrap();
    clean("CONFIG GET", &log_so_far());

    // A server tells others' commands to those who ask it to.
    let line = format!("+1700000000.5 [0 127.0.0.1:1] \"AUTH\" \"{PASSWORD}\"\r\n");
    let answers = format!("+OK\r\n{line}{line}");
    let mut conn = logging(Dialer::tcp(":6379").wrap(MemoryStream::new(answers)), "log");
    conn.call("MONITOR", ()).unwrap();
    conn.receive().unwrap();
    conn.receive().unwrap();
    drop(conn);
    let log = log_so_far();
    assert!(log.contains("MONITOR"), "{log}");
    clean("MONITOR", &log);
}

#[test]
fn a_subscriber_of_a_connection_with_it() {
    let _alone = listen();
    let server = RedisServer::builder().arg("--requirepass", "Zq7xK").start();
    let conn = Dialer::tcp(server.addr()).password("Zq7xK").dial().unwrap();
    let mut sub = PubSubConn::new(logging(conn, "log"));
    sub.subscribe("channel").unwrap();
    debug("the event", &sub.receive().unwrap());
    debug("the subscriber", &sub);
    sub.close().unwrap();
    clean("the log", &log_so_far());
}

/// The search finds what it is to find.
#[test]
#[should_panic(expected = "shows \"Zq7\"")]
fn a_leak_would_be_seen() {
    let _alone = listen();
    log::trace!(target: "elsewhere", "{PASSWORD}");
    clean("the log", &log_so_far());
}
