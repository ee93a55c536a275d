//! Dials with a known password and searches every error with its causes, every Debug output and
//! every log line at level trace. The password must not be found.
//!
//! With TLS, neither must the passphrase and the key of a client identity: see [`with_tls`].

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

/// Has characters that a URL must encode, to be searched for in both forms. No part of it is a word
/// that a server uses.
const PASSWORD: &str = "Zq7/xK@Wj w%Vj";
const ENCODED: &str = "Zq7%2FxK%40Wj%20w%25Vj";
/// Pieces of the password that survive quoting, cutting and splitting.
const PIECES: [&str; 4] = ["Zq7", "xK", "Wj", "Vj"];
const USER: &str = "ursula";

#[track_caller]
fn check_text(what: &str, text: &str) {
    for piece in PIECES {
        assert!(!text.contains(piece), "{what} shows {piece:?}: {text}");
    }
    #[cfg(feature = "tls")]
    for line in std::fs::read_to_string(certs::cert("client.key")).unwrap().lines() {
        let is_secret = !line.starts_with("-----");
        assert!(!is_secret || !text.contains(line), "{what} shows the client's key: {text}");
    }
}

/// Checks both forms of Debug.
#[track_caller]
fn debug(what: &str, shown: &impl Debug) {
    check_text(what, &format!("{shown:?}"));
    check_text(what, &format!("{shown:#?}"));
}

/// Checks the error as displayed, with all its causes.
#[track_caller]
fn check_error(what: &str, error: &Error) {
    debug(what, error);
    let mut cause: Option<&dyn StdError> = Some(error);
    while let Some(error) = cause {
        check_text(what, &error.to_string());
        debug(what, &error);
        cause = error.source();
    }
    if let Some(server) = error.as_server() {
        check_text(what, server.message());
        check_text(what, server.code());
    }
}

/// Checks every way in which the error of a dial is passed on.
#[track_caller]
fn every_dial(what: &str, dialer: &Dialer) {
    let dialer = dialer.clone().connect_timeout(SHORT).read_timeout(SHORT);
    debug(what, &dialer);
    promptly(what, || {
        match dialer.dial() {
            Ok(mut conn) => {
                debug(what, &conn);
                if let Err(error) = conn.call("PING", ()) {
                    check_error(what, &error);
                }
                debug(what, &conn);
                debug(what, &logging(conn, "log"));
            }
            Err(error) => check_error(what, &error),
        }
        let ctx = Context::background().with_timeout(SHORT);
        if let Err(error) = dialer.dial_context(&ctx) {
            check_error(what, &error);
        }

        let builder = Pool::builder(dialer.clone()).max_active(1).wait(true);
        debug(what, &builder);
        let pool = builder.build().unwrap();
        debug(what, &pool);
        let mut conn = pool.get();
        debug(what, &conn);
        if let Err(error) = conn.call("PING", ()) {
            check_error(what, &error);
        }
        debug(what, &conn);
        // The report of an exhausted pool includes the last dial error.
        if let Err(error) = pool.get_timeout(Duration::ZERO) {
            check_error(what, &error);
        }
        drop(conn);
        if let Err(error) = pool.get_timeout(Duration::ZERO) {
            check_error(what, &error);
        }

        let mux = Mux::new(dialer.clone());
        if let Err(error) = mux.call("PING", ()) {
            check_error(what, &error);
        }
        debug(what, &mux);
        if let Some(error) = mux.err() {
            check_error(what, &error);
        }
    });
    check_text(what, &log_so_far());
}

/// Dialers that get the secrets in every possible way.
fn every_dialer(address: &str) -> Vec<(String, Dialer)> {
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
    let file = folder().path().join("guarded.p12");
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

/// Dialers with a client identity whose passphrase is the password: from a valid, a missing and an
/// invalid file, and with a key in place of each other file.
#[cfg(feature = "tls")]
fn with_tls(address: &str) -> Vec<(String, Dialer)> {
    use certs::{cert, folder};

    let url = format!("rediss://{USER}:{ENCODED}@{address}");
    let dialer = Dialer::url(&url).unwrap();
    let (key, prose) = (cert("client.key"), folder().path().join("prose"));
    // The error must not quote the invalid file.
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
    for file in [identity(), folder().path().join("no-such-file"), prose] {
        let dialer = dialer.clone().tls_client_identity_pkcs12(file, PASSWORD);
        rows.push(("pkcs12".into(), dialer));
    }
    rows
}

#[test]
fn refused_url_shows_no_secret() {
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
            Err(error) => check_error(&url, &error),
            Ok(dialer) => every_dial(&url, &dialer),
        }
        // A URL in place of an address, too.
        let dialer = Dialer::tcp(&url);
        every_dial(&url, &dialer);
    }
}

#[test]
fn missing_server_shows_no_secret() {
    let _alone = listen();
    let full = FullQueue::new();
    for address in [refused_address().to_string(), full.address.to_string()] {
        for (what, dialer) in every_dialer(&address) {
            every_dial(&what, &dialer);
        }
    }
    for (what, dialer) in every_dialer("no-such-host.invalid:6379") {
        every_dial(&what, &dialer);
    }
    every_dial("a socket", &Dialer::unix("/nonexistent/redis.sock").password(PASSWORD));
    every_dial("a user alone", &Dialer::tcp(":6379").username(USER));
}

#[test]
fn refused_or_accepted_login_shows_no_secret() {
    let _alone = listen();
    let open = RedisServer::shared();
    let guarded = RedisServer::builder().arg("--requirepass", "another").start();
    let lets_in = RedisServer::builder().arg("--requirepass", "Zq7xK").start();
    let with_user = RedisServer::builder()
        .args(["--user", USER, "on", ">Zq7Vj", "+ping", "--user", "default", "on", "nopass"])
        .args(["+@all"])
        .start();
    for address in [open.addr(), guarded.addr()] {
        for (what, dialer) in every_dialer(&address) {
            every_dial(&what, &dialer);
        }
    }
    every_dial("let in", &Dialer::tcp(lets_in.addr()).password("Zq7xK"));
    every_dial("no such database", &Dialer::tcp(lets_in.addr()).password("Zq7xK").database(99));
    let user = Dialer::tcp(with_user.addr()).username(USER).password("Zq7Vj");
    every_dial("a user", &user);
    every_dial("a user who may not", &user.database(1));
}

/// Servers that echo the bytes they receive. A dialer with TLS sends no secret to a server without
/// TLS.
#[test]
fn server_that_echoes_the_secret_shows_no_secret() {
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
                // The error shows only the first byte of nonsense.
                every_dial(&format!("{what}: {answer:?}"), &dialer);
            }
        }
    }
}

#[test]
fn silent_or_closing_server_shows_no_secret() {
    let _alone = listen();
    for server in [FakeServer::silent(), FakeServer::deaf(), FakeServer::closing_after("")] {
        for (what, dialer) in every_dialer(&server.address()) {
            every_dial(&what, &dialer);
        }
    }
}

/// The error of a custom connector is passed on unchanged; the crate adds no secret.
#[test]
fn custom_connector_shows_no_secret() {
    let _alone = listen();
    let dialer = Dialer::tcp(":6379").password(PASSWORD).connector(|_, address| {
        debug("the address", address);
        Err(Error::other("no way through"))
    });
    every_dial("connector", &dialer);
    let pool = Pool::builder_with(move |ctx| dialer.dial_context(ctx)).build().unwrap();
    check_error("the pool", &pool.acquire().unwrap_err());
    debug("the pool", &pool);
    check_text("the log", &log_so_far());
}

/// Commands with the secret on a connection with logging.
#[test]
fn command_with_a_secret_is_masked() {
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
            check_text(command, &log);
        }
    }
}

/// A reply with the secret reaches the caller and not the log.
#[test]
fn reply_with_a_secret_is_masked() {
    let _alone = listen();
    let answer = format!("*2\r\n$11\r\nrequirepass\r\n$14\r\n{PASSWORD}\r\n");
    let mut conn = logging(Dialer::tcp(":6379").wrap(MemoryStream::new(answer)), "log");
    conn.call("CONFIG", ("GET", "requirepass")).unwrap();
    check_text("CONFIG GET", &log_so_far());

    // MONITOR shows the commands of other clients.
    let line = format!("+1700000000.5 [0 127.0.0.1:1] \"AUTH\" \"{PASSWORD}\"\r\n");
    let answers = format!("+OK\r\n{line}{line}");
    let mut conn = logging(Dialer::tcp(":6379").wrap(MemoryStream::new(answers)), "log");
    conn.call("MONITOR", ()).unwrap();
    conn.receive().unwrap();
    conn.receive().unwrap();
    drop(conn);
    let log = log_so_far();
    assert!(log.contains("MONITOR"), "{log}");
    check_text("MONITOR", &log);
}

#[test]
fn subscriber_shows_no_secret() {
    let _alone = listen();
    let server = RedisServer::builder().arg("--requirepass", "Zq7xK").start();
    let conn = Dialer::tcp(server.addr()).password("Zq7xK").dial().unwrap();
    let mut sub = PubSubConn::new(logging(conn, "log"));
    sub.subscribe("channel").unwrap();
    debug("the event", &sub.receive().unwrap());
    debug("the subscriber", &sub);
    sub.close().unwrap();
    check_text("the log", &log_so_far());
}

/// The search finds a secret that is there.
#[test]
#[should_panic(expected = "shows \"Zq7\"")]
fn search_finds_a_planted_secret() {
    let _alone = listen();
    log::trace!(target: "elsewhere", "{PASSWORD}");
    check_text("the log", &log_so_far());
}
