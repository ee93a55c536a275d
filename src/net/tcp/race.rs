//! Connects to the first of several addresses that accepts (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use socket2::{Domain, Protocol, Socket, Type};

use crate::context::Context;
use crate::error::{Error, Result};

/// The time between two attempts, unless one fails sooner. RFC 8305 recommends this.
const STAGGER: Duration = Duration::from_millis(250);
/// The pauses between two checks of the sockets grow from the first to the second value.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(2));

/// The addresses that did not accept, in the order of the attempts. An address without an error
/// did not answer in time.
pub(super) type Failures = Vec<(SocketAddr, Option<io::Error>)>;

/// Connects to the first address that accepts.
///
/// The attempts start one after the other and then run at the same time, on this thread, until
/// one succeeds or the context ends. A time limit that is too short for the usual pauses between
/// attempts is divided between them.
///
/// # Errors
/// [`Error::Canceled`]. The inner error lists the addresses that failed.
pub(super) fn connect(
    addresses: &[SocketAddr],
    ctx: &Context,
) -> Result<std::result::Result<Socket, Failures>> {
    let mut race = Race::new(addresses, ctx);
    let mut pause = PAUSES.0;
    loop {
        if race.start_due() {
            pause = PAUSES.0;
        }
        if let Some(socket) = race.take_winner() {
            return Ok(Ok(socket));
        }
        if race.is_lost() {
            return Ok(Err(race.into_failures()));
        }
        // An attempt that failed lets the next one start immediately.
        if race.next_start.is_some_and(|start| start <= Instant::now()) {
            continue;
        }
        if ctx.done().recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return Err(Error::Canceled);
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

struct Race<'a> {
    ctx: &'a Context,
    /// In the order of their attempts.
    addresses: Vec<SocketAddr>,
    /// As many as have started.
    attempts: Vec<Attempt>,
    stagger: Duration,
    /// `None` when all attempts have started.
    next_start: Option<Instant>,
}

enum Attempt {
    Running(Socket),
    Failed(io::Error),
}

impl Race<'_> {
    fn new<'a>(addresses: &[SocketAddr], ctx: &'a Context) -> Race<'a> {
        let addresses = interleave(addresses);
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let stagger = ctx.remaining().map_or(STAGGER, |left| (left / count).min(STAGGER));
        let next_start = (!addresses.is_empty()).then(Instant::now);
        Race { ctx, addresses, attempts: Vec::new(), stagger, next_start }
    }

    /// Starts the next attempt if it is due. Returns true if it did.
    fn start_due(&mut self) -> bool {
        let now = Instant::now();
        if self.next_start.is_none_or(|start| start > now) {
            return false;
        }
        self.attempts.push(start(self.addresses[self.attempts.len()]));
        let has_more = self.attempts.len() < self.addresses.len();
        self.next_start = has_more.then_some(now + self.stagger);
        true
    }

    /// Returns the first socket that is connected.
    fn take_winner(&mut self) -> Option<Socket> {
        for at in 0..self.attempts.len() {
            let Attempt::Running(socket) = &self.attempts[at] else { continue };
            match check(socket) {
                Ok(false) => continue,
                Err(error) => self.attempts[at] = Attempt::Failed(error),
                Ok(true) => match self.attempts.swap_remove(at) {
                    Attempt::Running(socket) => return Some(socket),
                    Attempt::Failed(_) => {}
                },
            }
        }
        // The latest attempt has failed, so the next one does not wait.
        if let (Some(start), Some(Attempt::Failed(_))) =
            (&mut self.next_start, self.attempts.last())
        {
            *start = Instant::now();
        }
        None
    }

    /// Returns true if all attempts have failed, or if the context has ended.
    fn is_lost(&self) -> bool {
        let all_failed = self.next_start.is_none()
            && self.attempts.iter().all(|attempt| matches!(attempt, Attempt::Failed(_)));
        all_failed || self.ctx.remaining() == Some(Duration::ZERO)
    }

    fn into_failures(self) -> Failures {
        let errors = self.attempts.into_iter().map(|attempt| match attempt {
            Attempt::Running(_) => None,
            Attempt::Failed(error) => Some(error),
        });
        self.addresses.into_iter().zip(errors).collect()
    }
}

/// Alternates between the address families, beginning with the family of the first address.
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut mixed = Vec::with_capacity(addresses.len());
    for at in 0..first.len().max(second.len()) {
        mixed.extend(first.get(at).copied());
        mixed.extend(second.get(at).copied());
    }
    mixed
}

/// Starts to connect, without waiting.
fn start(address: SocketAddr) -> Attempt {
    let start = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Returns immediately, and the connect continues in the background.
        match socket.connect_timeout(&address.into(), Duration::ZERO) {
            Err(error) if error.kind() != io::ErrorKind::TimedOut => Err(error),
            _ => Ok(socket),
        }
    };
    start().map_or_else(Attempt::Failed, Attempt::Running)
}

/// Returns true if the socket is connected, and an error if the connect has failed.
fn check(socket: &Socket) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => super::refuse_self_connect(socket).map(|()| true),
        // An error between the two checks is found by the next one.
        Err(_) => Ok(false),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::tests::{full_queue, refused};
    use super::*;
    use std::net::TcpListener;

    fn listener(host: &str) -> Option<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind((host, 0)).ok()?;
        let address = listener.local_addr().unwrap();
        Some((listener, address))
    }

    fn within(timeout: Duration) -> Context {
        Context::background().with_timeout(timeout)
    }

    #[test]
    fn address_families_alternate() {
        let addresses = |text: &str| -> Vec<SocketAddr> {
            text.split(' ').map(|address| format!("{address}:1").parse().unwrap()).collect()
        };
        let order = |text| interleave(&addresses(text));
        assert_eq!(
            order("[::1] [::2] [::3] 10.0.0.1 10.0.0.2"),
            addresses("[::1] 10.0.0.1 [::2] 10.0.0.2 [::3]")
        );
        assert_eq!(order("10.0.0.1 [::1] [::2]"), addresses("10.0.0.1 [::1] [::2]"));
        assert_eq!(order("10.0.0.1 10.0.0.2"), addresses("10.0.0.1 10.0.0.2"));
    }

    #[test]
    fn a_silent_address_does_not_use_up_the_deadline() {
        let (_full, silent) = full_queue();
        let (live, address) = listener("127.0.0.1").unwrap();
        // Below the usual pause of 250 ms the two attempts share the time.
        for timeout in [Duration::from_millis(200), Duration::from_secs(2)] {
            let ctx = within(timeout);
            let socket = connect(&[silent, address], &ctx).unwrap().unwrap();
            assert_eq!(socket.peer_addr().unwrap().as_socket(), Some(address));
            live.accept().unwrap();
        }
        let socket = connect(&[silent, silent, address], &Context::background()).unwrap().unwrap();
        assert_eq!(socket.peer_addr().unwrap().as_socket(), Some(address));
    }

    #[test]
    fn a_silent_address_of_one_family_falls_back_to_the_other() {
        let (_full, silent) = full_queue();
        let Some((_live, address)) = listener("::1") else { return };
        let socket = connect(&[silent, address], &within(Duration::from_secs(10)));
        assert_eq!(socket.unwrap().unwrap().peer_addr().unwrap().as_socket(), Some(address));
    }

    #[test]
    fn a_refused_address_starts_the_next_one_immediately() {
        let (_live, address) = listener("127.0.0.1").unwrap();
        let mut addresses = vec![refused(); 40];
        addresses.push(address);
        // With pauses of 250 ms this would need ten seconds.
        let start = Instant::now();
        connect(&addresses, &within(Duration::from_secs(60))).unwrap().unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[test]
    fn each_address_has_its_own_failure() {
        let (_full, silent) = full_queue();
        let refusing = refused();
        let failures =
            connect(&[silent, refusing], &within(Duration::from_millis(100))).unwrap().unwrap_err();
        let kinds: Vec<_> = failures
            .iter()
            .map(|(address, error)| (*address, error.as_ref().map(io::Error::kind)))
            .collect();
        let expected = [(silent, None), (refusing, Some(io::ErrorKind::ConnectionRefused))];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn the_socket_of_the_winner_blocks() {
        let (live, address) = listener("127.0.0.1").unwrap();
        let socket = connect(&[refused(), address], &Context::background()).unwrap().unwrap();
        let (peer, _) = live.accept().unwrap();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            io::Write::write_all(&mut &peer, b"x").unwrap();
        });
        let mut stream = std::net::TcpStream::from(socket);
        assert_eq!(io::Read::read(&mut stream, &mut [0]).unwrap(), 1);
        writer.join().unwrap();
    }

    #[test]
    fn canceling_ends_the_attempts() {
        let (_full, silent) = full_queue();
        let (ctx, cancel) = Context::background().with_cancel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| connect(&[silent, silent], &ctx).unwrap_err());
            std::thread::sleep(Duration::from_millis(20));
            cancel.cancel();
            assert!(waiting.join().unwrap().is_canceled());
        });
    }
}
