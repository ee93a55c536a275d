//! A strict parser of Redis URLs.
//!
//! Anything before an `@` can be a password, and a password that is not percent-encoded hides its
//! own end. An error therefore repeats only the scheme, the names of known parameters, and a database
//! of digits if the URL has no `@`.

use std::borrow::Cow;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::address::{Address, MANY_COLONS, parse_host_port};
use crate::error::{Error, Result};

/// The parts of a URL.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct UrlParts {
    pub(super) address: Address,
    pub(super) tls: bool,
    pub(super) database: i64,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// Parses a URL. [`Dialer::url`](crate::Dialer::url) documents the grammar.
pub(super) fn parse(url: &str) -> Result<UrlParts> {
    check_ends(url)?;
    let Some((scheme, rest)) = url.split_once(':') else { return Err(no_scheme()) };
    let scheme = Scheme::parse(scheme, rest)?;
    let Some(rest) = rest.strip_prefix("//") else {
        return Err(invalid("no // after the scheme"));
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
    let in_query = query.map(|query| parse_query(query, may_show)).transpose()?.flatten();
    let (address, tls, database) = match scheme {
        Scheme::Unix if !host.is_empty() => {
            return Err(invalid("the path of a Unix socket begins with a third '/'"));
        }
        Scheme::Unix => (Address::Unix(unix_path(path)?), false, in_query),
        Scheme::Tcp { tls } => {
            let (host, port) = parse_host_port(host, "%25").map_err(|why| match why {
                MANY_COLONS if is_ipv6(host) => invalid(why),
                MANY_COLONS => invalid("more than one ':'; a database follows a '/'"),
                why => invalid(why),
            })?;
            let in_path = parse_path(path, may_show)?;
            if in_path.is_some() && in_query.is_some() && in_path != in_query {
                return Err(invalid("the path and ?db= name different databases"));
            }
            (Address::Tcp { host, port }, tls, in_path.or(in_query))
        }
    };
    let (username, password) = credentials.map_or(Ok((None, None)), parse_credentials)?;
    Ok(UrlParts { address, tls, database: database.unwrap_or(0), username, password })
}

fn invalid(why: impl Into<Cow<'static, str>>) -> Error {
    Error::InvalidUrl(why.into())
}

/// Refuses an empty URL, and white space or quotation marks around it.
fn check_ends(url: &str) -> Result<()> {
    let is_space = |c: char| c.is_whitespace() || c.is_control();
    let why = match (url.chars().next(), url.chars().next_back()) {
        (None, _) | (_, None) => "it is empty",
        (Some(first), _) if is_space(first) => "white space at the beginning; remove it",
        (Some('"' | '\''), _) => "a quotation mark at the beginning; remove it",
        (_, Some(last)) if is_space(last) => "white space at the end; remove it",
        _ => return Ok(()),
    };
    Err(invalid(why))
}

/// Returns true for an IPv6 address without brackets.
fn is_ipv6(host: &str) -> bool {
    host.parse::<std::net::Ipv6Addr>().is_ok()
}

fn no_scheme() -> Error {
    invalid("no scheme; a Redis URL begins with redis:// or unix://")
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
            other if rest.starts_with("//") && is_scheme(other) => {
                let hint = match other {
                    "redis+tls" | "redis+ssl" | "redis-tls" | "valkey+tls" => "use rediss://",
                    "redis+socket" | "redis-socket" | "valkey+socket" => "use unix://",
                    other if other.contains("sentinel") => "Sentinel is not supported",
                    other if other.contains("cluster") => "Cluster is not supported",
                    _ => "use redis, rediss, valkey, valkeys or unix",
                };
                Err(invalid(format!("unknown scheme {other}; {hint}")))
            }
            // The text before the ':' can be the user name of "user:password@host".
            _ => Err(no_scheme()),
        }
    }
}

/// Returns true for the syntax of a scheme (RFC 3986).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
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
            Some((name, _)) => return Err(unknown_parameter(name)),
            None => return Err(unknown_parameter("")),
        }
    }
    Ok(database)
}

/// Returns an error that shows the name only if it is a known one: it can be a part of a password.
fn unknown_parameter(name: &str) -> Error {
    let hint = match name {
        "timeout" | "connect_timeout" => "set Dialer::connect_timeout or Dialer::read_timeout",
        "read_timeout" | "socket_timeout" => "set Dialer::read_timeout",
        "write_timeout" => "set Dialer::write_timeout",
        "ssl" | "tls" => "use rediss://",
        "password" | "username" | "user" => "write redis://user:password@host",
        "client_name" => "set Dialer::client_name",
        "protocol" => "it is not supported",
        _ => return invalid("unknown parameter; only ?db= is supported"),
    };
    invalid(format!("unknown parameter {name}; {hint}"))
}

fn parse_database(text: &str, may_show: bool) -> Result<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let (Ok(database), true) = (text.parse::<u32>(), digits) {
        return Ok(database.into());
    }
    let is_number = text.strip_suffix('/').is_some_and(|text| text.parse::<u32>().is_ok());
    Err(if is_number {
        invalid("nothing can follow the database")
    } else if may_show && text.bytes().all(|byte| b"+-0123456789".contains(&byte)) {
        invalid(format!("invalid database {text:?}; it must be a number from 0 to {}", u32::MAX))
    } else {
        // Other text can be a password: redis://host/user:password.
        invalid("the database is not a number")
    })
}

fn unix_path(path: &str) -> Result<PathBuf> {
    match path {
        "" | "/" => Err(invalid("the path of the Unix socket is missing")),
        path => {
            let path = decode(path)?;
            if path.contains('\0') {
                return Err(invalid("the path of the Unix socket has a NUL byte"));
            }
            Ok(PathBuf::from(path))
        }
    }
}

/// User name and password.
fn parse_credentials(credentials: &str) -> Result<(Option<String>, Option<String>)> {
    match credentials.split_once(':') {
        // Like redis-cli: a single word is the password.
        None => Ok((None, non_empty(decode(credentials)?))),
        // Without a password no AUTH is sent, and the user name has no effect.
        Some((_, "")) => Ok((None, None)),
        Some((user, password)) => Ok((non_empty(decode(user)?), non_empty(decode(password)?))),
    }
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn decode(text: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let broken = bytes.iter().enumerate().any(|(at, &byte)| {
        let hex = |offset: usize| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        byte == b'%' && !(hex(1) && hex(2))
    });
    if broken {
        return Err(invalid("a '%' must be followed by two hexadecimal digits"));
    }
    let text = percent_decode_str(text).decode_utf8();
    Ok(text.map_err(|_| invalid("user name, password or path is not UTF-8"))?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_parsed_into_its_parts() {
        let parts = parse("rediss://user:se%40cret@redis.internal:6380/3").unwrap();
        let expected = UrlParts {
            address: Address::Tcp { host: "redis.internal".into(), port: 6380 },
            tls: true,
            database: 3,
            username: Some("user".into()),
            password: Some("se@cret".into()),
        };
        assert_eq!(parts, expected);
    }
}
