//! Allocations, counted: after warm-up a call allocates nothing but its reply's own payload, and
//! a checkout nothing at all.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Pool};

/// The system's allocator, counting what this thread takes.
struct Counting;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.with(|taken| taken.set(taken.get() + 1));
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = TAKEN.with(Cell::get);
    let outcome = work();
    let taken = TAKEN.with(Cell::get) - before;
    drop(outcome);
    taken
}

/// A connection whose peer has answered `replies` over and over.
fn conn(replies: &str) -> Conn {
    let server = MemoryStream::new(replies.repeat(200));
    server.reserve_for_writes(1 << 16);
    Dialer::tcp(":6379").wrap(server)
}

/// What one call takes after a few to warm up; the same for each.
fn per_call(replies: &str, mut call: impl FnMut(&mut Conn)) -> usize {
    let mut conn = conn(replies);
    (0..10).for_each(|_| call(&mut conn));
    let taken = allocations(|| (0..100).for_each(|_| call(&mut conn)));
    assert_eq!(taken % 100, 0, "{taken} allocations in 100 calls");
    taken / 100
}

#[test]
fn a_call_allocates_only_what_its_reply_holds() {
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
fn a_checkout_allocates_nothing() {
    let pool = Pool::builder_with(|_| Ok(conn(""))).max_active(2).wait(true).build().unwrap();
    drop(pool.get());
    let taken = allocations(|| (0..100).for_each(|_| pool.get().close().unwrap()));
    assert_eq!(taken, 0);
}
