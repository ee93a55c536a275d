//! The state of one borrower does not reach the next. On a real server, which reports the state of each
//! connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use redigo::{CloseReason, Conn, Dialer, Pool, PooledConn, TimeoutKind};

use crate::support::live;
use crate::support::redis_server::RedisServer;
use crate::support::wait::{promptly, wait_until};

/// A pool of one connection: the next borrower gets the same, unless it was closed.
fn pool_of_one(dialer: Dialer) -> Pool {
    Pool::builder(dialer).max_active(1).build().unwrap()
}

/// The connection as the server sees it: `id`, `name`, `db`, `sub`, `psub`, `flags` …
fn client_info(conn: &mut Conn) -> HashMap<String, String> {
    let line: String = conn.query("CLIENT", "INFO").unwrap();
    let fields = line.trim_end().split(' ').filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The state that a borrower can change, and the identity of the connection.
fn state(conn: &mut Conn) -> Vec<(&'static str, String)> {
    let info = client_info(conn);
    // In a transaction, `flags` has an x. (`multi` is -1 outside, but 0 in Valkey 9.)
    let told = ["id", "name", "db", "sub", "psub", "ssub", "flags", "resp"];
    told.map(|field| (field, info.get(field).cloned().unwrap_or_default())).into()
}

/// Returns a connection in both ways. After the second, its cleaner must have ended.
const ENDS: [fn(&Pool, PooledConn); 2] = [
    |_, conn| promptly("a return", || conn.close()).unwrap(),
    |pool, conn| {
        promptly("a drop", || drop(conn));
        wait_until("the connection is clean", || pool.stats().cleaning == 0);
    },
];

/// Checks out the connection, uses it, closes or drops it, and checks that its state is unchanged.
#[track_caller]
fn leaves_no_trace(dialer: Dialer, use_it: impl Fn(&mut Conn)) {
    for end in ENDS {
        let pool = pool_of_one(dialer.clone());
        let mut conn = pool.acquire().unwrap();
        let before = state(&mut conn);
        use_it(&mut conn);
        end(&pool, conn);
        assert_eq!(state(&mut pool.acquire().unwrap()), before);
        assert_eq!((pool.stats().dialed.total(), pool.stats().closed.total()), (1, 0));
    }
}

/// Checks out the connection, uses it, closes or drops it, and checks that the pool has closed it.
#[track_caller]
fn costs_the_connection(use_it: impl Fn(&mut Conn)) {
    for end in ENDS {
        let pool = pool_of_one(live::dialer());
        let mut conn = pool.acquire().unwrap();
        let id = client_info(&mut conn)["id"].clone();
        use_it(&mut conn);
        end(&pool, conn);
        assert_eq!((pool.active_count(), pool.stats().closed.total()), (0, 1));
        let mut next = pool.acquire().unwrap();
        let clients =
            |conn: &mut Conn| conn.query::<String>("CLIENT", ("LIST", "ID", &id)).unwrap();
        wait_until("the server sees it close", || clients(&mut next).is_empty());
        assert_eq!(next.query::<String>("ECHO", "alive").unwrap(), "alive");
    }
}

/// A pool of one connection, and a second connection outside the pool.
fn pool_and_other() -> (Pool, Conn) {
    let dialer = live::dialer();
    (pool_of_one(dialer.clone()), dialer.dial().unwrap())
}

#[test]
fn selected_database_is_restored() {
    leaves_no_trace(live::dialer(), |conn| drop(conn.call("SELECT", 0).unwrap()));
    leaves_no_trace(live::dialer(), |conn| {
        conn.call("MULTI", ()).unwrap();
        conn.call("SELECT", 0).unwrap();
        conn.call("EXEC", ()).unwrap();
    });
    // Refused by the server, but the pool restores the database anyway.
    leaves_no_trace(live::dialer(), |conn| drop(conn.call("SELECT", 100_000).unwrap_err()));
}

#[test]
fn database_after_discarded_transaction_is_restored() {
    leaves_no_trace(live::dialer().client_name("home"), |conn| {
        let home = client_info(conn)["db"].clone();
        conn.call("SELECT", 0).unwrap();
        conn.call("CLIENT", ("SETNAME", "other")).unwrap();
        conn.call("MULTI", ()).unwrap();
        conn.call("SELECT", &home).unwrap();
        conn.call("CLIENT", ("SETNAME", "home")).unwrap();
        conn.call("DISCARD", ()).unwrap();
    });
}

#[test]
fn client_name_is_restored() {
    let renamed = |conn: &mut Conn| drop(conn.call("CLIENT", ("SETNAME", "other")).unwrap());
    leaves_no_trace(live::dialer().client_name("home"), renamed);
    leaves_no_trace(live::dialer(), renamed);
}

#[test]
fn open_transaction_is_discarded() {
    leaves_no_trace(live::dialer(), |conn| {
        conn.call("MULTI", ()).unwrap();
        conn.call("SET", ("key", "never")).unwrap();
    });
    let (pool, mut other) = pool_and_other();
    let mut conn = pool.acquire().unwrap();
    conn.call("MULTI", ()).unwrap();
    conn.send("SET", ("key", "never")).unwrap();
    conn.close().unwrap();
    assert_eq!(pool.acquire().unwrap().query::<Option<String>>("GET", "key").unwrap(), None);
    assert_eq!(other.query::<i64>("EXISTS", "key").unwrap(), 0);
}

#[test]
fn watched_key_is_unwatched() {
    let (pool, mut other) = pool_and_other();
    let mut conn = pool.acquire().unwrap();
    conn.call("WATCH", "key").unwrap();
    conn.close().unwrap();
    other.call("SET", ("key", "changed")).unwrap();
    let mut next = pool.acquire().unwrap();
    next.call("MULTI", ()).unwrap();
    next.call("GET", "key").unwrap();
    // EXEC would return nil if the key were still watched.
    assert_eq!(next.query::<Option<(String,)>>("EXEC", ()).unwrap(), Some(("changed".to_owned(),)));
    assert_eq!(pool.stats().dialed.total(), 1);
}

#[test]
fn error_replies_keep_the_connection() {
    leaves_no_trace(live::dialer(), |conn| {
        conn.call("SET", ("text", "x")).unwrap();
        conn.send("INCR", "text").unwrap();
        conn.send("NONSENSE", ()).unwrap();
    });
}

#[test]
fn all_kinds_of_state_are_undone_together() {
    leaves_no_trace(live::dialer().client_name("home"), |conn| {
        conn.call("CLIENT", ("SETNAME", "other")).unwrap();
        conn.call("SELECT", 0).unwrap();
        conn.call("WATCH", "key").unwrap();
        conn.call("MULTI", ()).unwrap();
        conn.send("PING", ()).unwrap();
        conn.send("SUBSCRIBE", ("refused", "in", "a", "transaction")).unwrap();
    });
}

/// Like redigo's README, whose dial function sends AUTH and SELECT.
#[test]
fn state_of_the_dial_function_is_restored() {
    let (plain, used) = (live::dialer(), live::dialer());
    let database: String = client_info(&mut used.dial().unwrap())["db"].clone();
    let home = database.clone();
    let pool = Pool::builder_with(move |ctx| {
        let mut conn = plain.dial_context(ctx)?;
        conn.call("CLIENT", ("SETNAME", "home"))?;
        conn.call("SELECT", &home)?;
        Ok(conn)
    });
    let pool = pool.max_active(1).build().unwrap();
    for _ in 0..2 {
        let mut conn = pool.acquire().unwrap();
        let info = client_info(&mut conn);
        assert_eq!((&info["db"], &info["name"][..]), (&database, "home"));
        conn.call("PING", ()).unwrap();
        conn.close().unwrap();
        let mut conn = pool.acquire().unwrap();
        conn.call("SELECT", 0).unwrap();
        conn.call("CLIENT", ("SETNAME", "other")).unwrap();
        conn.close().unwrap();
    }
    assert_eq!(pool.stats().dialed.total(), 1);
}

/// Publishes to a channel until it is dropped.
struct Publisher {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Publisher {
    fn start(publish: &'static str, channel: &'static str) -> Publisher {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut conn = live::conn();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                (0..50).for_each(|_| conn.send(publish, (channel, "message")).unwrap());
                conn.drain().unwrap();
            }
        });
        Publisher { stop, thread: Some(thread) }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Subscribes and returns the connection repeatedly while messages arrive.
#[track_caller]
fn subscribes_in_a_storm(command: &str, channels: &[&str]) {
    let pool = pool_of_one(live::dialer());
    let id = client_info(&mut pool.acquire().unwrap())["id"].clone();
    for round in 0..30 {
        let mut conn: PooledConn = pool.acquire().unwrap();
        conn.send(command, channels).unwrap();
        conn.flush().unwrap();
        // A confirmation for each channel, then `round` messages.
        (0..channels.len() + round).for_each(|_| drop(conn.receive().unwrap()));
        promptly("a return", || conn.close()).unwrap();
        let mut next = pool.acquire().unwrap();
        assert_eq!(next.query::<String>("ECHO", "mine").unwrap(), "mine");
        assert_eq!(client_info(&mut next)["id"], id);
    }
}

#[test]
fn subscribed_connection_with_messages_in_flight_is_cleaned() {
    let _publisher = Publisher::start("PUBLISH", "storm-1");
    subscribes_in_a_storm("SUBSCRIBE", &["storm-1", "silent-1"]);
}

#[test]
fn pattern_subscription_with_messages_in_flight_is_cleaned() {
    let _publisher = Publisher::start("PUBLISH", "storm-2");
    subscribes_in_a_storm("PSUBSCRIBE", &["storm-2*", "silent-2*"]);
}

#[test]
fn shard_subscription_with_messages_in_flight_is_cleaned() {
    if !live::server().has("shard channels", (7, 0, 0)) {
        let mut conn = live::conn();
        let error = conn.call("SSUBSCRIBE", "storm-3").unwrap_err().to_string();
        assert!(error.contains("unknown command"), "{error}");
        return;
    }
    let _publisher = Publisher::start("SPUBLISH", "storm-3");
    subscribes_in_a_storm("SSUBSCRIBE", &["storm-3"]);
}

#[test]
fn state_that_cannot_be_undone_closes_the_connection() {
    costs_the_connection(|conn| {
        conn.send("MONITOR", ()).unwrap();
        conn.flush().unwrap();
        conn.receive().unwrap();
    });
    costs_the_connection(|conn| {
        conn.send("CLIENT", ("REPLY", "OFF")).unwrap();
        conn.flush().unwrap();
    });
    costs_the_connection(|conn| drop(conn.call("CLIENT", ("TRACKING", "ON", "BCAST")).unwrap()));
    costs_the_connection(|conn| match conn.call("CLIENT", ("NO-EVICT", "ON")) {
        Err(error) if !live::server().has("CLIENT NO-EVICT", (7, 0, 0)) => {
            assert!(error.to_string().contains("NO-EVICT"), "{error}");
        }
        reply => drop(reply.unwrap()),
    });
    costs_the_connection(|conn| drop(conn.call("HELLO", 2).unwrap()));
    costs_the_connection(|conn| drop(conn.call("RESET", ()).unwrap()));
    costs_the_connection(|conn| drop(conn.call("AUTH", "no password is set").unwrap_err()));
}

#[test]
fn blocking_command_at_return_is_awaited_until_cleanup_timeout() {
    let (pool, mut other) = pool_and_other();
    let options = Pool::builder(live::dialer()).max_active(1);
    let hasty = options.cleanup_timeout(Duration::from_millis(20)).build().unwrap();
    let mut conn = hasty.acquire().unwrap();
    conn.send("BLPOP", ("queue", 0)).unwrap();
    conn.flush().unwrap();
    let error = promptly("a return", || conn.close()).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read));
    assert_eq!((hasty.active_count(), hasty.stats().closed.of(CloseReason::Io)), (0, 1));

    // A command that ends in time is awaited.
    other.call("RPUSH", ("queue", "element")).unwrap();
    let mut conn = pool.acquire().unwrap();
    conn.send("BLPOP", ("queue", 0)).unwrap();
    conn.close().unwrap();
    assert_eq!((pool.idle_count(), other.query::<i64>("LLEN", "queue").unwrap()), (1, 0));
}

#[test]
fn hanging_server_delays_close_by_at_most_cleanup_timeout() {
    let server = RedisServer::start();
    let options = Pool::builder(Dialer::url(server.url()).unwrap()).max_active(3);
    let pool = options.cleanup_timeout(Duration::from_millis(20)).build().unwrap();
    let (clean, mut multi) = (pool.acquire().unwrap(), pool.acquire().unwrap());
    let mut subscribed = pool.acquire().unwrap();
    multi.call("MULTI", ()).unwrap();
    subscribed.send("SUBSCRIBE", "channel").unwrap();
    subscribed.flush().unwrap();
    subscribed.receive().unwrap();
    server.freeze();
    let outcome = promptly("a return", || {
        (clean.close(), multi.close().unwrap_err(), subscribed.close().unwrap_err())
    });
    server.thaw();
    assert!(outcome.0.is_ok(), "a clean connection needs no reply");
    for error in [outcome.1, outcome.2] {
        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read));
    }
    assert_eq!((pool.active_count(), pool.idle_count()), (1, 1));
}
