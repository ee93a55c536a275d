//! A process that has run out of file descriptors, or of threads: clear errors, no place lost, and
//! all is well when there are some again.
//!
//! The limits are a whole process's, so each test runs itself again in a process of its own.

#![cfg(unix)]

use std::env;
use std::io::ErrorKind;
use std::process::Command;
use std::thread;

use redigo::{Conn, Dialer, Error, Mux, Pool};

mod support;

use support::redis_server::RedisServer;
use support::wait::{LONG, promptly, wait_until};

/// How the process under a limit knows that it is one: by the address of the server.
const ADDRESS: &str = "REDIGO_LIMITS_ADDRESS";

/// Runs the named test again under these limits of the shell, and this stack for each thread.
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

/// A dialler to the server, in the process that is under a limit.
fn limited() -> Option<Dialer> {
    let address = env::var(ADDRESS).ok()?;
    Some(Dialer::tcp(address).connect_timeout(LONG).read_timeout(LONG))
}

fn works(conn: &mut Conn) -> bool {
    conn.query::<String>("ECHO", "hello").is_ok_and(|reply| reply == "hello")
}

#[track_caller]
fn all_places_are_free(pool: &Pool) {
    wait_until("dials end", || pool.stats().dialing == 0);
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.waiting, stats.open), (0, 0, stats.idle), "{stats:?}");
}

#[test]
fn out_of_file_descriptors() {
    let Some(dialer) = limited() else {
        return run_limited("out_of_file_descriptors", "ulimit -n 40", None);
    };
    let is_told = |error: &Error| {
        // EMFILE has no kind of its own in the standard library.
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
            assert!(borrowed.len() < 40, "the limit is none");
        };
        assert!(is_told(&error));
        // By way of a dial thread; and without a pool.
        assert!(is_told(&promptly("get", || pool.get_timeout(LONG)).unwrap_err()));
        assert!(is_told(&dialer.dial().unwrap_err()));
        assert!(is_told(&Mux::new(dialer.clone()).call("PING", ()).unwrap_err()));
        let stats = pool.stats();
        assert_eq!((stats.in_use, stats.dialing, stats.open), (borrowed.len(), 0, borrowed.len()));
        // Those that there are go on working, and are enough.
        assert!(borrowed.iter_mut().all(|conn| works(conn)));
        drop(borrowed.split_off(3));
        assert!(works(&mut pool.acquire().unwrap()));
        drop(borrowed);
        all_places_are_free(&pool);
        pool.prune();
    }
    // As many again as there were at first.
    pool.close();
    let again = Pool::builder(dialer).max_active(20).build().unwrap();
    let all: Vec<_> = (0..20).map(|_| again.acquire().unwrap()).collect();
    assert_eq!(all.len(), 20);
}

/// No limit on the number of threads binds root. But where the stack of a thread is longer than all
/// the memory that a process may map, no thread starts but those that are content with less.
#[test]
#[cfg(target_os = "linux")]
fn out_of_threads() {
    const STACK: u64 = 64 << 30;
    let Some(dialer) = limited() else {
        let limit = format!("ulimit -v {}", STACK / 2 / 1024);
        return run_limited("out_of_threads", &limit, Some(STACK));
    };
    assert!(thread::Builder::new().spawn(|| {}).is_err(), "the limit is none");
    let small = || thread::Builder::new().stack_size(256 << 10);
    let is_told = |error: &Error| {
        assert!(error.to_string().contains("starting a thread"), "{error}");
        assert!(matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock));
        true
    };

    let pool = Pool::builder(dialer.clone()).max_active(1).wait(true).build().unwrap();
    // Nobody waits out a deadline for a thread that does not come.
    let start = std::time::Instant::now();
    assert!(is_told(&pool.get_timeout(LONG).unwrap_err()));
    assert!(start.elapsed() < LONG / 2);
    all_places_are_free(&pool);
    // One without a deadline dials itself.
    let mut conn = pool.acquire().unwrap();
    assert!(works(&mut conn));

    // One who waits already is told when the place is free, and no thread is to be had for it.
    let waiting = pool.clone();
    let waiter = small().spawn(move || waiting.get_timeout(LONG).map(drop)).unwrap();
    wait_until("it waits", || pool.stats().waiting == 1);
    conn.discard();
    wait_until("it is told", || waiter.is_finished());
    assert!(is_told(&waiter.join().unwrap().unwrap_err()));
    all_places_are_free(&pool);

    // And one who can be handed what comes back needs no thread at all.
    let conn = pool.acquire().unwrap();
    let waiting = pool.clone();
    let waiter = small().spawn(move || waiting.get_timeout(LONG).map(drop)).unwrap();
    wait_until("it waits", || pool.stats().waiting == 1);
    drop(conn);
    wait_until("it is served", || waiter.is_finished());
    waiter.join().unwrap().unwrap();
    all_places_are_free(&pool);

    // A name is looked up on a thread where the dial has a limit.
    let named = Dialer::tcp("localhost:1").connect_timeout(LONG);
    assert!(is_told(&named.dial().unwrap_err()));
    // A mux has no threads of its own.
    assert!(Mux::new(dialer).call("PING", ()).is_ok());
}
