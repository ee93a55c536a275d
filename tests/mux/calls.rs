//! One connection for many threads. Rows R322–R329 of the conformance matrix bear their numbers.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Context, Dialer, Error, Mux, Peek, Pool, Stream, TimeoutKind, Value};

use crate::support::redis_server::RedisServer;
use crate::support::sharing::{LONG, dialer, kind, over, shared, texts, wait_until_written};
use crate::support::wait::wait_until;

// Commands.

#[test]
fn r322_commands_that_do_not_belong_are_refused_by_name_and_nothing_is_sent() {
    let refused: &[(&str, &str, &str)] = &[
        ("WATCH", "k", "transaction"),
        ("watch", "k", "transaction"),
        ("wAtch", "k", "transaction"),
        ("UNWATCH", "", "transaction"),
        ("MULTI", "", "transaction"),
        ("EXEC", "", "transaction"),
        ("DISCARD", "", "transaction"),
        ("SUBSCRIBE", "c", "stream"),
        ("PSUBSCRIBE", "c", "stream"),
        ("SSUBSCRIBE", "c", "stream"),
        ("UNSUBSCRIBE", "c", "stream"),
        ("PUNSUBSCRIBE", "c", "stream"),
        ("SUNSUBSCRIBE", "c", "stream"),
        ("MONITOR", "", "stream"),
        ("SYNC", "", "stream"),
        ("PSYNC", "? -1", "stream"),
        ("REPLCONF", "ack 1", "stream"),
        ("SELECT", "1", "everybody"),
        ("SELECT", "0", "everybody"),
        ("AUTH", "secret", "everybody"),
        ("HELLO", "3", "everybody"),
        ("RESET", "", "everybody"),
        ("QUIT", "", "everybody"),
        ("READONLY", "", "everybody"),
        ("READWRITE", "", "everybody"),
        ("ASKING", "", "everybody"),
        ("CLIENT", "REPLY OFF", "everybody"),
        ("client", "reply skip", "everybody"),
        ("CLIENT", "TRACKING on", "everybody"),
        ("CLIENT", "SETNAME x", "everybody"),
        ("CLIENT", "NO-EVICT on", "everybody"),
        ("CLIENT", "", "everybody"),
        ("SCRIPT", "DEBUG YES", "everybody"),
        ("BLPOP", "k 0", "holds up"),
        ("brpop", "k 0", "holds up"),
        ("BLMOVE", "a b LEFT RIGHT 0", "holds up"),
        ("BRPOPLPUSH", "a b 0", "holds up"),
        ("BLMPOP", "0 1 k LEFT", "holds up"),
        ("BZPOPMIN", "k 0", "holds up"),
        ("BZPOPMAX", "k 0", "holds up"),
        ("BZMPOP", "0 1 k MIN", "holds up"),
        ("WAIT", "1 0", "holds up"),
        ("WAITAOF", "1 0 0", "holds up"),
        ("XREAD", "BLOCK 0 STREAMS s $", "holds up"),
        ("xread", "COUNT 1 block 0 streams s $", "holds up"),
        ("XREADGROUP", "GROUP g c BLOCK 0 STREAMS s >", "holds up"),
        ("", "", "without a name"),
    ];
    let stream = MemoryStream::silent();
    let mux = over(&stream);
    for (command, line, why) in refused {
        let words: Vec<&str> = line.split_whitespace().collect();
        for error in [
            mux.call(command, &words[..]).unwrap_err(),
            mux.get().send(command, &words[..]).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Unsupported(_)), "{command} {line}: {error:?}");
            let text = error.to_string();
            let named = text.contains(&command.to_ascii_uppercase()) && text.contains(why);
            assert!(named, "{command} {line}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
    assert_eq!((mux.stats().dials, mux.stats().calls), (0, 0));
    assert!(stream.written().is_empty());
}

#[test]
fn commands_that_only_look_like_it_belong() {
    let mux = shared();
    mux.call("DEL", "mux:stream").unwrap();
    mux.call("XADD", ("mux:stream", "*", "field", "value")).unwrap();
    assert!(!mux.call("XREAD", ("STREAMS", "mux:stream", "0")).unwrap().is_nil());
    // BLOCK behind STREAMS is the name of a stream.
    mux.call("XREAD", ("COUNT", 1, "STREAMS", "BLOCK", "0")).unwrap();
    mux.call("CLIENT", "ID").unwrap();
    mux.call("SCRIPT", ("EXISTS", "0000000000000000000000000000000000000000")).unwrap();
    mux.call("WATCHING", ()).unwrap_err().as_server().expect("the server is asked");
}

// redigo's tests.

#[test]
fn r323_two_handles_share_the_connection_and_each_gets_its_own() {
    let mux = shared();
    let (mut c1, mut c2) = (mux.get(), mux.get());
    c1.send("ECHO", "hello").unwrap();
    c2.send("ECHO", "world").unwrap();
    c1.flush().unwrap();
    c2.flush().unwrap();
    assert_eq!(texts(c1.receive().unwrap()), "hello");
    assert_eq!(texts(c2.receive().unwrap()), "world");
    c1.close().unwrap();
    c2.close().unwrap();
    assert_eq!(mux.stats().dials, 1);
}

#[test]
fn r324_closing_a_handle_receives_what_is_still_to_come() {
    let mux = shared();
    let (mut c1, mut c2) = (mux.get(), mux.get());
    c1.send("ECHO", "hello").unwrap();
    c1.close().unwrap();
    assert_eq!(mux.stats().in_flight, 0, "its reply has been received");
    c2.send("ECHO", "world").unwrap();
    c2.flush().unwrap();
    assert_eq!(texts(c2.receive().unwrap()), "world");
    let mut c3 = mux.get();
    c3.send("NONSENSE", ()).unwrap();
    c3.send("PING", ()).unwrap();
    assert_eq!(c3.close().unwrap_err().as_server().unwrap().code(), "ERR");
    mux.get().close().unwrap();
}

#[test]
fn r325_ping_on_a_connection_and_on_a_pooled_one() {
    let dialer = dialer(RedisServer::shared());
    let mut conn = dialer.dial().unwrap();
    let pool = Pool::builder(dialer).max_idle(1).build().unwrap();
    for _ in 0..1000 {
        conn.call("PING", ()).unwrap();
        let mut pooled = pool.get();
        pooled.call("PING", ()).unwrap();
        pooled.close().unwrap();
    }
    assert_eq!(pool.stats().open, 1);
}

#[test]
fn r326_get_ping_close_over_a_mux() {
    let mux = shared();
    for _ in 0..1000 {
        let mut conn = mux.get();
        assert_eq!(texts(conn.call("PING", ()).unwrap()), "PONG");
        conn.close().unwrap();
    }
    assert_eq!((mux.stats().dials, mux.stats().calls), (1, 1000));
}

#[test]
fn r327_ten_threads_each_get_ping_close_over_a_mux() {
    let mux = shared();
    thread::scope(|scope| {
        for thread in 0..10 {
            let mux = &mux;
            scope.spawn(move || {
                for turn in 0..500 {
                    let mut conn = mux.get();
                    let word = format!("{thread}:{turn}");
                    assert_eq!(texts(conn.call("PING", &word).unwrap()), word);
                    conn.close().unwrap();
                }
            });
        }
    });
    assert_eq!((mux.stats().dials, mux.stats().calls, mux.stats().in_flight), (1, 5000, 0));
}

#[test]
fn r328_ten_threads_on_a_pool_that_keeps_ten() {
    let pool = Pool::builder(dialer(RedisServer::shared())).max_idle(10).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut conn = pool.get();
                    conn.call("PING", ()).unwrap();
                    conn.close().unwrap();
                }
            });
        }
    });
    assert!(pool.stats().open <= 10);
}

#[test]
fn r329_ten_threads_take_turns_to_send_and_to_receive_on_one_connection() {
    let mut conn = dialer(RedisServer::shared()).dial().unwrap();
    let (sender, receiver) = conn.split();
    let (sender, receiver) = (Mutex::new((0, sender)), Mutex::new((0, receiver)));
    let turn = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut sending = sender.lock().unwrap();
                    let ticket = sending.0;
                    sending.0 += 1;
                    sending.1.send("ECHO", ticket).unwrap();
                    sending.1.flush().unwrap();
                    drop(sending);
                    let receiving = receiver.lock().unwrap();
                    let mut receiving =
                        turn.wait_while(receiving, |receiving| receiving.0 != ticket).unwrap();
                    assert_eq!(texts(receiving.1.receive().unwrap()), ticket.to_string());
                    receiving.0 += 1;
                    turn.notify_all();
                }
            });
        }
    });
}

// Replies and their owners.

#[test]
fn replies_never_cross_whoever_leaves_early() {
    // A few, who sleep until they are woken up, and a crowd, who let each other run before.
    for (threads, turns) in [(12, 1500), (64, 400)] {
        let mux = shared();
        mux.call("PING", ()).unwrap();
        let left = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..threads {
                let (mux, left) = (&mux, &left);
                scope.spawn(move || (0..turns).for_each(|turn| echo(mux, thread, turn, left)));
            }
        });
        assert!(left.into_inner() > 0, "nobody left early");
        mux.call("PING", ()).unwrap();
        let stats = mux.stats();
        assert_eq!((stats.dials, stats.lost, stats.in_flight), (1, 0, 0), "{stats:?}");
    }
}

/// Gets its own echo. Every seventh call has hardly any time, and leaves somewhere on the way.
fn echo(mux: &Mux, thread: usize, turn: usize, left: &AtomicUsize) {
    let nonce = format!("{thread}:{turn}:{}", "x".repeat(turn % 50));
    let outcome = match turn % 7 {
        0 => mux.call_timeout(Duration::from_micros(turn as u64 % 90), "ECHO", &nonce),
        1 => {
            let (ctx, cancel) = Context::background().with_cancel();
            let canceler = (turn % 49 == 1).then(|| thread::spawn(move || cancel.cancel()));
            let outcome = mux.call_context(&ctx, "ECHO", &nonce);
            canceler.into_iter().for_each(|thread| thread.join().unwrap());
            outcome
        }
        _ => mux.call_timeout(LONG, "ECHO", &nonce),
    };
    match outcome {
        Ok(reply) => assert_eq!(texts(reply), nonce),
        Err(error) => {
            assert!(turn % 7 < 2, "{error}");
            assert!(error.is_timeout() || error.is_canceled(), "{error}");
            left.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn pipelines_of_many_threads_keep_their_order() {
    let mux = shared();
    thread::scope(|scope| {
        for thread in 0..8 {
            let mux = &mux;
            scope.spawn(move || {
                let mut conn = mux.get();
                for turn in 0..20 {
                    for item in 0..100 {
                        conn.send("ECHO", format!("{thread}:{turn}:{item}")).unwrap();
                    }
                    conn.flush().unwrap();
                    assert_eq!(conn.pending(), 100);
                    for item in 0..100 {
                        let reply = conn.receive_timeout(LONG).unwrap();
                        assert_eq!(texts(reply), format!("{thread}:{turn}:{item}"));
                    }
                }
                conn.close().unwrap();
            });
        }
    });
}

#[test]
fn a_slow_owner_holds_nobody_up() {
    let mux = shared();
    let mut slow = mux.get();
    slow.send("ECHO", "slow").unwrap();
    slow.flush().unwrap();
    let mut gone = mux.get();
    gone.send("ECHO", "gone").unwrap();
    drop(gone);
    for turn in 0..100 {
        assert_eq!(mux.query::<i64>("ECHO", turn).unwrap(), turn);
    }
    assert_eq!(texts(slow.receive().unwrap()), "slow");
    assert_eq!((mux.stats().abandoned, mux.stats().in_flight), (1, 0));
}

#[test]
fn an_error_reply_is_its_owners_alone() {
    let mux = shared();
    mux.call("SET", ("mux:text", "abc")).unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let mux = &mux;
            scope.spawn(move || {
                for _ in 0..200 {
                    if thread % 2 == 0 {
                        let error = mux.call("INCR", "mux:text").unwrap_err();
                        assert!(error.as_server().is_some(), "{error:?}");
                    } else {
                        assert_eq!(mux.query::<String>("GET", "mux:text").unwrap(), "abc");
                    }
                }
            });
        }
    });
    assert!(mux.query::<i64>("GET", "mux:text").is_err());
    assert!(mux.err().is_none());
}

#[test]
fn a_handle_that_calls_gets_the_reply_to_that_command() {
    let mux = shared();
    let mut conn = mux.get();
    assert!(matches!(conn.receive().unwrap_err(), Error::Unsupported(_)));
    conn.send("ECHO", "first").unwrap();
    assert_eq!(texts(conn.call("ECHO", "second").unwrap()), "second");
    assert_eq!(conn.pending(), 0);
    conn.send("NONSENSE", ()).unwrap();
    assert!(conn.call("PING", ()).unwrap_err().as_server().is_some());
    conn.send("PING", ()).unwrap();
    conn.send("NONSENSE", ()).unwrap();
    conn.send("MULTI", ()).unwrap_err();
    let Value::Array(replies) = conn.call("", ()).unwrap() else { panic!("not a list") };
    assert!(matches!(replies[..], [Value::Simple(_), Value::Error(_)]), "{replies:?}");
    assert!(conn.call("", ()).unwrap().is_nil());
    assert_eq!(conn.query::<i64>("ECHO", 7).unwrap(), 7);
}

#[test]
fn a_connection_that_logs_logs_what_goes_through_the_mux() {
    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    struct Capture;
    impl log::Log for Capture {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.target() == "redigo::commands"
        }
        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                LINES.lock().unwrap().push(record.args().to_string());
            }
        }
        fn flush(&self) {}
    }
    log::set_logger(&Capture).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let dialer = dialer(RedisServer::shared());
    let mux = Mux::with(move |ctx| Ok(redigo::logging(dialer.dial_context(ctx)?, "web")));
    mux.call("ECHO", "a").unwrap();
    mux.call("ECHO", "b").unwrap();
    let lines = LINES.lock().unwrap();
    assert_eq!(lines[..], [r#"web.ECHO("a") -> "a""#, r#"web.ECHO("b") -> "b""#]);
}

// Writing.

/// Counts system calls, and holds writes back while it is shut.
#[derive(Clone)]
struct Counting(Arc<Counts>);

struct Counts {
    stream: MemoryStream,
    reads: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Counting {
    fn new(open: bool) -> Counting {
        Counting(Arc::new(Counts {
            stream: MemoryStream::silent(),
            reads: AtomicUsize::new(0),
            open: Mutex::new(open),
            opened: Condvar::new(),
        }))
    }

    fn open(&self) {
        *self.0.open.lock().unwrap() = true;
        self.0.opened.notify_all();
    }

    fn mux(&self) -> Mux {
        let stream = self.clone();
        Mux::with(move |_| Ok(Dialer::tcp(":6379").wrap(stream.clone())))
    }
}

impl Stream for Counting {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = Stream::read(&self.0.stream, buffer);
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        read
    }
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let open = self.0.open.lock().unwrap();
        let limit = self.0.stream.write_timeout().unwrap_or(LONG);
        let (open, _) = self.0.opened.wait_timeout_while(open, limit, |open| !*open).unwrap();
        if !*open {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Stream::write(&self.0.stream, bytes)
    }
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.stream.set_read_timeout(timeout)
    }
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.stream.set_write_timeout(timeout)
    }
    fn shutdown(&self) {
        Stream::shutdown(&self.0.stream);
    }
    fn peek(&self) -> io::Result<Peek> {
        Stream::peek(&self.0.stream)
    }
}

#[test]
fn what_is_queued_together_takes_one_write_and_one_read() {
    const CALLERS: usize = 32;
    let stream = Counting::new(false);
    let mux = stream.mux();
    thread::scope(|scope| {
        let first = scope.spawn(|| mux.call("PING", "first"));
        // It is stuck in its write while the others queue their commands.
        wait_until("the first to write", || mux.stats().writes == 1);
        let others: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| mux.call("PING", ()))).collect();
        wait_until("all to be queued", || mux.stats().in_flight == CALLERS + 1);
        stream.open();
        wait_until("the second write", || stream.0.stream.writes() == 2);
        stream.0.stream.push("+PONG\r\n".repeat(CALLERS + 1));
        for caller in others.into_iter().chain([first]) {
            caller.join().unwrap().unwrap();
        }
    });
    assert_eq!(stream.0.stream.writes(), 2);
    assert_eq!(stream.0.reads.load(Ordering::SeqCst), 1);
    assert_eq!(mux.stats().writes, 2);
}

#[test]
fn two_handles_that_send_share_one_write_and_one_read() {
    let stream = Counting::new(true);
    let mux = stream.mux();
    let (mut c1, mut c2) = (mux.get(), mux.get());
    for turn in 0..50 {
        c1.send("GET", turn).unwrap();
        c2.send("GET", turn).unwrap();
    }
    assert_eq!(stream.0.stream.writes(), 0);
    c2.flush().unwrap();
    c1.flush().unwrap();
    stream.0.stream.push((0..100).map(|turn| format!(":{turn}\r\n")).collect::<String>());
    for turn in 0..50 {
        assert_eq!(c1.receive().unwrap().as_int(), Some(2 * turn));
        assert_eq!(c2.receive().unwrap().as_int(), Some(2 * turn + 1));
    }
    assert_eq!(stream.0.stream.writes(), 1);
    assert_eq!(stream.0.reads.load(Ordering::SeqCst), 1);
}

#[test]
fn a_writer_whose_time_is_over_leaves_the_rest_to_another() {
    let stream = Counting::new(false);
    let mux = stream.mux();
    let outcome = mux.call_timeout(Duration::from_millis(10), "ECHO", "first");
    assert_eq!(kind(&outcome), Some(TimeoutKind::Read));
    let (ctx, cancel) = Context::background().with_cancel();
    thread::scope(|scope| {
        let canceled = scope.spawn(|| mux.call_context(&ctx, "ECHO", "second"));
        wait_until("the second to write", || mux.stats().in_flight == 2);
        let third = scope.spawn(|| mux.call_timeout(LONG, "ECHO", "third"));
        wait_until("the third to wait", || mux.stats().in_flight == 3);
        cancel.cancel();
        assert!(canceled.join().unwrap().unwrap_err().is_canceled());
        stream.open();
        wait_until_written(&stream.0.stream, "third", 1);
        stream.0.stream.push("$5\r\nfirst\r\n$6\r\nsecond\r\n$5\r\nthird\r\n");
        assert_eq!(texts(third.join().unwrap().unwrap()), "third");
    });
    let written = String::from_utf8(stream.0.stream.written()).unwrap();
    let words: Vec<_> = written.lines().filter(|line| !line.contains(['*', '$'])).collect();
    assert_eq!(words, ["ECHO", "first", "ECHO", "second", "ECHO", "third"]);
}

#[test]
fn flushing_writes_ones_own_commands_behind_what_others_have_left() {
    let stream = Counting::new(false);
    let mux = stream.mux();
    mux.call_timeout(Duration::from_millis(10), "ECHO", "left").unwrap_err();
    stream.open();
    let mut conn = mux.get();
    conn.send("ECHO", "own").unwrap();
    conn.flush().unwrap();
    let written = String::from_utf8(stream.0.stream.written()).unwrap();
    assert!(written.find("left") < written.find("own"), "{written:?}");
}

#[test]
fn a_command_that_was_written_in_part_is_finished_by_the_next() {
    let server = RedisServer::start();
    let mux = Mux::new(dialer(&server));
    mux.call("PING", ()).unwrap();
    server.freeze();
    // Far more than the buffers between us take. Copying it may take all of a short time.
    let value = vec![b'x'; 64 << 20];
    let mut patience = Duration::from_millis(100);
    while mux.stats().abandoned == 0 {
        patience *= 2;
        let outcome = mux.call_timeout(patience, "SET", ("mux:long", &value));
        assert!(outcome.unwrap_err().is_timeout());
    }
    server.thaw();
    let length = mux.call_timeout(LONG, "STRLEN", "mux:long").unwrap();
    assert_eq!(length.as_int(), Some(value.len() as i64));
    assert_eq!((mux.stats().dials, mux.stats().lost), (1, 0));
}

#[test]
fn the_queue_is_not_added_to_while_what_is_in_front_of_it_does_not_move() {
    let stream = Counting::new(false);
    let mux = stream.mux();
    let long = vec![b'x'; 2 << 20];
    let (ctx, cancel) = Context::background().with_cancel();
    thread::scope(|scope| {
        let first = scope.spawn(|| mux.call_timeout(LONG, "SET", ("a", &long)));
        wait_until("the first to write", || mux.stats().writes == 1);
        let second = scope.spawn(|| mux.call_timeout(LONG, "SET", ("b", &long)));
        wait_until("the second to be queued", || mux.stats().in_flight == 2);
        let canceled = scope.spawn(|| mux.call_context(&ctx, "GET", "never"));
        let outcome = mux.call_timeout(Duration::from_millis(20), "GET", "never");
        assert_eq!(kind(&outcome), Some(TimeoutKind::Write), "{outcome:?}");
        let third = scope.spawn(|| mux.call_timeout(LONG, "GET", "third"));
        wait_until("the others to wait", || mux.stats().waiting == 2);
        cancel.cancel();
        assert!(canceled.join().unwrap().unwrap_err().is_canceled());
        assert_eq!(mux.stats().in_flight, 2);
        stream.open();
        wait_until_written(&stream.0.stream, "third", 1);
        stream.0.stream.push("+OK\r\n+OK\r\n$5\r\nthird\r\n");
        first.join().unwrap().unwrap();
        second.join().unwrap().unwrap();
        assert_eq!(texts(third.join().unwrap().unwrap()), "third");
    });
    assert!(!stream.0.stream.written().windows(5).any(|word| word == b"never"));
}

#[test]
fn a_server_that_does_not_read_for_the_write_timeout_is_given_up() {
    let stream = Counting::new(false);
    let connection = stream.clone();
    let mux = Mux::with(move |_| {
        let dialer = Dialer::tcp(":6379").write_timeout(Duration::from_millis(30));
        Ok(dialer.wrap(connection.clone()))
    });
    assert_eq!(kind(&mux.call("PING", ())), Some(TimeoutKind::Write));
    assert_eq!(mux.stats().lost, 1);
    assert!(stream.0.stream.is_closed());
}
