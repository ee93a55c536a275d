//! Counts system calls: two for a command, whatever the number of its arguments and of the elements
//! of its reply, while both are short.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use redigo::{Conn, Dialer, Peek, Stream};

mod support;

use support::redis_server::RedisServer;

/// The number of calls of each kind.
#[derive(Debug, Default)]
struct Counts {
    reads: AtomicUsize,
    writes: AtomicUsize,
    others: AtomicUsize,
    /// Reads of at most a buffer's length, and the bytes of longer reads.
    bytes_in_place: AtomicUsize,
}

impl Counts {
    /// Reads, writes and other calls since the last `take`.
    fn take(&self) -> [usize; 3] {
        [&self.reads, &self.writes, &self.others].map(|count| count.swap(0, Relaxed))
    }
}

struct Counted(TcpStream, Arc<Counts>);

impl Stream for Counted {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.reads.fetch_add(1, Relaxed);
        let read = Stream::read(&self.0, buffer)?;
        if buffer.len() > 16 * 1024 {
            self.1.bytes_in_place.fetch_add(read, Relaxed);
        }
        Ok(read)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.1.writes.fetch_add(1, Relaxed);
        Stream::write(&self.0, bytes)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.1.others.fetch_add(1, Relaxed);
        self.0.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.1.others.fetch_add(1, Relaxed);
        self.0.set_write_timeout(timeout)
    }

    fn shutdown(&self) {
        Stream::shutdown(&self.0);
    }

    fn peek(&self) -> io::Result<Peek> {
        self.1.others.fetch_add(1, Relaxed);
        Stream::peek(&self.0)
    }
}

fn dial() -> (Conn, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let dialer = Dialer::url(RedisServer::shared().url()).unwrap();
    let shared = Arc::clone(&counts);
    let dialer = dialer.connector(move |_, _| {
        let stream = TcpStream::connect(RedisServer::shared().addr())?;
        Ok(Box::new(Counted(stream, Arc::clone(&shared))) as Box<dyn Stream>)
    });
    let mut conn = dialer.dial().unwrap();
    // The first call sets the timeouts of the socket.
    conn.call("PING", ()).unwrap();
    counts.take();
    (conn, counts)
}

#[test]
fn command_is_one_write_and_one_read() {
    let (mut conn, counts) = dial();
    let keys: Vec<String> = (0..10).map(|at| format!("calls:{at}")).collect();
    for _ in 0..100 {
        conn.call("SET", ("calls:0", 12345, "EX", 60)).unwrap();
        assert_eq!(counts.take(), [1, 1, 0], "SET");
        conn.query::<i64>("INCR", "calls:counter").unwrap();
        assert_eq!(counts.take(), [1, 1, 0], "INCR");
        conn.query::<String>("GET", "calls:0").unwrap();
        assert_eq!(counts.take(), [1, 1, 0], "GET");
        conn.query::<Vec<Option<String>>>("MGET", &keys).unwrap();
        assert_eq!(counts.take(), [1, 1, 0], "MGET of 10");
        conn.pipeline().cmd("SET", ("calls:1", 1)).cmd("GET", "calls:1").run().unwrap();
        assert_eq!(counts.take(), [1, 1, 0], "a pipeline");
    }
}

/// A peer can send pieces of any size; no piece passes through another buffer.
#[test]
fn long_string_is_read_without_a_copy() {
    const LENGTH: usize = 10 << 20;
    let (mut conn, counts) = dial();
    let value = vec![b'x'; LENGTH];
    conn.call("SET", ("calls:large", &value)).unwrap();
    counts.take();
    assert!(conn.query::<Vec<u8>>("GET", "calls:large").unwrap() == value);
    let in_place = counts.bytes_in_place.load(Relaxed);
    // The first read brings the header, and the last the line end.
    assert!(in_place >= LENGTH - 2 * 16 * 1024, "{in_place} bytes of {LENGTH}");
}
