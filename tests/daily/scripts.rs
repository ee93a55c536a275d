//! Scripts on every executor, in pipelines and in transactions.

use std::sync::atomic::{AtomicUsize, Ordering};

use redigo::testing::{MemoryStream, ScriptedServer};
use redigo::{Conn, Dialer, Error, Executor, Mux, Pool, Script};

use crate::support::live::{conn, dialer};
use crate::support::redis_server::RedisServer;
use crate::support::wait::PATIENCE;

static COUNT: Script = Script::new(1, "return redis.call('INCR', KEYS[1])");

/// A script that no server has seen.
fn unseen(body: &str) -> Script {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    Script::owned(1, format!("--daily {} {next}\n{body}", std::process::id()))
}

fn unseen_count() -> Script {
    unseen("return redis.call('INCR', KEYS[1])")
}

fn knows(mut redis: impl Executor, script: &Script) -> bool {
    let reply = redis.execute("SCRIPT", &("EXISTS", script.hash())).unwrap();
    reply.convert::<(bool,)>().unwrap().0
}

/// A server whose scripts this test may flush.
fn private() -> (RedisServer, Dialer) {
    let server = RedisServer::start();
    let dialer = Dialer::url(server.url()).unwrap().read_timeout(PATIENCE);
    (server, dialer)
}

fn is_noscript(error: &Error) -> bool {
    error.as_server().is_some_and(|error| error.code() == "NOSCRIPT")
}

#[test]
fn static_script_runs_on_every_executor() {
    let pool = Pool::builder(dialer()).max_active(1).build().unwrap();
    let mux = Mux::new(dialer());
    assert_eq!(COUNT.query::<i64>(&mut conn(), "n").unwrap(), 1);
    assert_eq!(COUNT.query::<i64>(&pool, "n").unwrap(), 1);
    assert_eq!(COUNT.query::<i64>(&mut pool.acquire().unwrap(), "n").unwrap(), 2);
    assert_eq!(COUNT.call(&mut &pool, "n").unwrap().as_int(), Some(3));
    assert_eq!(COUNT.query::<i64>(&mux, "n").unwrap(), 1);
    assert_eq!(COUNT.query::<i64>(&mut mux.get(), "n").unwrap(), 2);
    static READ: Script = Script::new(1, "return redis.call('GET', KEYS[1])").read_only();
    assert_eq!(READ.hash(), Script::owned(1, "return redis.call('GET', KEYS[1])").hash());
}

#[test]
fn unknown_script_is_sent_with_its_source_on_pool_and_mux() {
    let pool = Pool::builder(dialer()).max_active(1).build().unwrap();
    let mux = Mux::new(dialer());
    let script = unseen_count();
    assert_eq!(script.query::<i64>(&pool, "n").unwrap(), 1);
    assert!(knows(&pool, &script));
    let script = unseen_count();
    assert_eq!(script.query::<i64>(&mux, "n").unwrap(), 1);
    let script = unseen_count();
    let mut handle = mux.get();
    handle.send("NONSENSE", ()).unwrap();
    assert!(script.query::<i64>(&mut handle, "n").unwrap_err().to_string().contains("NONSENSE"));
    assert_eq!(script.query::<i64>(&mut handle, "n").unwrap(), 2);
    script.load(&mux).unwrap();
}

#[test]
fn error_of_a_script_on_a_mux_reads_like_that_of_a_connection() {
    let fails = Script::owned(0, "return redis.error_reply('MINE all mine')");
    let mux = Mux::new(dialer());
    for _ in 0..2 {
        let on_mux = fails.call(&mux, ()).unwrap_err();
        let on_conn = fails.call(&mut conn(), ()).unwrap_err();
        assert_eq!(on_mux.as_server(), on_conn.as_server());
        assert_eq!(on_mux.to_string(), "MINE all mine");
    }
}

#[test]
fn pipeline_loads_the_scripts_it_needs() {
    let mut conn = conn();
    let (first, second) = (unseen_count(), unseen("return redis.call('GET', KEYS[1])"));
    let (one, two, text): (i64, i64, String) = conn
        .pipeline()
        .script(&first, "n")
        .script(&first, "n")
        .script(&second, "n")
        .query()
        .unwrap();
    assert_eq!((one, two, &*text), (1, 2, "2"));
    assert!(knows(&mut conn, &first) && knows(&mut conn, &second));
    let results = conn.pipeline().cmd("PING", ()).script(&first, "n").run().unwrap();
    assert_eq!(results[1].as_ref().unwrap().as_int(), Some(3));
}

#[test]
fn pipeline_on_pool_and_mux_loads_scripts() {
    let (_server, dialer) = private();
    let pool = Pool::builder(dialer.clone()).max_active(2).build().unwrap();
    let mux = Mux::new(dialer.database(1));
    let script = unseen_count();
    assert_eq!(pool.pipeline().script(&script, "n").query::<(i64,)>().unwrap(), (1,));
    let script = unseen_count();
    for expected in 1..=2 {
        let results: (i64, String) =
            mux.pipeline().script(&script, "n").cmd("GET", "n").query().unwrap();
        assert_eq!(results, (expected, expected.to_string()));
    }
    assert!(mux.stats().calls == 5, "one load: {:?}", mux.stats());
    mux.call("SCRIPT", "FLUSH").unwrap();
    let results = mux.pipeline().script(&script, "n").cmd("GET", "n").run().unwrap();
    assert!(is_noscript(results[0].as_ref().unwrap_err()));
    assert_eq!(mux.pipeline().script(&script, "n").query::<(i64,)>().unwrap(), (3,));
}

#[test]
fn script_is_loaded_once_for_a_connection() {
    let server = ScriptedServer::new();
    server.expect("SCRIPT", ("LOAD", "return redis.call('INCR', KEYS[1])")).reply(COUNT.hash());
    server.expect_script(&COUNT, "a").reply(1);
    server.expect_script(&COUNT, "b").reply(2);
    server.expect_script(&COUNT, "c").reply(3);
    let mut conn = server.conn();
    let counts: (i64, i64) =
        conn.pipeline().script(&COUNT, "a").script(&COUNT, "b").query().unwrap();
    assert_eq!(counts, (1, 2));
    assert_eq!(conn.pipeline().script(&COUNT, "c").query::<(i64,)>().unwrap(), (3,));
    server.verify();

    // A connection that has run the script needs no load.
    let server = ScriptedServer::new();
    server.expect_script(&COUNT, "a").reply(1).reply(2);
    let mut conn = server.conn();
    COUNT.call(&mut conn, "a").unwrap();
    assert_eq!(conn.pipeline().script(&COUNT, "a").query::<(i64,)>().unwrap(), (2,));
    server.verify();
}

#[test]
fn flushed_script_is_an_error_of_its_command_and_loaded_again() {
    let (_server, dialer) = private();
    let mut conn = dialer.dial().unwrap();
    let script = unseen_count();
    for typed in [true, false] {
        conn.pipeline().script(&script, "n").run().unwrap();
        conn.call("SCRIPT", "FLUSH").unwrap();
        conn.call("SET", ("n", 10)).unwrap();
        if typed {
            let pipeline = conn.pipeline().script(&script, "n").cmd("INCR", "n");
            let error = pipeline.query::<(i64, i64)>().unwrap_err();
            assert!(is_noscript(&error), "{error}");
            assert_eq!(error.as_server().unwrap().command(), Some((0, "EVALSHA")));
        } else {
            let results = conn.pipeline().script(&script, "n").cmd("INCR", "n").run().unwrap();
            assert!(is_noscript(results[0].as_ref().unwrap_err()));
            assert!(results[1].is_ok());
        }
        assert_eq!(conn.query::<i64>("GET", "n").unwrap(), 11); // the rest has run, once
        assert_eq!(conn.pipeline().script(&script, "n").query::<(i64,)>().unwrap(), (12,));
    }
}

#[test]
fn transaction_loads_the_scripts_it_needs() {
    let (_server, dialer) = private();
    let mut conn = dialer.dial().unwrap();
    let script = unseen_count();
    for expected in 1..=2 {
        let counts: (i64, String) =
            conn.transaction("n", |tx| tx.script(&script, "n").cmd("GET", "n").exec()).unwrap();
        assert_eq!(counts, (expected, expected.to_string()));
    }
    conn.call("SCRIPT", "FLUSH").unwrap();
    let outcome =
        conn.transaction((), |tx| tx.script(&script, "n").cmd("INCR", "n").run()).unwrap();
    assert!(is_noscript(outcome[0].as_ref().unwrap_err()));
    assert_eq!(outcome[1].as_ref().unwrap().as_int(), Some(3));
    let (four,): (i64,) = conn.transaction((), |tx| tx.script(&script, "n").exec()).unwrap();
    assert_eq!(four, 4);
}

#[test]
fn script_that_does_not_compile_stops_pipeline_and_transaction() {
    let pool = Pool::builder(dialer()).max_active(1).build().unwrap();
    let mux = Mux::new(dialer());
    let wrong = unseen("this is no Lua");
    let check = |error: Error| assert!(error.to_string().contains("compiling"), "{error}");
    check(pool.pipeline().cmd("INCR", "n").script(&wrong, "n").run().unwrap_err());
    check(pool.pipeline().cmd("INCR", "n").script(&wrong, "n").query::<(i64, i64)>().unwrap_err());
    check(mux.pipeline().cmd("INCR", "n").script(&wrong, "n").run().unwrap_err());
    let mut conn = pool.acquire().unwrap();
    let body = |tx: redigo::Transaction<'_>| tx.cmd("INCR", "n").script(&wrong, "n").exec::<()>();
    check(conn.transaction("n", body).unwrap_err());
    assert_eq!(conn.query::<Option<i64>>("GET", "n").unwrap(), None);
    assert_eq!(mux.query::<Option<i64>>("GET", "n").unwrap(), None);
}

#[test]
fn wrong_number_of_keys_is_an_error_of_its_command() {
    let mut conn = conn();
    let needs_three = Script::owned(3, "return 1");
    let results = conn.pipeline().script(&needs_three, "one").cmd("PING", ()).run().unwrap();
    let error = results[0].as_ref().unwrap_err();
    assert!(error.to_string().contains("Number of keys"), "{error}");
    assert!(results[1].is_ok());
}

#[test]
fn nothing_is_loaded_into_an_open_multi() {
    let mut conn = conn();
    COUNT.load(&mut conn).unwrap();
    conn.call("MULTI", ()).unwrap();
    conn.pipeline().script(&COUNT, "n").run().unwrap();
    assert_eq!(conn.query::<(i64,)>("EXEC", ()).unwrap(), (1,));
}

#[test]
fn script_queued_in_an_open_multi_does_not_count_as_loaded() {
    let mut conn = conn();
    let script = unseen_count();
    conn.call("MULTI", ()).unwrap();
    script.call(&mut conn, "n").unwrap();
    script.load(&mut conn).unwrap();
    conn.call("DISCARD", ()).unwrap();
    assert!(!knows(&mut conn, &script));
    assert_eq!(conn.pipeline().script(&script, "n").query::<(i64,)>().unwrap(), (1,));
}

#[test]
fn refused_pipeline_loads_nothing() {
    let stream = MemoryStream::silent();
    let mut conn: Conn = Dialer::tcp(":6379").wrap(stream.clone());
    let pipeline = conn.pipeline().script(&COUNT, "n").cmd("SUBSCRIBE", "c");
    assert!(matches!(pipeline.run(), Err(Error::Unsupported(_))));
    assert_eq!(stream.writes(), 0);
}

#[test]
fn earlier_error_stops_a_pipeline_before_its_scripts() {
    let mut conn = conn();
    let script = unseen_count();
    conn.send("NONSENSE", ()).unwrap();
    let error = conn.pipeline().script(&script, "n").run().unwrap_err();
    assert!(error.to_string().contains("NONSENSE"), "{error}");
    assert!(!knows(&mut conn, &script));
}
