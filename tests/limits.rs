//! A process without file descriptors or threads: errors are clear, no slot is lost, and the pool
//! recovers.
//!
//! The limits apply to a process, so each test runs itself again in a child process.

#![cfg(unix)]

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;
use std::thread;

use redigo::{CloseReason, Conn, Dialer, Error, Mux, Pool};

mod support;

use support::redis_server::RedisServer;
use support::wait::{LONG, promptly, wait_until};

/// Set in the child process: the address of the server.
const ADDRESS: &str = "REDIGO_LIMITS_ADDRESS";

/// Runs the named test again under limits of the shell, with a stack size for threads.
#[track_caller]
fn run_limited(test: &str, limits: &str, stack: Option<u64>) {
    let server = RedisServer::shared();
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")])
        .arg(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ADDRESS, server.addr());
    if let Some(bytes) = stack {
        command.env("RUST_MIN_STACK", bytes.to_string());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Returns a dialer to the server in the child process.
fn limited() -> Option<Dialer> {
    let address = env::var(ADDRESS).ok()?;
    Some(Dialer::tcp(address).connect_timeout(LONG).read_timeout(LONG))
}

fn works(conn: &mut Conn) -> bool {
    conn.query::<String>("ECHO", "hello").is_ok_and(|reply| reply == "hello")
}

#[track_caller]
fn assert_all_slots_are_free(pool: &Pool) {
    wait_until("dials end", || pool.stats().dialing == 0);
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.waiting, stats.open), (0, 0, stats.idle), "{stats:?}");
}

#[test]
fn process_without_file_descriptors_recovers() {
    let Some(dialer) = limited() else {
        return run_limited("process_without_file_descriptors_recovers", "ulimit -n 40", None);
    };
    let is_clear = |error: &Error| {
        // The standard library has no error kind for EMFILE.
        let text = error.to_string();
        assert!(text.contains("Too many open files"), "{text}");
        assert!(text.contains("127.0.0.1"), "{text}");
        true
    };
    let pool = Pool::builder(dialer.clone()).max_active(100).max_idle(100).build().unwrap();
    for _ in 0..3 {
        let mut borrowed = Vec::new();
        let error = loop {
            match pool.acquire() {
                Ok(conn) => borrowed.push(conn),
                Err(error) => break error,
            }
            assert!(borrowed.len() < 40, "the limit has no effect");
        };
        assert!(is_clear(&error));
        // On a dial thread, and without a pool.
        assert!(is_clear(&promptly("get", || pool.get_timeout(LONG)).unwrap_err()));
        assert!(is_clear(&dialer.dial().unwrap_err()));
        assert!(is_clear(&Mux::new(dialer.clone()).call("PING", ()).unwrap_err()));
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.dialing, stats.open), (borrowed.len(), 0, borrowed.len()));
        // The open connections work and are enough.
        assert!(borrowed.iter_mut().all(|conn| works(conn)));
        drop(borrowed.split_off(3));
        assert!(works(&mut pool.acquire().unwrap()));
        drop(borrowed);
        assert_all_slots_are_free(&pool);
        pool.prune();
    }
    // As many connections as at first can be opened.
    pool.close();
    let again = Pool::builder(dialer).max_active(20).build().unwrap();
    let all: Vec<_> = (0..20).map(|_| again.acquire().unwrap()).collect();
    assert_eq!(all.len(), 20);
}

/// A limit on the number of threads does not bind root. But if the stack of a thread is larger
/// than the memory that the process may still map, only threads with smaller stacks start.
#[test]
#[cfg(target_os = "linux")]
fn process_without_threads_recovers() {
    const STACK: u64 = 1 << 30;
    let Some(dialer) = limited() else {
        return run_limited("process_without_threads_recovers", "true", Some(STACK));
    };
    let small = || thread::Builder::new().stack_size(256 << 10);
    let forbid_threads = || {
        // When a thread ends, the system library frees the large stacks that it has kept.
        small().spawn(|| {}).unwrap().join().unwrap();
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
        limit_memory(&(pages * 4096 + STACK / 2).to_string());
        assert!(thread::Builder::new().spawn(|| {}).is_err(), "the limit has no effect");
    };
    let allow_threads = || limit_memory("unlimited");
    let is_clear = |error: &Error| {
        assert!(error.to_string().contains("starting a thread"), "{error}");
        assert!(matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock));
        true
    };

    let pool = Pool::builder(dialer.clone()).max_active(1).wait(true).build().unwrap();
    forbid_threads();
    // No caller waits until its deadline, or forever, for a thread that cannot start.
    let start = std::time::Instant::now();
    assert!(is_clear(&pool.get_timeout(LONG).unwrap_err()));
    assert!(is_clear(&pool.acquire().unwrap_err()));
    assert!(start.elapsed() < LONG / 2);
    assert_all_slots_are_free(&pool);
    allow_threads();
    let mut conn = pool.acquire().unwrap();
    assert!(works(&mut conn));

    // A waiter gets the error when a slot becomes free and no thread can start.
    wait_until("the dial thread ends", || !has_dial_thread());
    forbid_threads();
    let waiting = pool.clone();
    let waiter = small().spawn(move || waiting.get_timeout(LONG).map(drop)).unwrap();
    wait_until("it waits", || pool.stats().waiting == 1);
    conn.discard();
    wait_until("the waiter has an error", || waiter.is_finished());
    assert!(is_clear(&waiter.join().unwrap().unwrap_err()));
    assert_all_slots_are_free(&pool);

    // A waiter that gets a returned connection needs no thread.
    allow_threads();
    let conn = pool.acquire().unwrap();
    forbid_threads();
    let waiting = pool.clone();
    let waiter = small().spawn(move || waiting.get_timeout(LONG).map(drop)).unwrap();
    wait_until("it waits", || pool.stats().waiting == 1);
    drop(conn);
    wait_until("it is served", || waiter.is_finished());
    waiter.join().unwrap().unwrap();
    assert_all_slots_are_free(&pool);

    // A dropped connection that no thread can clean is closed.
    allow_threads();
    let mut conn = pool.acquire().unwrap();
    wait_until("the dial thread ends", || !has_dial_thread());
    forbid_threads();
    conn.send("PING", ()).unwrap();
    let before = pool.stats().closed.of(CloseReason::Dirty);
    drop(conn);
    assert_eq!(pool.stats().closed.of(CloseReason::Dirty), before + 1);
    assert_all_slots_are_free(&pool);

    // A dial with a limit resolves names on a thread.
    let named = Dialer::tcp("localhost:1").connect_timeout(LONG);
    assert!(is_clear(&named.dial().unwrap_err()));
    // A mux has no threads.
    assert!(Mux::new(dialer).call("PING", ()).is_ok());
}

/// Limits the memory that this process may map.
#[cfg(target_os = "linux")]
fn limit_memory(bytes: &str) {
    let own = std::process::id().to_string();
    let set = Command::new("prlimit").args(["--pid", &own, &format!("--as={bytes}:")]).status();
    assert!(set.expect("prlimit, of util-linux").success());
}

#[cfg(target_os = "linux")]
fn has_dial_thread() -> bool {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    // A thread that ends meanwhile has no name.
    let mut names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
    names.any(|name| name.is_ok_and(|name| name.trim_end() == "redigo-dial"))
}
