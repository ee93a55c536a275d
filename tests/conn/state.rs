//! The state that a borrower leaves on a connection: the replies decide whether the pool must undo
//! it. Each script runs by every way to send commands, and ends by `close` and by `drop`; then the
//! next borrower looks at its connection.

use std::collections::HashMap;

use redigo::testing::{MemoryStream, ScriptedServer};
use redigo::{CloseReason, Conn, Dialer, Error, Pool, PooledConn, Result, Value};

use crate::support::live;
use crate::support::redis_server::RedisServer;
use crate::support::streams::{over, written};
use crate::support::wait::wait_until;

type Script = &'static [&'static [&'static str]];
type Way = fn(&mut Conn, Script) -> Result<()>;

/// Error replies are part of a script, so they are no failure.
fn accept<T>(outcome: Result<T>) -> Result<()> {
    match outcome {
        Err(error) if error.is_fatal() => Err(error),
        _ => Ok(()),
    }
}

const WAYS: [(&str, Way); 5] = [
    ("call", |conn, script| {
        script.iter().try_for_each(|words| accept(conn.call(words[0], &words[1..])))
    }),
    ("query", |conn, script| {
        script.iter().try_for_each(|words| accept(conn.query::<Value>(words[0], &words[1..])))
    }),
    ("send", |conn, script| {
        script.iter().try_for_each(|words| conn.send(words[0], &words[1..]))?;
        conn.flush()?;
        script.iter().try_for_each(|_| accept(conn.receive()))
    }),
    ("pipeline", |conn, script| {
        let mut pipeline = conn.pipeline();
        script.iter().for_each(|words| pipeline.push(words[0], &words[1..]));
        accept(pipeline.run())
    }),
    ("split", |conn, script| {
        let (mut sender, mut receiver) = conn.split();
        script.iter().try_for_each(|words| sender.send(words[0], &words[1..]))?;
        sender.flush()?;
        script.iter().try_for_each(|_| accept(receiver.receive()))
    }),
];

const ENDS: [(&str, fn(PooledConn)); 2] = [("close", |conn| drop(conn.close())), ("drop", drop)];

/// Fields of CLIENT INFO.
fn client_info(conn: &mut Conn) -> HashMap<String, String> {
    let line: String = conn.query("CLIENT", "INFO").unwrap();
    let fields = line.trim_end().split(' ').filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Checks that a connection is as it was dialed, watches no key, and answers in step.
#[track_caller]
fn assert_as_dialed(conn: &mut Conn, script: &str) {
    let info = client_info(conn);
    let shown = ["db", "name", "multi", "sub", "psub", "ssub", "flags", "resp"]
        .map(|field| info.get(field).map_or("", String::as_str));
    assert_eq!(shown, ["3", "baseline", "-1", "0", "0", "0", "N", "2"], "{script}");
    let mut other = live::shared_dialer().database(3).dial().unwrap();
    other.call("INCR", "watched").unwrap();
    conn.call("MULTI", ()).unwrap();
    conn.call("ECHO", "in step").unwrap();
    let exec: Vec<String> = conn.query("EXEC", ()).unwrap_or_else(|error| {
        panic!("{script}: a watched key aborted the transaction: {error}");
    });
    assert_eq!(exec, ["in step"], "{script}");
}

fn dialer() -> Dialer {
    live::shared_dialer().database(3).client_name("baseline")
}

/// Runs the script by these ways, with both ends, on connections of this dialer.
fn run(dialer: &Dialer, ways: &[(&str, Way)], script: Script) {
    for (way, send) in ways {
        for (end, give_back) in ENDS {
            let what = format!("{script:?} by {way}, {end}");
            let pool = Pool::builder(dialer.clone()).max_active(1).build().unwrap();
            let mut conn = pool.acquire().unwrap();
            send(&mut conn, script).unwrap_or_else(|error| panic!("{what}: {error}"));
            give_back(conn);
            assert_as_dialed(&mut pool.acquire().unwrap(), &what);
        }
    }
}

#[test]
fn next_borrower_finds_no_state_of_the_last() {
    const SCRIPTS: &[Script] = &[
        // A transaction, and watched keys.
        &[&["MULTI"]],
        &[&["WATCH", "watched"]],
        &[&["WATCH", "watched"], &["MULTI"], &["PING"]],
        &[&["MULTI"], &["DISCARD", "oops"]],
        &[&["MULTI"], &["BOGUS"]],
        &[&["MULTI"], &["BOGUS"], &["EXEC"]],
        &[&["MULTI"], &["EXEC", "oops"]],
        &[&["MULTI", "oops"], &["EXEC"]],
        &[&["WATCH", "watched"], &["DISCARD"]],
        &[&["WATCH", "watched"], &["EXEC"]],
        &[&["WATCH", "watched"], &["UNWATCH", "oops"]],
        &[&["WATCH", "watched"], &["MULTI", "oops"]],
        &[&["WATCH", "watched"], &["INCR", "watched"], &["MULTI"], &["PING"], &["EXEC"]],
        &[&["WATCH", "watched"], &["MULTI"], &["UNWATCH"], &["DISCARD", "oops"]],
        &[&["MULTI"], &["WATCH", "watched"], &["EXEC"]],
        // The database, the name and the mode.
        &[&["SELECT", "5"]],
        &[&["SELECT", "5"], &["SELECT", "3", "oops"]],
        &[&["SELECT", "5"], &["SELECT", "03"]],
        &[&["SELECT", "5"], &["SELECT", "1000000"]],
        &[&["SELECT", "5"], &["MULTI"], &["SELECT", "3"], &["DISCARD"]],
        &[&["SELECT", "5"], &["MULTI"], &["SELECT", "3"], &["BOGUS"], &["EXEC"]],
        &[&["MULTI"], &["SELECT", "5"], &["EXEC"]],
        &[&["MULTI"], &["SELECT", "5"], &["SELECT", "1000000"], &["EXEC"]],
        &[&["MULTI"], &["GET", "k"], &["SELECT", "5"], &["CLIENT", "SETNAME", "x"], &["EXEC"]],
        &[&["MULTI"], &["SELECT", "5"]],
        &[&["CLIENT", "SETNAME", "other"]],
        &[&["CLIENT", "SETNAME", "other"], &["CLIENT", "SETNAME", "baseline", "oops"]],
        &[&["CLIENT", "SETNAME", "other"], &["CLIENT", "SETNAME", "not allowed"]],
        &[&["READONLY"]],
        &[&["READONLY"], &["READWRITE"]],
        &[&["ASKING"]],
        // State that cannot be undone.
        &[&["CLIENT", "NO-EVICT", "on"]],
        &[&["CLIENT", "TRACKING", "on"]],
        &[&["AUTH", "wrong"]],
        &[&["AUTH", "default", ""]],
        &[&["HELLO", "2", "SETNAME", "other"]],
        &[&["RESET"]],
        &[&["EVAL", "return redis.call('SELECT', 5)", "0"]],
    ];
    let dialer = dialer();
    SCRIPTS.iter().for_each(|script| run(&dialer, &WAYS, script));
}

#[test]
fn next_borrower_receives_no_message_of_the_last() {
    const SCRIPTS: &[Script] = &[
        &[&["SUBSCRIBE", "news", "sport"]],
        &[&["SUBSCRIBE", "news", "sport"], &["UNSUBSCRIBE"]],
        &[&["PSUBSCRIBE", "n*"], &["SSUBSCRIBE", "shard"]],
        &[&["UNSUBSCRIBE"], &["SUBSCRIBE", "news"]],
        &[&["MULTI"], &["SUBSCRIBE", "news"], &["EXEC"]],
        &[&["MONITOR"]],
    ];
    let dialer = dialer();
    for script in SCRIPTS {
        run(&dialer, &[WAYS[2], WAYS[4]], script);
    }
}

#[test]
fn unreceived_replies_still_decide_the_state() {
    const SCRIPTS: &[Script] = &[
        &[&["MULTI"], &["SELECT", "5"], &["EXEC"]],
        &[&["WATCH", "watched"], &["DISCARD"]],
        &[&["SELECT", "5"], &["SELECT", "3", "oops"]],
        &[&["MULTI"], &["DISCARD", "oops"]],
        &[&["MULTI", "oops"], &["WATCH", "watched"]],
        &[&["PING"], &["SUBSCRIBE", "news", "sport"]],
        &[&["GET", "k"], &["GET", "k"]],
    ];
    let send: Way =
        |conn, script| script.iter().try_for_each(|words| conn.send(words[0], &words[1..]));
    let flushed: Way = |conn, script| {
        script.iter().try_for_each(|words| conn.send(words[0], &words[1..]))?;
        conn.flush()
    };
    let dialer = dialer();
    for script in SCRIPTS {
        run(&dialer, &[("send", send), ("send and flush", flushed)], script);
    }
}

#[test]
fn refused_clean_up_costs_the_connection() {
    let mut admin = live::shared_dialer().dial().unwrap();
    let user = ["SETUSER", "confined", "on", ">pw", "~*", "&*", "+@all", "-discard", "-unwatch"];
    admin.call("ACL", (&user[..], "-exec")).unwrap();
    let dialer = dialer().username("confined").password("pw");
    const SCRIPTS: &[Script] = &[
        &[&["MULTI"]],
        &[&["MULTI"], &["DISCARD"]],
        &[&["MULTI"], &["EXEC"], &["MULTI"], &["DISCARD"]],
        &[&["WATCH", "watched"]],
        &[&["WATCH", "watched"], &["UNWATCH"]],
    ];
    for script in SCRIPTS {
        for (way, send) in WAYS {
            for (end, give_back) in ENDS {
                let pool = Pool::builder(dialer.clone()).max_active(1).build().unwrap();
                let mut conn = pool.acquire().unwrap();
                send(&mut conn, script).unwrap();
                give_back(conn);
                // A dropped connection is cleaned on a pool thread.
                let what = format!("{script:?} by {way}, {end}: it is closed");
                wait_until(&what, || pool.stats().closed.of(CloseReason::Dirty) == 1);
                assert_eq!(pool.idle_count(), 0);
            }
        }
    }
}

#[test]
fn renamed_discard_costs_the_connection() {
    let server = RedisServer::builder().args(["--rename-command", "DISCARD", ""]).start();
    let pool = Pool::builder(Dialer::tcp(server.addr())).max_active(1).build().unwrap();
    for _ in 0..2 {
        let mut conn = pool.acquire().unwrap();
        conn.call("MULTI", ()).unwrap();
        conn.close().unwrap();
        assert_eq!(pool.idle_count(), 0);
    }
    assert_eq!(pool.acquire().unwrap().query::<String>("PING", ()).unwrap(), "PONG");
}

#[test]
fn state_that_did_not_change_costs_no_clean_up() {
    const SCRIPTS: &[Script] = &[
        &[&["SELECT", "3"]],
        &[&["SELECT", "1000000"]],
        &[&["CLIENT", "SETNAME", "baseline"]],
        &[&["CLIENT", "SETNAME", "not allowed"]],
        &[&["MULTI", "oops"]],
        &[&["WATCH"]],
        &[&["READONLY"]],
        &[&["ASKING"]],
        &[&["WATCH", "k"], &["UNWATCH"]],
        &[&["MULTI"], &["SELECT", "3"], &["EXEC"]],
        &[&["MULTI"], &["SELECT", "5"], &["DISCARD"]],
        &[&["MULTI"], &["SELECT", "1000000"], &["EXEC"]],
        &[&["WATCH", "k"], &["MULTI"], &["BOGUS"], &["EXEC"]],
        &[&["SELECT", "5"], &["SELECT", "3"]],
    ];
    let dialer = dialer();
    for script in SCRIPTS {
        for (way, send) in WAYS {
            let pool = Pool::builder(dialer.clone()).max_active(1).build().unwrap();
            let mut conn = pool.acquire().unwrap();
            send(&mut conn, script).unwrap();
            drop(conn);
            assert_eq!(pool.idle_count(), 1, "{script:?} by {way}");
        }
    }
}

#[test]
fn select_of_database_zero_is_no_change_on_database_zero() {
    let pool = Pool::builder(live::shared_dialer()).max_active(1).build().unwrap();
    for _ in 0..10 {
        let mut conn = pool.acquire().unwrap();
        conn.call("SELECT", 0).unwrap();
        drop(conn);
    }
    assert_eq!(pool.stats().dialed.total(), 1);
}

#[test]
fn select_refused_while_the_server_is_busy_is_undone() {
    let server = RedisServer::builder().arg("--busy-reply-threshold", "20").start();
    let dialer = Dialer::tcp(server.addr()).database(3);
    let pool = Pool::builder(dialer.clone()).max_active(1).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    let mut watcher = dialer.dial().unwrap();
    let mut busy = dialer.dial().unwrap();
    conn.call("SELECT", 5).unwrap();
    busy.send("EVAL", ("while true do end", 0)).unwrap();
    busy.flush().unwrap();
    let is_busy = |conn: &mut Conn| match conn.call("PING", ()) {
        Err(Error::Server(error)) => error.code() == "BUSY",
        _ => false,
    };
    wait_until("the server is busy", || is_busy(&mut watcher));
    assert!(conn.call("SELECT", 3).is_err());
    drop(conn);
    watcher.call("SCRIPT", "KILL").unwrap();
    wait_until("the script has ended", || !is_busy(&mut watcher));
    let info = client_info(&mut pool.acquire().unwrap());
    assert_eq!(info["db"], "3");
}

#[test]
fn cluster_state_is_undone() {
    let server = RedisServer::builder().arg("--cluster-enabled", "yes").start();
    let pool = Pool::builder(Dialer::tcp(server.addr())).max_active(1).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    let id: i64 = conn.query("CLIENT", "ID").unwrap();
    conn.call("READONLY", ()).unwrap();
    conn.call("ASKING", ()).unwrap();
    conn.close().unwrap();
    let info = client_info(&mut pool.acquire().unwrap());
    assert_eq!((&info["id"], &info["flags"]), (&id.to_string(), &"N".to_owned()));
    // The next command ends ASKING, so nothing is left to undo.
    let mut conn = pool.acquire().unwrap();
    conn.call("ASKING", ()).unwrap();
    assert!(conn.call("GET", "k").is_err());
    drop(conn);
    assert_eq!(pool.idle_count(), 1);
}

#[test]
fn asking_is_ended_by_one_more_command() {
    let server = ScriptedServer::new();
    server.expect("ASKING", ()).ok();
    server.expect("UNWATCH", ()).ok();
    let pool = Pool::builder(server.dialer()).max_active(1).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    conn.call("ASKING", ()).unwrap();
    conn.close().unwrap();
    assert_eq!(pool.idle_count(), 1);
    server.verify();
}

/// Servers before 6.0.6 answer BUSY to EXEC and DISCARD and stay in the transaction.
#[test]
fn exec_refused_with_busy_leaves_the_transaction_to_undo() {
    for refuses_discard in [false, true] {
        let server = ScriptedServer::new();
        server.expect("WATCH", "k").ok();
        server.expect("MULTI", ()).ok();
        server.expect("SET", ("k", 1)).queued();
        server.expect("EXEC", ()).error("BUSY Redis is busy running a script");
        match refuses_discard {
            true => server.expect("DISCARD", ()).error("BUSY Redis is busy running a script"),
            false => server.expect("DISCARD", ()).ok(),
        };
        let pool = Pool::builder(server.dialer()).max_active(1).build().unwrap();
        let mut conn = pool.acquire().unwrap();
        conn.call("WATCH", "k").unwrap();
        conn.call("MULTI", ()).unwrap();
        conn.call("SET", ("k", 1)).unwrap();
        conn.call("EXEC", ()).unwrap_err();
        conn.close().unwrap();
        server.verify();
        assert_eq!(pool.idle_count(), usize::from(!refuses_discard));
    }
}

#[test]
fn unwatch_follows_a_discard_that_was_not_needed() {
    let server = ScriptedServer::new();
    server.expect("WATCH", "k").ok();
    server.expect("MULTI", ()).ok();
    // A proxy has lost the transaction.
    server.expect("DISCARD", ()).error("ERR DISCARD without MULTI");
    server.expect("UNWATCH", ()).ok();
    let pool = Pool::builder(server.dialer()).max_active(1).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    conn.call("WATCH", "k").unwrap();
    conn.call("MULTI", ()).unwrap();
    conn.close().unwrap();
    server.verify();
    assert_eq!(pool.idle_count(), 1);
}

#[test]
fn client_reply_costs_the_connection() {
    for mode in ["OFF", "SKIP"] {
        let stream = MemoryStream::silent();
        let lent = stream.clone();
        let pool = Pool::builder_with(move |_| Ok(over(&lent))).build().unwrap();
        let mut conn = pool.acquire().unwrap();
        conn.send("CLIENT", ("REPLY", mode)).unwrap();
        conn.flush().unwrap();
        conn.close().unwrap();
        assert_eq!(pool.idle_count(), 0, "{mode}");
        assert!(written(&stream).ends_with(&format!("{mode}\r\n")), "{mode}");
    }
}

/// Valkey 8.0.0 refuses to unsubscribe a connection without subscriptions, and an ACL may not
/// allow PUNSUBSCRIBE.
#[test]
fn refusal_ahead_of_the_sentinel_keeps_the_connection() {
    let mut admin = live::shared_dialer().dial().unwrap();
    let user = ["SETUSER", "listener", "on", ">pw", "~*", "&*", "+@all", "-punsubscribe"];
    admin.call("ACL", &user[..]).unwrap();
    let dialer = dialer().username("listener").password("pw");
    let pool = Pool::builder(dialer).max_active(1).build().unwrap();
    let mut conn = pool.acquire().unwrap();
    let id: i64 = conn.query("CLIENT", "ID").unwrap();
    conn.send("SUBSCRIBE", "news").unwrap();
    conn.flush().unwrap();
    conn.receive().unwrap();
    conn.close().unwrap();
    let mut conn = pool.acquire().unwrap();
    assert_eq!(conn.query::<i64>("CLIENT", "ID").unwrap(), id);
    assert_as_dialed(&mut conn, "SUBSCRIBE without PUNSUBSCRIBE");
    // A pattern stays, so the server refuses the sentinel.
    conn.send("PSUBSCRIBE", "n*").unwrap();
    conn.flush().unwrap();
    conn.receive().unwrap();
    conn.close().unwrap();
    assert_eq!(pool.idle_count(), 0);
}

#[test]
fn error_that_names_a_retiring_code_retires_from_any_depth() {
    let cases = [
        "-READONLY You can't write against a read only replica.\r\n",
        "*2\r\n:1\r\n-READONLY You can't write against a read only replica.\r\n",
        "-EXECABORT Transaction discarded because of: READONLY You can't write\r\n",
    ];
    for reply in cases {
        let typed: [fn(&mut Conn); 2] = [
            |conn| drop(conn.call("EXEC", ())),
            |conn| drop(conn.query::<Vec<Value>>("FCALL", "f")),
        ];
        for call in typed {
            let pool = Pool::builder_with(move |_| Ok(over(&MemoryStream::new(reply))));
            let pool = pool.build().unwrap();
            let mut conn = pool.acquire().unwrap();
            call(&mut conn);
            conn.close().unwrap();
            assert_eq!(pool.stats().closed.of(CloseReason::Retired), 1, "{reply}");
        }
    }
}
