//! Lua scripts: redigo's rows R316 to R321, and the faults of its `Script`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Conn, Context, Dialer, Error, Pool, Script, TimeoutKind, Value, reply};

use crate::support::live::{shared_conn as dial, shared_dialer as dialer};
use crate::support::redis_server::RedisServer;
use crate::support::streams::{command as wire, over, written};
use crate::support::wait::LONG;

/// A script that no server has seen, with this body.
fn unseen(keys: usize, body: &str) -> Script {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Script::owned(keys, format!("--{} {count}\n{body}", std::process::id()))
}

/// A script that no server has seen and that returns its arguments.
fn echo() -> Script {
    unseen(2, "return {KEYS[1],KEYS[2],ARGV[1],ARGV[2]}")
}

fn knows(conn: &mut Conn, script: &Script) -> bool {
    let (known,): (bool,) = conn.query("SCRIPT", ("EXISTS", script.hash())).unwrap();
    known
}

const ARGS: [&str; 4] = ["key1", "key2", "arg1", "arg2"];

fn bulks(texts: &[&str]) -> Value {
    texts.iter().map(|text| Value::from(*text)).collect::<Vec<_>>().into()
}

const NOSCRIPT: &str = "-NOSCRIPT No matching script. Please use EVAL.\r\n";

#[test]
fn r316_call_passes_keys_and_arguments() {
    let mut conn = dial();
    conn.call("SET", ("s:foo", "bar")).unwrap();
    let get = Script::new(1, "return redis.call('get', KEYS[1])");
    assert_eq!(get.call(&mut conn, "s:foo").unwrap(), Value::from("bar"));
    assert_eq!(reply::string(get.call(&mut conn, "s:foo")).unwrap(), "bar");
    assert_eq!(get.query::<Option<String>>(&mut conn, "s:none").unwrap(), None);
}

#[test]
fn r317_unknown_script_is_sent_with_its_source() {
    let mut conn = dial();
    let script = echo();
    assert!(!knows(&mut conn, &script));
    assert_eq!(script.call(&mut conn, ARGS).unwrap(), bulks(&ARGS));
    assert!(knows(&mut conn, &script));
    assert_eq!(script.call(&mut conn, ARGS).unwrap(), bulks(&ARGS));
}

#[test]
fn r318_loaded_script_runs_by_its_hash() {
    let mut conn = dial();
    let script = echo();
    script.load(&mut conn).unwrap();
    assert!(knows(&mut conn, &script));
    script.send_hash(&mut conn, ARGS).unwrap();
    conn.flush().unwrap();
    assert_eq!(conn.receive().unwrap(), bulks(&ARGS));
}

#[test]
fn r319_send_queues_the_source() {
    let mut conn = dial();
    let script = echo();
    script.send(&mut conn, ARGS).unwrap();
    conn.flush().unwrap();
    assert_eq!(conn.receive().unwrap(), bulks(&ARGS));
}

#[test]
fn r320_r321_zpop_by_watch_and_by_script() {
    let mut conn = dial();
    conn.call("DEL", "s:zset").unwrap();
    for (score, member) in ["red", "blue", "green"].iter().enumerate() {
        conn.send("ZADD", ("s:zset", score, member)).unwrap();
    }
    assert_eq!(conn.drain().unwrap(), [Value::Int(1), Value::Int(1), Value::Int(1)]);

    let mut other = dial();
    let first = conn
        .transaction("s:zset", |mut tx| {
            let (member,): (String,) = tx.query("ZRANGE", ("s:zset", 0, 0))?;
            if tx.attempt() == 1 {
                other.call("ZADD", ("s:zset", 3, "white"))?;
            }
            tx.cmd("ZREM", ("s:zset", &member)).exec::<(i64,)>()?;
            Ok(member)
        })
        .unwrap();
    assert_eq!(first, "red");

    let zpop = unseen(
        1,
        "local r = redis.call('ZRANGE', KEYS[1], 0, 0)
         if r[1] then redis.call('ZREM', KEYS[1], r[1]) end
         return r[1]",
    );
    assert_eq!(reply::string(zpop.call(&mut conn, "s:zset")).unwrap(), "blue");
    let rest: Vec<String> = conn.query("ZRANGE", ("s:zset", 0, -1)).unwrap();
    assert_eq!(rest, ["green", "white"]);
}

#[test]
fn hash_matches_that_of_the_server() {
    let mut conn = dial();
    for source in ["", "return 1", "return 'käse\0'", &"--x\n".repeat(10_000)] {
        let script = Script::owned(0, source);
        let hash: String = conn.query("SCRIPT", ("LOAD", source)).unwrap();
        assert_eq!(script.hash(), hash);
    }
}

#[test]
fn bytes_of_each_form_on_the_wire() {
    let fixed = Script::new(2, "return 1");
    let variadic = Script::owned(None, "return 1".to_string());
    let hash = fixed.hash();
    assert_eq!(hash, variadic.hash());
    let cases: [(&Script, &[&str], &[&str]); 4] = [
        (&fixed, &["k1", "k2", "a"], &["2", "k1", "k2", "a"]),
        (&fixed, &[], &["2"]),
        (&variadic, &["1", "k1", "a"], &["1", "k1", "a"]),
        (&variadic, &[], &[]),
    ];
    for (script, args, sent) in cases {
        let stream = MemoryStream::new(format!("{NOSCRIPT}:1\r\n:1\r\n:1\r\n"));
        let mut conn = over(&stream);
        assert_eq!(script.call(&mut conn, args).unwrap(), Value::Int(1));
        script.send(&mut conn, args).unwrap();
        script.send_hash(&mut conn, args).unwrap();
        conn.drain().unwrap();
        let by_hash = wire(&[&["EVALSHA", hash], sent].concat());
        let by_source = wire(&[&["EVAL", "return 1"], sent].concat());
        assert_eq!(written(&stream), [&*by_hash, &by_source, &by_source, &by_hash].concat());
    }
}

#[test]
fn read_only_script_uses_the_read_only_commands() {
    let stream = MemoryStream::new(format!("{NOSCRIPT}:1\r\n:1\r\n:1\r\n"));
    let mut conn = over(&stream);
    let script = Script::new(1, "return 1").read_only();
    script.call(&mut conn, "k").unwrap();
    script.send(&mut conn, "k").unwrap();
    script.send_hash(&mut conn, "k").unwrap();
    conn.drain().unwrap();
    let by_hash = wire(&["EVALSHA_RO", script.hash(), "1", "k"]);
    let by_source = wire(&["EVAL_RO", "return 1", "1", "k"]);
    assert_eq!(written(&stream), [&*by_hash, &by_source, &by_source, &by_hash].concat());

    let mut conn = dial();
    let write = unseen(1, "return redis.call('SET', KEYS[1], 1)").read_only();
    let refused = write.call(&mut conn, "s:read-only").unwrap_err().to_string();
    if RedisServer::shared().has("EVAL_RO", (7, 0, 0)) {
        assert!(refused.contains("read-only"), "{refused}");
        let read = unseen(1, "return redis.call('EXISTS', KEYS[1])").read_only();
        assert_eq!(read.query::<i64>(&mut conn, "s:read-only").unwrap(), 0);
    } else {
        assert!(refused.contains("unknown command"), "{refused}");
    }
}

#[test]
fn fault_13_earlier_noscript_does_not_run_script_twice() {
    let mut conn = dial();
    let count = unseen(1, "return redis.call('INCR', KEYS[1])");
    count.load(&mut conn).unwrap();
    conn.call("DEL", "s:count").unwrap();
    echo().send_hash(&mut conn, ARGS).unwrap();
    let error = count.call(&mut conn, "s:count").unwrap_err();
    // Like every call, it returns the earlier error; the script has run once.
    assert_eq!(error.as_server().unwrap().code(), "NOSCRIPT");
    assert_eq!(conn.query::<i64>("GET", "s:count").unwrap(), 1);
    assert!(conn.drain().unwrap().is_empty());
}

#[test]
fn fault_13_own_noscript_counts_after_earlier_replies() {
    let mut conn = dial();
    let count = unseen(1, "return redis.call('INCR', KEYS[1])");
    conn.call("DEL", "s:own").unwrap();
    conn.send("ECHO", "earlier").unwrap();
    assert_eq!(count.call(&mut conn, "s:own").unwrap(), Value::Int(1));

    let count = unseen(1, "return redis.call('INCR', KEYS[1])");
    conn.send("NONSENSE", ()).unwrap();
    let error = count.call(&mut conn, "s:own").unwrap_err();
    assert!(error.to_string().contains("NONSENSE"), "{error}");
    assert_eq!(conn.query::<i64>("GET", "s:own").unwrap(), 2);
}

#[test]
fn only_noscript_sends_the_source() {
    for error in ["-ERR NOSCRIPT x\r\n", "-NOSCRIPTS x\r\n", "-WRONGTYPE x\r\n", "-NOSCRIPT\r\n"] {
        let stream = MemoryStream::new(error);
        let mut conn = over(&stream);
        assert!(Script::new(0, "return 1").call(&mut conn, ()).unwrap_err().as_server().is_some());
        assert_eq!(stream.writes(), 1, "{error}");
    }
    // NOSCRIPT as the reply to the source is not tried again.
    let stream = MemoryStream::new(NOSCRIPT.repeat(2));
    let error = Script::new(0, "return 1").call(&mut over(&stream), ()).unwrap_err();
    assert_eq!(error.as_server().unwrap().code(), "NOSCRIPT");
    assert_eq!(stream.writes(), 2);
}

#[test]
fn script_error_leaves_connection_usable() {
    let mut conn = dial();
    let cases = [
        (unseen(0, "return redis.error_reply('MINE all mine')"), "MINE all mine"),
        (unseen(0, "this is no Lua"), "ERR Error compiling script"),
        (unseen(0, "error('raised')"), "raised"),
        (unseen(3, "return 1"), "ERR Number of keys"),
        (unseen(1, "return redis.call('LLEN', KEYS[1])"), "WRONGTYPE"),
    ];
    conn.call("SET", ("s:text", "x")).unwrap();
    for (script, text) in &cases {
        let error = script.call(&mut conn, "s:text").unwrap_err();
        assert!(error.as_server().unwrap().message().contains(text), "{error}");
    }
    let error = Script::variadic("return 1").call(&mut conn, "no number").unwrap_err();
    assert!(error.as_server().is_some(), "{error}");
    let error = cases[1].0.load(&mut conn).unwrap_err();
    assert!(error.to_string().contains("compiling"), "{error}");
    let error = unseen(0, "return 'text'").query::<i64>(&mut conn, ()).unwrap_err();
    assert!(matches!(error, Error::Convert(_)), "{error:?}");
    let in_list = unseen(0, "return {1, redis.error_reply('MINE')}");
    assert!(in_list.query::<Vec<i64>>(&mut conn, ()).unwrap_err().as_server().is_some());
    assert_eq!(conn.query::<String>("PING", ()).unwrap(), "PONG");
}

#[test]
fn timeout_and_context_cover_both_attempts() {
    let script = Script::new(0, "return 1");
    let soon = Duration::from_millis(20);

    let stream = MemoryStream::silent();
    stream.push(NOSCRIPT);
    let mut conn = over(&stream);
    let late = script.call_timeout(&mut conn, soon, ()).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Read));
    assert_eq!(stream.writes(), 2);
    assert!(conn.err().is_some());

    let stream = MemoryStream::silent();
    stream.push(NOSCRIPT);
    let mut conn = over(&stream);
    let ctx = Context::background().with_timeout(soon);
    let late = script.call_context(&ctx, &mut conn, ()).unwrap_err();
    assert_eq!(late.timeout_kind(), Some(TimeoutKind::Context));

    let stream = MemoryStream::silent();
    let mut conn = over(&stream);
    let (ctx, cancel) = Context::background().with_cancel();
    cancel.cancel();
    assert!(script.call_context(&ctx, &mut conn, ()).unwrap_err().is_canceled());
    assert_eq!(stream.writes(), 0);

    // The timeout of the call replaces that of the connection.
    let stream = MemoryStream::silent();
    let mut conn = Dialer::tcp(":6379").read_timeout(soon).wrap(stream.clone());
    let answer = thread::spawn(move || {
        thread::sleep(5 * soon);
        stream.push(":1\r\n");
    });
    assert_eq!(script.call_timeout(&mut conn, None, ()).unwrap(), Value::Int(1));
    answer.join().unwrap();

    let mut conn = dial();
    let ctx = Context::background().with_timeout(LONG);
    let unseen = unseen(0, "return ARGV[1]");
    assert_eq!(unseen.call_context(&ctx, &mut conn, "x").unwrap(), Value::from("x"));
    assert_eq!(unseen.call_timeout(&mut conn, LONG, "x").unwrap(), Value::from("x"));
}

#[test]
fn script_arguments_work_in_pipeline_and_transaction() {
    let mut conn = dial();
    let count = unseen(1, "return redis.call('INCR', KEYS[1])");
    conn.call("DEL", "s:queued").unwrap();
    let counts: Vec<i64> = conn
        .pipeline()
        .cmd("EVAL", count.eval_args("s:queued"))
        .cmd("EVALSHA", count.evalsha_args("s:queued"))
        .query()
        .unwrap();
    assert_eq!(counts, [1, 2]);
    let counts: (i64, i64) = conn
        .transaction("s:queued", |mut tx| {
            // Called on a transaction, a script runs immediately; added with `cmd`, it is queued.
            let now: i64 = count.query(&mut tx, "s:queued:other")?;
            assert_eq!(now, 1);
            tx.cmd("EVAL", count.eval_args("s:queued"))
                .cmd("EVALSHA", count.evalsha_args("s:queued"))
                .exec()
        })
        .unwrap();
    assert_eq!(counts, (3, 4));
    conn.call("DEL", "s:queued:other").unwrap();
}

#[test]
fn threads_share_one_script() {
    fn check<T: Clone + Send + Sync + 'static>(_: &T) {}
    let pool = Pool::builder(dialer()).max_active(4).wait(true).build().unwrap();
    let script = unseen(1, "return redis.call('INCR', KEYS[1])");
    check(&script);
    pool.acquire().unwrap().call("DEL", "s:threads").unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            let script = script.clone();
            let pool = &pool;
            scope.spawn(move || {
                for _ in 0..25 {
                    let mut conn = pool.get();
                    script.call(&mut conn, "s:threads").unwrap();
                    conn.close().unwrap();
                }
            });
        }
    });
    assert_eq!(pool.get().query::<i64>("GET", "s:threads").unwrap(), 100);
}

#[test]
fn debug_shows_the_hash_and_not_the_source() {
    let script = Script::new(1, "return 'a long source'");
    let shown = format!("{script:?}");
    assert!(shown.contains(script.hash()) && !shown.contains("long"), "{shown}");
}
