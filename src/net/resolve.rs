//! Host names to addresses, within a deadline.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{bounded, never, select};

use crate::context::Context;
use crate::error::{Error, Result, TimeoutKind};

/// All addresses of a host.
///
/// The system's resolver knows no deadline. So where the context has an end, a name (not an
/// address in digits) is resolved on a short-lived thread that is left behind when it is late.
pub(crate) fn resolve(host: &str, port: u16, ctx: &Context) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found =
        if ctx.is_bounded() { look_up_on_a_thread(host, port, ctx)? } else { look_up(host, port) };
    match found {
        Ok(addresses) if addresses.is_empty() => {
            let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            Err(Error::io_context(format_args!("resolving {host}"), Arc::new(none)))
        }
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(Error::io_context(format_args!("resolving {host}"), Arc::new(error))),
    }
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

fn look_up_on_a_thread(
    host: &str,
    port: u16,
    ctx: &Context,
) -> Result<io::Result<Vec<SocketAddr>>> {
    let (sender, answer) = bounded(1);
    let name = host.to_owned();
    let spawned = std::thread::Builder::new().name("redigo-resolve".into()).spawn(move || {
        // Nobody listens any more when it is late.
        let _ = sender.send(look_up(&name, port));
    });
    if let Err(error) = spawned {
        return Err(Error::io_context("starting a thread to resolve a name", Arc::new(error)));
    }
    let late = ctx.deadline().map_or_else(never::<Instant>, crossbeam_channel::at);
    select! {
        recv(answer) -> found => Ok(found.unwrap_or_else(|_| {
            Err(io::Error::other("the resolver gave no answer"))
        })),
        recv(ctx.done()) -> _ => Err(Error::Canceled),
        recv(late) -> _ => Err(Error::Timeout(TimeoutKind::Connect)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_address_in_digits_needs_no_resolver() {
        let addresses = resolve("::1", 1, &Context::background()).unwrap();
        assert_eq!(addresses, ["[::1]:1".parse().unwrap()]);
    }

    #[test]
    fn a_name_without_an_address_is_named_in_the_error() {
        let ctx = Context::background().with_timeout(Duration::from_secs(60));
        for ctx in [Context::background(), ctx] {
            let error = resolve("no-such-host.invalid", 1, &ctx).unwrap_err();
            assert!(error.to_string().contains("resolving no-such-host.invalid"), "{error}");
        }
    }

    #[test]
    fn no_time_left_is_a_timeout() {
        let ctx = Context::background().with_deadline(Instant::now());
        // The name may be found as well: whichever is first.
        if let Err(error) = resolve("localhost", 1, &ctx) {
            assert_eq!(error.timeout_kind(), Some(TimeoutKind::Connect));
        }
    }
}
