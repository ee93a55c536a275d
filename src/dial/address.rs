//! Addresses of servers, and the grammar of `host:port`.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The port of a Redis server if the address has none.
pub(crate) const DEFAULT_PORT: u16 = 6379;

/// The error of a host and port like `::1` or `localhost:6379:2`.
pub(super) const MANY_COLONS: &str = "more than one ':'; put an IPv6 address in brackets";

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
        /// The name or the IP address. An IPv6 address has no brackets here, and can have a zone.
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
        if address.contains("://") {
            let why = "Dialer::tcp takes host:port; for a URL use Dialer::url";
            return Err(Error::InvalidConfig(why.into()));
        }
        let why = match parse_host_port(address, "%") {
            Ok((host, port)) => return Ok(Address::Tcp { host, port }),
            Err(_) if address.contains('/') => "a '/'; set the database with Dialer::database",
            Err(why) => why,
        };
        // The text can be a part of a URL by mistake, with a password in it.
        let shown = match address.contains(['@', '/']) {
            true => "address (not shown, it can contain a password)".to_owned(),
            false => format!("address {address:?}"),
        };
        Err(Error::InvalidConfig(format!("{shown}: {why}").into()))
    }

    /// Returns the name that a TLS certificate of this server must have.
    #[cfg(feature = "tls")]
    pub(crate) fn tls_name(&self) -> Option<&str> {
        match self {
            Address::Tcp { host, .. } => {
                let name = host.split('%').next().unwrap_or(host);
                // The dot at the end of a fully qualified name is not a part of certificates.
                Some(name.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(name))
            }
            Address::Unix(_) => None,
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
///
/// An IPv6 address in brackets can have a zone: `[fe80::1%eth0]`. In a URL the separator before
/// the zone is `%25`.
pub(super) fn parse_host_port(
    text: &str,
    zone_separator: &str,
) -> Result<(String, u16), &'static str> {
    let Some(rest) = text.strip_prefix('[') else {
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        if text.contains(',') {
            return Err("more than one server; only one is supported");
        }
        if port.contains(':') {
            return Err(MANY_COLONS);
        }
        if host.chars().any(|c| c.is_whitespace() || c.is_control() || "/?#@[]%".contains(c)) {
            return Err("a character that is not valid in a host");
        }
        let host = if host.is_empty() { "localhost" } else { host };
        return Ok((host.to_owned(), parse_port(port)?));
    };
    let (host, rest) = rest.split_once(']').ok_or("no ']' after an IPv6 address")?;
    let host = parse_ipv6(host, zone_separator).ok_or("no IPv6 address between '[' and ']'")?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, parse_port(port)?)),
        None if rest.is_empty() => Ok((host, DEFAULT_PORT)),
        None => Err("only a port can follow ']'"),
    }
}

/// Returns the address with its zone, if it has one: `fe80::1%eth0`.
fn parse_ipv6(text: &str, zone_separator: &str) -> Option<String> {
    let (address, zone) = match text.split_once(zone_separator) {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    address.parse::<Ipv6Addr>().ok()?;
    match zone {
        None => Some(address.to_owned()),
        Some(zone) => {
            let is_valid = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            let valid = !zone.is_empty() && zone.chars().all(is_valid);
            valid.then(|| format!("{address}%{zone}"))
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_can_have_a_zone() {
        for (text, separator) in [("[fe80::1%eth0]:7000", "%"), ("[fe80::1%25eth0]:7000", "%25")] {
            let parsed = parse_host_port(text, separator).unwrap();
            assert_eq!(parsed, ("fe80::1%eth0".to_owned(), 7000));
        }
        let address = Address::parse("[fe80::1%eth0]").unwrap();
        assert_eq!(address.to_string(), "[fe80::1%eth0]:6379");
        #[cfg(feature = "tls")]
        assert_eq!(address.tls_name(), Some("fe80::1"));
        for text in ["[fe80::1%]", "[fe80::1%a b]", "[%eth0]", "[fe80::1%25eth0/]"] {
            Address::parse(text).unwrap_err();
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_tls_name_has_no_final_dot() {
        let name = |host: &str| {
            let address = Address::Tcp { host: host.to_owned(), port: 1 };
            address.tls_name().map(str::to_owned)
        };
        assert_eq!(name("redis.test.").as_deref(), Some("redis.test"));
        assert_eq!(name("redis.test").as_deref(), Some("redis.test"));
        assert_eq!(name(".").as_deref(), Some("."));
        assert_eq!(Address::Unix("/run/redis.sock".into()).tls_name(), None);
    }
}
