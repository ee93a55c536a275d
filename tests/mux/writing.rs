//! Writes that callers share, and writes that a slow server holds up.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Context, Dialer, Mux, Peek, Stream, TimeoutKind};

use crate::support::fake_server::{FakeServer, await_request, hold};
use crate::support::redis_server::RedisServer;
use crate::support::sharing::{LONG, dialer, kind, texts, wait_until_written};
use crate::support::wait::{promptly, wait_until};

/// Counts reads, and blocks writes until it is opened.
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
fn commands_queued_together_take_one_write_and_one_read() {
    const CALLERS: usize = 32;
    let stream = Counting::new(false);
    let mux = stream.mux();
    thread::scope(|scope| {
        let first = scope.spawn(|| mux.call("PING", "first"));
        // The first caller is blocked in its write while the others queue their commands.
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
fn two_sending_handles_share_one_write_and_one_read() {
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
fn writer_past_its_deadline_hands_the_rest_to_another() {
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
fn flush_continues_an_unfinished_write_before_its_own_commands() {
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

#[cfg(unix)]
#[test]
fn partly_written_command_is_finished_by_the_next_caller() {
    let server = RedisServer::start();
    let mux = Mux::new(dialer(&server));
    mux.call("PING", ()).unwrap();
    server.freeze();
    // Far more than the socket buffers hold. Copying it may take longer than a short timeout.
    let value = vec![b'x'; 64 << 20];
    let mut timeout = Duration::from_millis(100);
    while mux.stats().abandoned == 0 {
        timeout *= 2;
        let outcome = mux.call_timeout(timeout, "SET", ("mux:long", &value));
        assert!(outcome.unwrap_err().is_timeout());
    }
    server.thaw();
    let length = mux.call_timeout(LONG, "STRLEN", "mux:long").unwrap();
    assert_eq!(length.as_int(), Some(value.len() as i64));
    assert_eq!((mux.stats().dials, mux.stats().lost), (1, 0));
}

/// Windows does not say how much of a write that timed out was sent.
#[cfg(windows)]
#[test]
fn partly_written_command_ends_the_connection_on_windows() {
    let server = RedisServer::start();
    let mux = Mux::new(dialer(&server));
    mux.call("PING", ()).unwrap();
    server.freeze();
    let value = vec![b'x'; 64 << 20];
    let late = mux.call_timeout(Duration::from_secs(2), "SET", ("mux:long", &value));
    assert!(late.unwrap_err().is_timeout());
    server.thaw();
    crate::support::wait::wait_until("a new connection", || mux.call("PING", ()).is_ok());
    assert!(mux.call("GET", "mux:long").unwrap().is_nil());
    assert_eq!((mux.stats().dials, mux.stats().lost), (2, 1));
}

/// The length of a value that fills the buffers in both directions.
#[cfg(not(windows))]
const LARGE: usize = 16 << 20;

/// A server that writes a large reply to the first command before it reads the second.
#[cfg(not(windows))]
fn server_with_back_pressure() -> FakeServer {
    FakeServer::start(|mut stream| {
        await_request(&mut stream);
        let head = format!("${LARGE}\r\n");
        let reply = [head.as_bytes(), &vec![b'y'; LARGE], b"\r\n"].concat();
        if stream.write_all(&reply).is_err() {
            return;
        }
        let command = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${LARGE}\r\n").len() + LARGE + 2;
        let mut rest = Read::take(&stream, command as u64);
        if io::copy(&mut rest, &mut io::sink()).is_ok() {
            let _ = stream.write_all(b"+OK\r\n");
            hold(stream);
        }
    })
}

#[cfg(not(windows))]
#[test]
fn writer_reads_the_replies_that_keep_the_server_from_reading() {
    let server = server_with_back_pressure();
    let dialer = server.dialer();
    let mux = Mux::with(move |ctx| dialer.dial_context(ctx));
    let value = vec![b'x'; LARGE];
    // The caller leaves, and no other caller reads its reply.
    mux.call_timeout(Duration::from_millis(50), "GET", "k").unwrap_err();
    let outcome = mux.call_timeout(LONG, "SET", ("k", &value));
    assert_eq!(texts(outcome.unwrap()), "OK");
    assert_eq!((mux.stats().dials, mux.stats().in_flight), (1, 0));
}

#[cfg(not(windows))]
#[test]
fn flush_reads_the_replies_that_keep_the_server_from_reading() {
    let server = server_with_back_pressure();
    let dialer = server.dialer();
    let mux = Mux::with(move |ctx| dialer.dial_context(ctx));
    let value = vec![b'x'; LARGE];
    let mut conn = mux.get();
    conn.send("GET", "k").unwrap();
    conn.flush().unwrap();
    conn.send("SET", ("k", &value)).unwrap();
    promptly("the flush", || conn.flush()).unwrap();
    assert_eq!(texts(conn.receive().unwrap()).len(), LARGE);
    assert_eq!(texts(conn.receive().unwrap()), "OK");
    assert_eq!((mux.stats().dials, mux.stats().in_flight), (1, 0));
}

#[test]
fn full_send_queue_admits_no_command() {
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
fn server_that_reads_nothing_for_the_write_timeout_is_lost() {
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
