//! Resolves host names within a deadline.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{bounded, never, select};

use crate::context::Context;
use crate::error::{Error, Result, TimeoutKind};

/// Returns all addresses of a host.
///
/// The system's resolver has no timeout. If the context can end, a name (not an IP address) is
/// resolved on a short-lived thread. The caller abandons the thread at the end of the context.
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
        // At the end of the context the receiver is gone.
        let _ = sender.send(look_up(&name, port));
    });
    if let Err(error) = spawned {
        return Err(Error::io_context("starting a thread to resolve a name", Arc::new(error)));
    }
    let expired = ctx.deadline().map_or_else(never::<Instant>, crossbeam_channel::at);
    select! {
        recv(answer) -> found => Ok(found.unwrap_or_else(|_| {
            Err(io::Error::other("the resolver gave no answer"))
        })),
        recv(ctx.done()) -> _ => Err(Error::Canceled),
        recv(expired) -> _ => Err(Error::Timeout(TimeoutKind::Connect)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_ip_address_needs_no_resolver() {
        let addresses = resolve("::1", 1, &Context::background()).unwrap();
        assert_eq!(addresses, ["[::1]:1".parse().unwrap()]);
    }

    #[test]
    fn an_error_names_the_unresolved_host() {
        let ctx = Context::background().with_timeout(Duration::from_secs(60));
        for ctx in [Context::background(), ctx] {
            let error = resolve("no-such-host.invalid", 1, &ctx).unwrap_err();
            assert!(error.to_string().contains("resolving no-such-host.invalid"), "{error}");
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
}
