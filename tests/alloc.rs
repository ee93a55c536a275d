//! Counts allocations: after warm-up, a call allocates only the payload of its reply, and a
//! checkout allocates nothing. Measures memory: a long list is in memory once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Pool, Stream};

/// The system's allocator, with a count of this thread's allocations.
struct Counting;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
    /// Bytes allocated now, and their peak. Bytes that other threads free do not count.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(allocations: usize, bytes: isize) {
    TAKEN.set(TAKEN.get() + allocations);
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = TAKEN.get();
    let outcome = work();
    let taken = TAKEN.get() - before;
    drop(outcome);
    taken
}

/// The peak of bytes that the work allocated, and its outcome.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get();
    PEAK.set(before);
    let outcome = work();
    ((PEAK.get() - before) as usize, outcome)
}

/// Reads from the memory and drops the written bytes, so that recording them allocates nothing.
struct DiscardWrites(MemoryStream);

impl Stream for DiscardWrites {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(timeout)
    }

    fn shutdown(&self) {
        self.0.shutdown();
    }
}

/// A connection whose peer has answered `replies` many times.
fn conn(replies: &str) -> Conn {
    Dialer::tcp(":6379").wrap(DiscardWrites(MemoryStream::new(replies.repeat(200))))
}

/// The allocations of one call after some calls to warm up; the same for each.
fn per_call(replies: &str, mut call: impl FnMut(&mut Conn)) -> usize {
    let mut conn = conn(replies);
    (0..10).for_each(|_| call(&mut conn));
    let taken = allocations(|| (0..100).for_each(|_| call(&mut conn)));
    assert_eq!(taken % 100, 0, "{taken} allocations in 100 calls");
    taken / 100
}

#[test]
fn call_allocates_only_the_payload_of_its_reply() {
    let set = per_call("+OK\r\n", |conn| drop(conn.call("SET", ("key", 12345, "EX", 60)).unwrap()));
    assert_eq!(set, 0, "SET");
    let incr = per_call(":2\r\n", |conn| {
        conn.query::<i64>("INCR", "counter").unwrap();
    });
    assert_eq!(incr, 0, "INCR");
    let get = per_call("$5\r\nvalue\r\n", |conn| drop(conn.call("GET", "key").unwrap()));
    assert_eq!(get, 1, "GET: the value");
    let missing = per_call("$-1\r\n", |conn| drop(conn.call("GET", "key").unwrap()));
    assert_eq!(missing, 0, "GET of nothing");
    let mget = format!("*10\r\n{}", "$1\r\nx\r\n".repeat(10));
    let keys = ["k"; 10];
    let mget = per_call(&mget, |conn| drop(conn.call("MGET", keys).unwrap()));
    assert_eq!(mget, 11, "MGET: the list and ten values");
    let text =
        per_call("$5\r\nvalue\r\n", |conn| drop(conn.query::<String>("GET", "key").unwrap()));
    assert_eq!(text, 1, "GET as a String: the bytes become the text");
}

#[test]
fn commands_that_change_state_allocate_only_their_reply() {
    let watch = per_call("+OK\r\n+OK\r\n", |conn| {
        conn.call("WATCH", "key").unwrap();
        conn.call("UNWATCH", ()).unwrap();
    });
    assert_eq!(watch, 0, "WATCH and UNWATCH");
    let exec = per_call("+OK\r\n+QUEUED\r\n*1\r\n:1\r\n", |conn| {
        conn.send("MULTI", ()).unwrap();
        conn.send("INCR", "key").unwrap();
        conn.send("EXEC", ()).unwrap();
        conn.flush().unwrap();
        (0..3).for_each(|_| drop(conn.receive().unwrap()));
    });
    assert_eq!(exec, 1, "the list of EXEC");
}

#[test]
fn numbers_in_strings_allocate_no_string() {
    let count = per_call("$3\r\n123\r\n", |conn| {
        conn.query::<u64>("GET", "key").unwrap();
    });
    assert_eq!(count, 0, "GET as a number");
    let scores = "*4\r\n$1\r\n1\r\n$3\r\n2.5\r\n$-1\r\n$3\r\ninf\r\n";
    let scores = per_call(scores, |conn| {
        conn.query::<Vec<Option<f64>>>("ZMSCORE", "key").unwrap();
    });
    assert_eq!(scores, 1, "ZMSCORE: the list");
}

#[test]
fn pipeline_allocates_its_buffer_and_its_replies() {
    const COMMANDS: usize = 20;
    let replies = "$5\r\nvalue\r\n".repeat(COMMANDS);
    let texts = per_call(&replies, |conn| {
        let mut pipeline = conn.pipeline();
        (0..COMMANDS).for_each(|_| pipeline.push("GET", "key"));
        assert_eq!(pipeline.query::<Vec<String>>().unwrap().len(), COMMANDS);
    });
    assert_eq!(texts, 2 + 1 + COMMANDS, "the buffer, the list and its values");
}

#[test]
fn typed_list_allocates_only_itself() {
    let mget = format!("*10\r\n{}", "$1\r\nx\r\n".repeat(10));
    let keys = ["k"; 10];
    let texts = per_call(&mget, |conn| drop(conn.query::<Vec<String>>("MGET", keys).unwrap()));
    assert_eq!(texts, 11, "MGET: the list and ten values");
    let numbers = format!("*10\r\n{}", ":7\r\n".repeat(10));
    let numbers = per_call(&numbers, |conn| drop(conn.query::<Vec<i64>>("BITFIELD", "k").unwrap()));
    assert_eq!(numbers, 1, "the list");
    let pair = per_call("*2\r\n:7\r\n:8\r\n", |conn| {
        conn.query::<(i64, i64)>("BITFIELD", "k").unwrap();
    });
    assert_eq!(pair, 0, "a pair");
}

#[test]
fn long_list_is_in_memory_once() {
    const ELEMENTS: usize = 100_000;
    let list = format!("*{ELEMENTS}\r\n{}", "$16\r\nsixteen bytes...\r\n".repeat(ELEMENTS));
    let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(list));
    let (peak, list) = peak(|| conn.query::<Vec<String>>("LRANGE", ("list", 0, -1)).unwrap());
    let own: usize = list.iter().map(|text| size_of::<String>() + text.len()).sum();
    assert_eq!(list.len(), ELEMENTS);
    assert!(peak <= own * 3 / 2, "{peak} bytes for a list of {own}");
}

#[test]
fn long_hash_is_in_memory_once() {
    const FIELDS: usize = 10_000;
    let pairs: String =
        (0..FIELDS).map(|at| format!("$8\r\nf:{at:06}\r\n$5\r\nvalue\r\n")).collect();
    let hash = format!("*{}\r\n{pairs}", 2 * FIELDS);
    let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(hash));
    let (peak, map) = peak(|| conn.query::<HashMap<String, String>>("HGETALL", "h").unwrap());
    assert_eq!(map.len(), FIELDS);
    // While a hash table grows, both copies are in memory, in 3/2 of the size.
    let own = map.capacity() * (2 * size_of::<String>() + 1) + FIELDS * 13;
    assert!(peak <= own * 2, "{peak} bytes for a map of {own}");
}

#[test]
fn long_string_is_in_memory_once() {
    const LENGTH: usize = 10 << 20;
    let value = format!("${LENGTH}\r\n{}\r\n", "x".repeat(LENGTH));
    let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(value));
    let (peak, value) = peak(|| conn.query::<Vec<u8>>("GET", "k").unwrap());
    assert_eq!((value.len(), value.capacity()), (LENGTH, LENGTH));
    assert!(peak < LENGTH + 64 * 1024, "{peak} bytes for a string of {LENGTH}");
}

#[test]
fn large_argument_is_not_copied() {
    const LENGTH: usize = 10 << 20;
    let mut conn = Dialer::tcp(":6379").wrap(DiscardWrites(MemoryStream::new("+OK\r\n")));
    let value = vec![b'x'; LENGTH];
    let (peak, _) = peak(|| conn.call("SET", ("k", &value)).unwrap());
    assert!(peak < 64 * 1024, "{peak} bytes to send one of {LENGTH}");
}

#[test]
fn announced_lengths_allocate_almost_nothing() {
    for (what, head) in [
        ("a string", "$536870912\r\nx"),
        ("a list", "*4294967295\r\n:1\r\n"),
        ("lists in lists", &"*4294967295\r\n".repeat(100)),
    ] {
        let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(head));
        let (peak, reply) = peak(|| conn.query::<Vec<Vec<String>>>("LRANGE", ("list", 0, -1)));
        assert!(reply.unwrap_err().to_string().contains("in the middle of a reply"), "{what}");
        assert!(peak <= 1 << 20, "{peak} bytes for {what}");
    }
}

#[test]
fn checkout_allocates_nothing() {
    let pool = Pool::builder_with(|_| Ok(conn(""))).max_active(2).wait(true).build().unwrap();
    drop(pool.get());
    let taken = allocations(|| (0..100).for_each(|_| pool.get().close().unwrap()));
    assert_eq!(taken, 0);
}
