//! Redis URLs: the grammar, the errors, and that no text shows the password.
//!
//! Rows with an R number are those of redigo's TestDialURL and similar tests.

use redigo::{Dialer, Error};

use crate::support::errors::shown;
use crate::support::streams::{Recorder, command};

/// Returns the dialed address and the bytes sent.
#[track_caller]
fn dialed(url: &str) -> (String, String) {
    let recorder = Recorder::answering("+OK\r\n".repeat(3));
    let dialer = Dialer::url(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    recorder.behind(dialer).dial().unwrap_or_else(|error| panic!("{url}: {error}"));
    let address = recorder.dialed();
    assert_eq!(address.len(), 1, "{url}");
    (address.concat(), recorder.written())
}

/// Returns the error of the URL.
#[track_caller]
fn refused(url: &str) -> String {
    match Dialer::url(url) {
        Err(error @ Error::InvalidUrl(_)) => error.to_string(),
        other => panic!("{url}: {other:?}"),
    }
}

// Redigo's tables

#[test]
fn r070_to_r079_invalid_urls_are_refused() {
    let scheme = "unknown scheme http; use redis, rediss, valkey, valkeys or unix";
    let opaque = "no // after the scheme";
    let rows = [
        ("R070", "localhost", "no scheme; a Redis URL begins with redis:// or unix://"),
        ("R071", "redis://weird url", "' ' must be percent-encoded"),
        ("R072", "redis://foo:bar:baz", "more than one ':'; put an IPv6 address in brackets"),
        ("R073", "http://www.google.com", scheme),
        ("R074", "redis://localhost:6379/abc123", "invalid database: abc123"),
        ("R075", "redis:foo//localhost:6379", opaque),
        ("R076", "valkey://localhost:6379/abc123", "invalid database: abc123"),
        ("R077", "valkeys://localhost:6379/abc123", "invalid database: abc123"),
        ("R078", "valkey:foo//localhost:6379", opaque),
        ("R079", "valkeys:foo//localhost:6379", opaque),
    ];
    for (row, url, why) in rows {
        assert_eq!(refused(url), format!("invalid Redis URL: {why}"), "{row}");
    }
}

#[test]
fn r080_r081_host_and_port_have_defaults() {
    let nothing = String::new();
    assert_eq!(dialed("redis://localhost"), ("localhost:6379".into(), nothing.clone()), "R080");
    assert_eq!(dialed("redis://:6379"), ("localhost:6379".into(), nothing), "R081");
}

/// The plain bytes also prove R095: `redis://` does not use TLS.
#[test]
fn r082_to_r095_a_url_determines_the_set_up() {
    let auth = "*2\r\n$4\r\nAUTH\r\n$6\r\nabc123\r\n";
    let auth_and_select = "*2\r\n$4\r\nAUTH\r\n$6\r\nabc123\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n";
    let user = "*3\r\n$4\r\nAUTH\r\n$4\r\nuser\r\n$8\r\npassword\r\n";
    let rows = [
        ("R082", "redis://:abc123@localhost", auth),
        ("R083", "redis://abc123@localhost", auth),
        ("R084", "redis://:abc123@localhost/1", auth_and_select),
        ("R085", "redis://abc123@localhost/1", auth_and_select),
        ("R086", "redis://:abc123@/0", auth),
        ("R087", "redis://abc123@/0", auth),
        ("R088", "redis://:abc123@/1", auth_and_select),
        ("R089", "redis://abc123@/1", auth_and_select),
        ("R090", "redis://user:password@localhost", user),
        ("R091", "redis://x:@localhost", ""),
        ("R092", "redis://localhost/3", "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"),
        ("R093", "redis://localhost/99", "*2\r\n$6\r\nSELECT\r\n$2\r\n99\r\n"),
        ("R094", "redis://localhost/", ""),
    ];
    for (row, url, written) in rows {
        assert_eq!(dialed(url), ("localhost:6379".into(), written.into()), "{row}");
    }
}

// The whole grammar

#[test]
fn a_url_gives_the_address() {
    let rows = [
        ("redis://", "localhost:6379"),
        ("redis:///", "localhost:6379"),
        ("redis://?", "localhost:6379"),
        ("REDIS://redis.internal:6380", "redis.internal:6380"),
        ("Valkey://redis.internal:6380/", "redis.internal:6380"),
        ("redis://redis.internal:", "redis.internal:6379"),
        ("redis://redis.internal:/", "redis.internal:6379"),
        ("redis://:7000", "localhost:7000"),
        ("redis://10.0.0.1:1", "10.0.0.1:1"),
        ("redis://10.0.0.1:65535", "10.0.0.1:65535"),
        ("redis://[::1]", "[::1]:6379"),
        ("redis://[::1]:", "[::1]:6379"),
        ("redis://[2001:db8::7]:7000", "[2001:db8::7]:7000"),
        ("redis://under_score-and.dots:1", "under_score-and.dots:1"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        ("redis+unix:///run/redis.sock", "/run/redis.sock"),
        ("valkey+unix:///run/redis.sock?", "/run/redis.sock"),
        ("UNIX:///run/my%20redis%40home%3f.sock", "/run/my redis@home?.sock"),
        ("unix:///run/r\u{e9}dis.sock", "/run/r\u{e9}dis.sock"),
    ];
    for (url, address) in rows {
        assert_eq!(dialed(url), (address.into(), String::new()), "{url}");
    }
}

#[test]
fn a_url_gives_the_database() {
    let rows = [
        ("redis://h/0", ""),
        ("redis://h?db=0", ""),
        ("redis://h/7", "7"),
        ("redis://h/07", "7"),
        ("redis://[::1]:7000/7", "7"),
        ("redis://h?db=7", "7"),
        ("redis://h/?db=7", "7"),
        ("redis://h/?db=7&", "7"),
        ("redis://h/7?db=7", "7"),
        ("redis://h/4294967295", "4294967295"),
        ("unix:///run/redis.sock?db=7", "7"),
    ];
    for (url, database) in rows {
        let select =
            if database.is_empty() { String::new() } else { command(&["SELECT", database]) };
        assert_eq!(dialed(url).1, select, "{url}");
    }
}

#[test]
fn a_url_gives_the_credentials() {
    let rows: [(&str, &[&str]); 16] = [
        ("redis://@h", &[]),
        ("redis://:@h", &[]),
        ("redis://user:@h", &[]),
        ("redis://:secret@h", &["secret"]),
        ("redis://secret@h", &["secret"]),
        ("redis://user:secret@h", &["user", "secret"]),
        ("redis://user:secret@[::1]", &["user", "secret"]),
        ("redis://us%40er:se%2Fcr%3Aet%25%3f%23@h", &["us@er", "se/cr:et%?#"]),
        ("redis://:se%20cr%0D%0Aet%00@h", &["se cr\r\net\0"]),
        ("redis://se%3Acret@h", &["se:cret"]),
        ("redis://:se:cr:et@h", &["se:cr:et"]),
        ("redis://:se@cr@et@h", &["se@cr@et"]),
        ("redis://:gehe\u{ef}m@h", &["gehe\u{ef}m"]),
        ("redis://:gehe%C3%AFm@h", &["gehe\u{ef}m"]),
        ("unix://user:secret@/run/redis.sock", &["user", "secret"]),
        ("unix://secret@/run/redis.sock", &["secret"]),
    ];
    for (url, args) in rows {
        let auth = match args {
            [] => String::new(),
            args => command(&[&["AUTH"], args].concat()),
        };
        assert_eq!(dialed(url).1, auth, "{url}");
    }
}

#[test]
fn later_options_override_the_url() {
    let dialer = Dialer::url("redis://user:secret@h/1").unwrap();
    let recorder = Recorder::answering("+OK\r\n".repeat(3));
    recorder.behind(dialer.client_name("me").database(2).password("other")).dial().unwrap();
    let expected = [
        command(&["AUTH", "user", "other"]),
        command(&["CLIENT", "SETNAME", "me"]),
        command(&["SELECT", "2"]),
    ];
    assert_eq!(recorder.written(), expected.concat());
}

#[test]
fn the_error_of_an_invalid_url_says_why() {
    let no_scheme = "no scheme; a Redis URL begins with redis:// or unix://";
    let unknown = "unknown scheme tcp; use redis, rediss, valkey, valkeys or unix";
    let many_colons = "more than one ':'; put an IPv6 address in brackets";
    let port_range = "the port is not between 1 and 65535";
    let parameter = "unknown parameter; only ?db= is supported";
    let no_host = "a character that is not valid in a host";
    let fragment = "a '#' in user name, password or path must be percent-encoded (%23)";
    let conflict = "the path and ?db= name different databases";
    let rows = [
        ("", no_scheme),
        ("://localhost", no_scheme),
        ("localhost:6379", no_scheme),
        ("localhost:6379/1", no_scheme),
        ("127.0.0.1:6379", no_scheme),
        ("TCP://localhost", unknown),
        ("redis", no_scheme),
        ("redis:", "no // after the scheme"),
        ("redis:/localhost", "no // after the scheme"),
        (" redis://localhost", no_scheme),
        ("redis://localhost ", "' ' must be percent-encoded"),
        ("redis://localhost\n", "'\\n' must be percent-encoded"),
        ("redis://local\thost", "'\\t' must be percent-encoded"),
        ("redis://localhost\0", "'\\0' must be percent-encoded"),
        ("redis://localhost#1", fragment),
        ("redis://localhost/1#", fragment),
        ("redis://localhost:port", "the port is not a number"),
        ("redis://localhost:+1", "the port is not a number"),
        ("redis://localhost:0", port_range),
        ("redis://localhost:65536", port_range),
        ("redis://::1", many_colons),
        ("redis://::1/1", many_colons),
        ("redis://[::1", "no ']' after an IPv6 address"),
        ("redis://[::1]6379", "only a port can follow ']'"),
        ("redis://[localhost]", "no IPv6 address between '[' and ']'"),
        ("redis://local%68ost", no_host),
        ("redis://h/-1", "invalid database: -1"),
        ("redis://h/+1", "invalid database: +1"),
        ("redis://h/1/", "invalid database: 1/"),
        ("redis://h/abc/3", "invalid database: abc/3"),
        ("redis://h//", "invalid database: /"),
        ("redis://h/4294967296", "invalid database: 4294967296"),
        ("redis://user@h/abc", "invalid database: not a number"),
        ("redis://user@h?db=abc", "invalid database: not a number"),
        ("redis://h?db=", "invalid database: "),
        ("redis://h?db=x", "invalid database: x"),
        ("redis://h?db=1&db=1", "?db= is given twice"),
        ("redis://h?db", parameter),
        ("redis://h?DB=1", parameter),
        ("redis://h?database=1", parameter),
        ("redis://h?db=1&timeout=5", parameter),
        ("redis://h/1?db=2", conflict),
        ("redis://h/0?db=2", conflict),
        ("redis://:s%zz@h", "a '%' must be followed by two hexadecimal digits"),
        ("redis://:s%4@h", "a '%' must be followed by two hexadecimal digits"),
        ("redis://:s%ff@h", "user name, password or path is not UTF-8"),
        ("redis://:a/b@h", "a '/' or '?' in user name or password must be percent-encoded"),
        ("redis://:a?b@h", "a '/' or '?' in user name or password must be percent-encoded"),
        ("unix://", "the path of the Unix socket is missing"),
        ("unix:///", "the path of the Unix socket is missing"),
        ("unix://run/redis.sock", "the path of a Unix socket begins with a third '/'"),
        (
            "unix://localhost:6379/run/redis.sock",
            "the path of a Unix socket begins with a third '/'",
        ),
        ("unix:///run/redis.sock%", "a '%' must be followed by two hexadecimal digits"),
    ];
    for (url, why) in rows {
        assert_eq!(refused(url), format!("invalid Redis URL: {why}"), "{url:?}");
    }
}

// Secrets

#[test]
fn debug_of_a_dialer_and_its_conn_hides_the_password() {
    let recorder = Recorder::answering("+OK\r\n");
    let dialer = Dialer::url("redis://ursula:hunter2@h").unwrap();
    let conn = recorder.behind(dialer.clone()).dial();
    let text = format!("{} {dialer:?}", shown(&conn));
    assert!(conn.is_ok() && !text.contains("hunter2") && !text.contains("ursula"), "{text}");
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_tls_url_without_the_feature_fails() {
    for url in ["rediss://h", "valkeys://h", "REDISS://:secret@h/1"] {
        let recorder = Recorder::answering("+OK\r\n".repeat(3));
        let error = recorder.behind(Dialer::url(url).unwrap()).dial().unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{url}: {error:?}");
        assert_eq!(error.to_string(), "not supported: TLS, without the crate's feature `tls`");
        assert!(recorder.dialed().is_empty() && recorder.written().is_empty(), "{url}");
    }
}
