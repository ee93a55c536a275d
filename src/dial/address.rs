//! Addresses of servers, and the grammar of `host:port`.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The port of a Redis server if the address has none.
pub(crate) const DEFAULT_PORT: u16 = 6379;

/// The address of a server.
///
/// A [`Dialer::connector`](crate::Dialer::connector) receives the address that it must connect to.
///
/// ```
/// use redigo::Address;
///
/// let address = Address::Tcp { host: "localhost".into(), port: 6379 };
/// assert_eq!(address.to_string(), "localhost:6379");
/// let address = Address::Tcp { host: "::1".into(), port: 6379 };
/// assert_eq!(address.to_string(), "[::1]:6379");
/// let address = Address::Unix("/run/redis.sock".into());
/// assert_eq!(address.to_string(), "/run/redis.sock");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A host (a name or an IP address) and a port.
    Tcp {
        /// The name or the IP address. An IPv6 address has no brackets here.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Parses the argument of [`Dialer::tcp`](crate::Dialer::tcp).
    pub(crate) fn parse(address: &str) -> Result<Address> {
        // The text can be a URL by mistake, with a password in it.
        let shown = if address.contains(['@', '/']) { "" } else { address };
        match parse_host_port(address) {
            Ok((host, port)) => Ok(Address::Tcp { host, port }),
            Err(why) => Err(Error::InvalidConfig(format!("address {shown:?}: {why}").into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Splits `host:port`. The host defaults to `localhost`, the port to 6379.
pub(super) fn parse_host_port(text: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("no ']' after an IPv6 address")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("no IPv6 address between '[' and ']'");
        }
        match rest.strip_prefix(':') {
            Some(port) => (host, port),
            None if rest.is_empty() => (host, ""),
            None => return Err("only a port can follow ']'"),
        }
    } else {
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        if port.contains(':') {
            return Err("more than one ':'; put an IPv6 address in brackets");
        }
        (host, port)
    };
    if host.chars().any(|c| c.is_whitespace() || "/?#@[]%".contains(c)) {
        return Err("a character that is not valid in a host");
    }
    let host = if host.is_empty() { "localhost" } else { host };
    Ok((host.to_owned(), parse_port(port)?))
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the port is not a number");
    }
    match text.parse() {
        Ok(0) | Err(_) => Err("the port is not between 1 and 65535"),
        Ok(port) => Ok(port),
    }
}
