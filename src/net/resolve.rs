//! Resolves host names within a deadline.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use crate::context::Context;
use crate::error::{Error, Result, TimeoutError, TimeoutKind};
use crate::sync::Mutex;

/// Returns all addresses of a host: of a name, or of an IP address with or without a zone.
///
/// The system's resolver has no timeout. If the context can end, a name is resolved on a
/// short-lived thread, which the caller leaves at the end of the context. All callers that wait
/// for the same name share one thread, so a resolver that hangs costs one thread for each name.
pub(crate) fn resolve(host: &str, port: u16, ctx: &Context) -> Result<Vec<SocketAddr>> {
    static SYSTEM: LazyLock<Resolver> =
        LazyLock::new(|| Resolver::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect)));
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if let Ok(address) = format!("[{host}]:{port}").parse() {
        // An IPv6 address with a zone in digits.
        return Ok(vec![address]);
    }
    let place = |error| Error::io_context("cannot resolve the name", error);
    let mut addresses = SYSTEM.resolve(host, ctx)?.map_err(place)?;
    if addresses.is_empty() {
        let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        return Err(place(Arc::new(none)));
    }
    addresses.iter_mut().for_each(|address| address.set_port(port));
    Ok(addresses)
}

type Answer = Result<Vec<SocketAddr>, Arc<io::Error>>;
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Runs at most one look-up of each name at a time.
struct Resolver {
    look_up: Arc<LookUp>,
    running: Arc<Mutex<HashMap<String, Arc<Running>>>>,
}

/// A look-up on its thread.
struct Running {
    answer: OnceLock<Answer>,
    /// Disconnects when the thread has ended.
    done: Receiver<()>,
}

impl Resolver {
    fn new(
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Resolver {
        Resolver { look_up: Arc::new(look_up), running: Arc::default() }
    }

    /// Looks the name up.
    ///
    /// # Errors
    /// The end of the context.
    fn resolve(&self, host: &str, ctx: &Context) -> Result<Answer> {
        if !ctx.is_bounded() {
            return Ok((self.look_up)(host).map_err(Arc::new));
        }
        let running = self.join(host)?;
        let expired = ctx.deadline().map_or_else(never::<Instant>, crossbeam_channel::at);
        select! {
            recv(running.done) -> _ => {}
            recv(ctx.done()) -> _ => return Err(Error::Canceled),
            recv(expired) -> _ => {
                let error = TimeoutError::from(TimeoutKind::Connect);
                return Err(error.during("while resolving the name").into());
            }
        }
        let no_answer = || Err(Arc::new(io::Error::other("the resolver gave no answer")));
        Ok(running.answer.get().cloned().unwrap_or_else(no_answer))
    }

    /// Returns the running look-up of the name, or starts one.
    fn join(&self, host: &str) -> Result<Arc<Running>> {
        let mut all = self.running.lock();
        if let Some(running) = all.get(host) {
            return Ok(Arc::clone(running));
        }
        let (open, done) = bounded(0);
        let running = Arc::new(Running { answer: OnceLock::new(), done });
        all.insert(host.to_owned(), Arc::clone(&running));
        // Without a thread the task is dropped here, and its drop takes the lock.
        drop(all);
        let task = Task {
            host: host.to_owned(),
            running: Arc::clone(&running),
            all: Arc::clone(&self.running),
            _open: open,
        };
        let look_up = Arc::clone(&self.look_up);
        let thread = std::thread::Builder::new().name("redigo-resolve".into());
        let spawned = thread.spawn(move || {
            let answer = look_up(&task.host).map_err(Arc::new);
            let _ = task.running.answer.set(answer);
        });
        spawned.map(|_| running).map_err(|error| {
            Error::io_context("starting a thread to resolve a name", Arc::new(error))
        })
    }
}

/// The work of a look-up's thread. Its drop ends the look-up, also after a panic.
struct Task {
    host: String,
    running: Arc<Running>,
    all: Arc<Mutex<HashMap<String, Arc<Running>>>>,
    _open: Sender<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if all.get(&self.host).is_some_and(|running| Arc::ptr_eq(running, &self.running)) {
            all.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn an_ip_address_needs_no_resolver() {
        for (host, address) in [("::1", "[::1]:1"), ("10.0.0.1", "10.0.0.1:1")] {
            let addresses = resolve(host, 1, &Context::background()).unwrap();
            assert_eq!(addresses, [address.parse().unwrap()]);
        }
        let zoned = resolve("fe80::1%7", 1, &Context::background()).unwrap();
        assert_eq!(zoned[0].to_string(), "[fe80::1%7]:1");
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let ctx = Context::background().with_timeout(Duration::from_secs(60));
        for ctx in [Context::background(), ctx] {
            let error = resolve("no-such-host.invalid", 1, &ctx).unwrap_err();
            assert!(error.to_string().starts_with("cannot resolve the name: "), "{error}");
        }
    }

    #[test]
    fn resolving_without_time_left_times_out() {
        let ctx = Context::background().with_deadline(Instant::now());
        // The answer can also arrive first.
        if let Err(error) = resolve("localhost", 1, &ctx) {
            assert_eq!(error.timeout_kind(), Some(TimeoutKind::Connect));
        }
    }

    /// Waits for `release` at each look-up, and counts them.
    fn hanging() -> (Resolver, Arc<AtomicUsize>, Sender<()>) {
        let (release, released) = bounded::<()>(0);
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let resolver = Resolver::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = released.recv();
            Ok(vec!["10.0.0.1:0".parse().unwrap()])
        });
        (resolver, count, release)
    }

    #[test]
    fn a_hanging_resolver_costs_one_thread_for_each_name() {
        let (resolver, count, release) = hanging();
        let short = Duration::from_millis(20);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for name in ["a", "b", "a"] {
                        let ctx = Context::background().with_timeout(short);
                        let error = resolver.resolve(name, &ctx).unwrap_err();
                        assert_eq!(error.timeout_kind(), Some(TimeoutKind::Connect));
                    }
                });
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), 2);

        // The waiters of a name share its answer, and the next caller looks it up again.
        let ctx = Context::background().with_timeout(Duration::from_secs(60));
        std::thread::scope(|scope| {
            let waiting = [0; 4].map(|_| scope.spawn(|| resolver.resolve("a", &ctx)));
            drop(release);
            for waiter in waiting {
                assert_eq!(waiter.join().unwrap().unwrap().unwrap().len(), 1);
            }
        });
        let before = count.load(Ordering::SeqCst);
        while !resolver.running.lock().is_empty() {
            std::thread::yield_now();
        }
        resolver.resolve("a", &ctx).unwrap().unwrap();
        assert_eq!(count.load(Ordering::SeqCst), before + 1);
    }

    #[test]
    fn canceling_ends_the_wait_for_a_name() {
        let (resolver, _, _release) = hanging();
        let (ctx, cancel) = Context::background().with_cancel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| resolver.resolve("a", &ctx).unwrap_err());
            cancel.cancel();
            assert!(waiting.join().unwrap().is_canceled());
        });
    }

    #[test]
    fn a_panic_of_the_resolver_is_an_error() {
        let resolver = Resolver::new(|_| panic!("planned"));
        let ctx = Context::background().with_timeout(Duration::from_secs(60));
        for _ in 0..2 {
            let error = resolver.resolve("a", &ctx).unwrap().unwrap_err();
            assert_eq!(error.to_string(), "the resolver gave no answer");
        }
    }
}
