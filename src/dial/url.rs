//! Redis URLs, read strictly.
//!
//! What stands before an `@` may be a password, and with a password that was not encoded the
//! parser is misled about where it ends. So no error repeats any of the URL but its scheme, and
//! the database where no `@` is in the URL at all.

use std::borrow::Cow;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::dialer::{Address, DEFAULT_PORT, Dialer};
use crate::error::{Error, Result};

fn invalid(why: impl Into<Cow<'static, str>>) -> Error {
    Error::InvalidUrl(why.into())
}

/// Reads a URL; see [`Dialer::url`] for the grammar.
pub(crate) fn parse(url: &str) -> Result<Dialer> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(invalid("no scheme; it begins with redis:// or unix://"));
    };
    let scheme = Scheme::parse(scheme, rest)?;
    let Some(rest) = rest.strip_prefix("//") else {
        return Err(invalid("no // behind the scheme"));
    };
    if let Some(odd) = url.chars().find(|c| c.is_control() || c.is_whitespace()) {
        return Err(invalid(format!("{odd:?} must be percent-encoded")));
    }
    if rest.contains('#') {
        return Err(invalid("a '#' in user name, password or path must be percent-encoded (%23)"));
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    if path.contains('@') || query.is_some_and(|query| query.contains('@')) {
        return Err(invalid("a '/' or '?' in user name or password must be percent-encoded"));
    }
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };
    let may_show = credentials.is_none();
    let database = query.map(|query| parse_query(query, may_show)).transpose()?.flatten();
    let mut dialer = match scheme {
        Scheme::Unix => {
            if !host.is_empty() {
                return Err(invalid("a Unix socket's path begins with a third '/'"));
            }
            Dialer::unix(unix_path(path)?).database(database.unwrap_or(0))
        }
        Scheme::Tcp { tls } => {
            let (host, port) = parse_host(host).map_err(invalid)?;
            let in_path = parse_path(path, may_show)?;
            if in_path.is_some() && database.is_some() && in_path != database {
                return Err(invalid("the path and ?db= name different databases"));
            }
            let mut dialer = Dialer::to(Ok(Address::Tcp { host, port }));
            dialer.tls = tls;
            dialer.database(in_path.or(database).unwrap_or(0))
        }
    };
    if let Some(credentials) = credentials {
        dialer = with_credentials(dialer, credentials)?;
    }
    Ok(dialer)
}

/// Reads `host:port` as given to [`Dialer::tcp`].
pub(crate) fn parse_address(address: &str) -> Result<Address> {
    // An address may be a URL by mistake, with a password in it.
    let shown = if address.contains('@') || address.contains('/') { "" } else { address };
    match parse_host(address) {
        Ok((host, port)) => Ok(Address::Tcp { host, port }),
        Err(why) => Err(Error::InvalidConfig(format!("address {shown:?}: {why}").into())),
    }
}

#[derive(Debug, Clone, Copy)]
enum Scheme {
    Tcp { tls: bool },
    Unix,
}

impl Scheme {
    fn parse(scheme: &str, rest: &str) -> Result<Scheme> {
        match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => Ok(Scheme::Tcp { tls: false }),
            "rediss" | "valkeys" => Ok(Scheme::Tcp { tls: true }),
            "unix" | "redis+unix" | "valkey+unix" => Ok(Scheme::Unix),
            // What stands before a ':' alone may be the user of "user:password@host".
            "" => Err(invalid("no scheme; it begins with redis:// or unix://")),
            other if rest.starts_with("//") && other.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                let known = "redis, rediss, valkey, valkeys or unix";
                Err(invalid(format!("unknown scheme {other}; it is {known}")))
            }
            _ => Err(invalid("no scheme; it begins with redis:// or unix://")),
        }
    }
}

/// Splits host and port, with the defaults for either.
fn parse_host(text: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("no ']' behind an IPv6 address")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("no IPv6 address between '[' and ']'");
        }
        match rest.strip_prefix(':') {
            Some(port) => (host, port),
            None if rest.is_empty() => (host, ""),
            None => return Err("something other than a port behind ']'"),
        }
    } else {
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        if port.contains(':') {
            return Err("more than one ':'; an IPv6 address stands in brackets");
        }
        (host, port)
    };
    if host.chars().any(|c| c.is_whitespace() || "/?#@[]%".contains(c)) {
        return Err("a character that no host has");
    }
    let host = if host.is_empty() { "localhost" } else { host };
    let port = match port {
        "" => DEFAULT_PORT,
        port if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().map_err(|_| "the port is not between 1 and 65535")?
        }
        _ => return Err("the port is not a number"),
    };
    match port {
        0 => Err("the port is not between 1 and 65535"),
        port => Ok((host.to_owned(), port)),
    }
}

fn parse_path(path: &str, may_show: bool) -> Result<Option<i64>> {
    match path.strip_prefix('/').unwrap_or(path) {
        "" => Ok(None),
        text => parse_database(text, may_show).map(Some),
    }
}

fn parse_query(query: &str, may_show: bool) -> Result<Option<i64>> {
    let mut database = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("db", text)) if database.is_none() => {
                database = Some(parse_database(text, may_show)?);
            }
            Some(("db", _)) => return Err(invalid("?db= is given twice")),
            _ => return Err(invalid("unknown parameter; there is only ?db=")),
        }
    }
    Ok(database)
}

fn parse_database(text: &str, may_show: bool) -> Result<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(database) if digits => Ok(database.into()),
        _ if may_show => Err(invalid(format!("invalid database: {}", text.escape_debug()))),
        _ => Err(invalid("invalid database: not a number")),
    }
}

fn unix_path(path: &str) -> Result<PathBuf> {
    match path {
        "" | "/" => Err(invalid("no path of a Unix socket")),
        path => Ok(PathBuf::from(decode(path)?)),
    }
}

fn with_credentials(dialer: Dialer, credentials: &str) -> Result<Dialer> {
    match credentials.split_once(':') {
        // As redis-cli has it: a lone word is the password.
        None => Ok(dialer.password(decode(credentials)?)),
        // No password, no AUTH, whoever the user is.
        Some((_, "")) => Ok(dialer),
        Some((user, password)) => Ok(dialer.username(decode(user)?).password(decode(password)?)),
    }
}

fn decode(text: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let broken = bytes.iter().enumerate().any(|(at, &byte)| {
        let hex = |offset: usize| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        byte == b'%' && !(hex(1) && hex(2))
    });
    if broken {
        return Err(invalid("a '%' without two hexadecimal digits behind it"));
    }
    let text = percent_decode_str(text).decode_utf8();
    Ok(text.map_err(|_| invalid("user name, password or path is not UTF-8"))?.into_owned())
}
