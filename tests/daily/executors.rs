//! Libraries that are written for every executor.

use std::thread;

use redigo::testing::{MemoryStream, ScriptedServer};
use redigo::{
    Batch, Conn, Context, Dialer, Error, Executor, ExecutorExt, Mux, Pool, Result, Script, Stream,
};

use crate::support::live::{conn, dialer};
use crate::support::wait::{LONG, wait_until};

static ADD: Script = Script::new(1, "return redis.call('INCRBY', KEYS[1], ARGV[1])");

/// A library's function that is generic over executors.
fn count(mut redis: impl Executor, key: &str) -> Result<i64> {
    redis.call("SET", (key, 1))?;
    let one: i64 = redis.query("GET", key)?;
    let (two, names): (i64, Vec<String>) =
        redis.pipeline().cmd("INCR", key).cmd("KEYS", key).query()?;
    assert_eq!((one, two, &*names), (1, 2, &[key.to_string()][..]));
    let results = redis.pipeline().cmd("INCR", key).cmd("LPUSH", (key, "x")).run()?;
    assert_eq!(results[0].as_ref().unwrap().as_int(), Some(3));
    let error = results[1].as_ref().unwrap_err().as_server().unwrap();
    assert_eq!(error.command(), Some((1, "LPUSH")));
    assert_eq!(error.code(), "WRONGTYPE");
    redis.script(&ADD, (key, 10))
}

/// The same without generics.
fn count_dyn(redis: &mut dyn Executor, key: &str) -> Result<i64> {
    redis.call("SET", (key, 1))?;
    let one: i64 = redis.query("GET", key)?;
    let two: (i64,) = redis.pipeline().cmd("INCR", key).query()?;
    assert_eq!((one, two), (1, (2,)));
    let added: i64 = ADD.query(&mut *redis, (key, 10))?;
    assert_eq!(added, 12);
    count(redis, key)
}

/// Each failure is an error of its call, and the executor works afterwards.
fn refuse(redis: &mut dyn Executor, key: &str) {
    redis.call("SET", (key, "text")).unwrap();
    assert_eq!(redis.query::<i64>("INCR", key).unwrap_err().as_server().unwrap().code(), "ERR");
    assert!(matches!(redis.query::<i64>("GET", key), Err(Error::Convert(_))));
    let pipeline = redis.pipeline().cmd("SET", (key, "lost")).cmd("SUBSCRIBE", "channel");
    assert!(matches!(pipeline.run(), Err(Error::Unsupported(_))));
    let error = redis.pipeline().cmd("GET", key).cmd("INCR", key).query::<(String, i64)>();
    assert_eq!(error.unwrap_err().as_server().unwrap().command(), Some((1, "INCR")));
    assert!(matches!(redis.pipeline().cmd("GET", key).query::<(i64,)>(), Err(Error::Convert(_))));
    let too_many_keys = Script::new(3, "return 1");
    let error = redis.script::<i64>(&too_many_keys, key).unwrap_err();
    assert!(error.as_server().unwrap().message().contains("Number of keys"), "{error}");
    assert_eq!(redis.query::<String>("GET", key).unwrap(), "text");
}

fn with_each(mut check: impl FnMut(&mut dyn Executor, &str)) {
    let dialer = dialer();
    let pool = Pool::builder(dialer.clone()).max_active(1).build().unwrap();
    let mux = Mux::new(dialer.clone());
    let ctx = Context::background().with_timeout(LONG);
    let mut conn = dialer.dial().unwrap();
    check(&mut conn, "d:conn");
    check(&mut conn.with_timeout(LONG), "d:conn:timeout");
    check(&mut conn.with_context(&ctx), "d:conn:context");
    check(&mut pool.acquire().unwrap(), "d:pooled");
    check(&mut pool.acquire().unwrap().with_timeout(LONG), "d:pooled:timeout");
    check(&mut &pool, "d:pool");
    check(&mut pool.clone(), "d:pool:owned");
    check(&mut pool.with_timeout(LONG), "d:pool:timeout");
    check(&mut pool.with_context(&ctx), "d:pool:context");
    check(&mut &mux, "d:mux");
    check(&mut mux.clone(), "d:mux:owned");
    check(&mut mux.with_timeout(LONG), "d:mux:timeout");
    check(&mut mux.with_context(&ctx), "d:mux:context");
    check(&mut mux.get(), "d:mux:conn");
    let boxed: Box<dyn Executor> = Box::new(mux.get());
    check(&mut { boxed }, "d:boxed");
    conn.transaction((), |mut tx| {
        check(&mut tx, "d:transaction");
        Ok(())
    })
    .unwrap();
    assert_eq!((pool.active_count(), pool.idle_count()), (1, 1));
    assert_eq!(mux.stats().dials, 1);
}

#[test]
fn one_library_works_with_every_executor() {
    with_each(|redis, key| assert_eq!(count_dyn(redis, key).unwrap(), 13, "{key}"));
    let pool = Pool::builder(dialer()).build().unwrap();
    let mux = Mux::new(dialer());
    assert_eq!(count(&mut conn(), "a").unwrap(), 13);
    assert_eq!(count(&pool, "a").unwrap(), 13);
    assert_eq!(count(&mut pool.acquire().unwrap(), "a").unwrap(), 13);
    assert_eq!(count(pool.acquire().unwrap(), "a").unwrap(), 13);
    assert_eq!(count(&mux, "a").unwrap(), 13);
    assert_eq!(count(mux.get(), "a").unwrap(), 13);
}

#[test]
fn error_of_a_call_leaves_every_executor_usable() {
    with_each(refuse);
}

#[test]
fn library_can_be_tested_with_a_scripted_server() {
    fn check(run: impl FnOnce(&ScriptedServer) -> i64) {
        let server = ScriptedServer::new();
        server.expect("SET", ("n", 1)).ok();
        server.expect("GET", "n").reply("1");
        server.expect("INCR", "n").reply(2);
        server.expect("KEYS", "n").reply_list(["n"]);
        server.expect("INCR", "n").reply(3);
        server.expect("LPUSH", ("n", "x")).error("WRONGTYPE not a list");
        server.expect_script(&ADD, ("n", 10)).reply(13);
        assert_eq!(run(&server), 13);
        server.verify();
    }
    check(|server| count(&mut server.conn(), "n").unwrap());
    check(|server| count(&Pool::builder(server.dialer()).build().unwrap(), "n").unwrap());
    check(|server| count(&Mux::new(server.dialer()), "n").unwrap());
}

#[test]
fn executors_can_be_sent_to_other_threads() {
    fn check<T: Send>() {}
    check::<redigo::Pipeline<'_, &Pool>>();
    check::<redigo::Limited<'_, &mut Conn>>();
    check::<redigo::Limited<'_, &Mux>>();
    check::<Batch>();
}

#[test]
fn pool_has_the_calls_itself() {
    let pool = Pool::builder(dialer()).max_active(1).build().unwrap();
    assert_eq!(pool.query::<i64>("INCR", "n").unwrap(), 1);
    assert!(pool.call("SET", ("a", "x")).is_ok());
    assert_eq!(pool.pipeline().cmd("GET", "a").query::<(String,)>().unwrap(), ("x".into(),));
    // State does not outlive the call.
    pool.call("MULTI", ()).unwrap();
    assert_eq!(pool.query::<i64>("INCR", "n").unwrap(), 2);
    let held = pool.acquire().unwrap();
    assert!(pool.call("GET", "n").unwrap_err().is_pool_exhausted());
    drop(held);
    pool.close();
    assert!(matches!(pool.query::<i64>("INCR", "n"), Err(Error::PoolClosed)));
    assert!(matches!(pool.pipeline().cmd("GET", "n").run(), Err(Error::PoolClosed)));
}

#[test]
fn borrow_of_a_pool_call_names_the_line_of_the_caller() {
    let pool = Pool::builder(dialer()).max_active(2).track_borrows(true).build().unwrap();
    thread::scope(|scope| {
        let blocked = scope.spawn(|| pool.call_blocking(LONG, "BLPOP", ("q", 60)));
        wait_until("it is borrowed", || !pool.outstanding().is_empty());
        let location = pool.outstanding()[0].location;
        pool.call("RPUSH", ("q", "x")).unwrap();
        blocked.join().unwrap().unwrap();
        assert!(location.file().ends_with("executors.rs"), "{location}");
    });
}

#[test]
fn pipeline_on_pool_and_mux_is_one_write() {
    fn check(run: impl FnOnce(Dialer) -> Result<(i64, i64)>) {
        let stream = MemoryStream::new(":1\r\n:2\r\n");
        let server = stream.clone();
        let dialer = Dialer::tcp(":6379")
            .connector(move |_, _| Ok(Box::new(server.clone()) as Box<dyn Stream>));
        assert_eq!(run(dialer).unwrap(), (1, 2));
        assert_eq!(stream.writes(), 1);
    }
    check(|dialer| {
        let pool = Pool::builder(dialer).build()?;
        pool.pipeline().cmd("INCR", "a").cmd("INCR", "a").query()
    });
    // `Mux::new` would send a PING first.
    check(|dialer| {
        let mux = Mux::with(move |ctx| dialer.dial_context(ctx));
        mux.pipeline().cmd("INCR", "a").cmd("INCR", "a").query()
    });
    let mux = Mux::new(Dialer::tcp(":6379"));
    assert!(mux.pipeline().run().unwrap().is_empty());
    assert_eq!(mux.stats().dials, 0);
}

#[test]
fn long_pipeline_on_a_mux_arrives_whole() {
    let mux = Mux::new(dialer());
    let text = "x".repeat(1000);
    let mut pipeline = mux.pipeline();
    for _ in 0..20_000 {
        pipeline.push("ECHO", &text);
    }
    let echoed: Vec<String> = pipeline.query().unwrap();
    assert!(echoed.len() == 20_000 && echoed.iter().all(|echo| *echo == text));
    assert_eq!((mux.stats().calls, mux.stats().abandoned), (20_000, 0));
}

#[test]
fn mux_refuses_a_batch_before_it_sends_anything() {
    let mux = Mux::new(dialer());
    mux.call("SET", ("a", 1)).unwrap();
    for refused in ["WATCH", "MULTI", "BLPOP", "SELECT"] {
        let pipeline = mux.pipeline().cmd("INCR", "a").cmd(refused, ("a", 0));
        let error = pipeline.run().unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
        assert!(error.to_string().contains(refused), "{error}");
    }
    assert_eq!(mux.query::<i64>("GET", "a").unwrap(), 1);
}

#[test]
fn earlier_replies_of_a_mux_handle_come_before_a_batch() {
    let mux = Mux::new(dialer());
    let mut handle = mux.get();
    handle.send("SET", ("a", 1)).unwrap();
    let got: (i64,) = handle.pipeline().cmd("GET", "a").query().unwrap();
    assert_eq!(got, (1,));
    handle.send("NONSENSE", ()).unwrap();
    let error = handle.pipeline().cmd("INCR", "a").run().unwrap_err();
    assert!(error.to_string().contains("NONSENSE"), "{error}");
    assert_eq!(mux.query::<i64>("GET", "a").unwrap(), 1);
    assert_eq!(handle.pending(), 0);
}
