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
        ("R072", "redis://foo:bar:baz", "more than one ':'; a database follows a '/'"),
        ("R073", "http://www.google.com", scheme),
        ("R074", "redis://localhost:6379/abc123", "the database is not a number"),
        ("R075", "redis:foo//localhost:6379", opaque),
        ("R076", "valkey://localhost:6379/abc123", "the database is not a number"),
        ("R077", "valkeys://localhost:6379/abc123", "the database is not a number"),
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
        ("redis://[fe80::1%25eth0]:7000/", "[fe80::1%eth0]:7000"),
        ("redis://redis.test.:7000", "redis.test.:7000"),
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
    let space_at_end = "white space at the end; remove it";
    let unknown = "unknown scheme tcp; use redis, rediss, valkey, valkeys or unix";
    let many_colons = "more than one ':'; put an IPv6 address in brackets";
    let port_range = "the port is not between 1 and 65535";
    let parameter = "unknown parameter; only ?db= is supported";
    let no_host = "a character that is not valid in a host";
    let no_number = "the database is not a number";
    let range =
        |text: &str| format!("invalid database {text:?}; it must be a number from 0 to 4294967295");
    let fragment = "a '#' in user name, password or path must be percent-encoded (%23)";
    let conflict = "the path and ?db= name different databases";
    let rows = [
        ("", "it is empty"),
        ("://localhost", no_scheme),
        ("localhost:6379", no_scheme),
        ("localhost:6379/1", no_scheme),
        ("127.0.0.1:6379", no_scheme),
        ("TCP://localhost", unknown),
        ("redis", no_scheme),
        ("redis:", "no // after the scheme"),
        ("redis:/localhost", "no // after the scheme"),
        (" redis://localhost", "white space at the beginning; remove it"),
        ("\"redis://localhost\"", "a quotation mark at the beginning; remove it"),
        ("'redis://localhost'", "a quotation mark at the beginning; remove it"),
        ("redis://localhost ", space_at_end),
        ("redis://localhost\n", space_at_end),
        ("redis://localhost\r", space_at_end),
        ("redis://localhost\0", space_at_end),
        ("redis://local\thost", "'\\t' must be percent-encoded"),
        ("redis-sentinel://h", "unknown scheme redis-sentinel; Sentinel is not supported"),
        ("redis+sentinel://h", "unknown scheme redis+sentinel; Sentinel is not supported"),
        ("redis-cluster://h", "unknown scheme redis-cluster; Cluster is not supported"),
        ("redis-socket:///run/redis.sock", "unknown scheme redis-socket; use unix://"),
        ("redis+socket:///run/redis.sock", "unknown scheme redis+socket; use unix://"),
        ("redis+tls://h", "unknown scheme redis+tls; use rediss://"),
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
        ("redis://localhost:6379:2", "more than one ':'; a database follows a '/'"),
        ("redis://a:1,b:2", "more than one server; only one is supported"),
        ("redis://h/-1", &range("-1")),
        ("redis://h/+1", &range("+1")),
        ("redis://h/4294967296", &range("4294967296")),
        ("redis://h?db=", &range("")),
        ("redis://h/1/", "nothing can follow the database"),
        ("redis://h/abc/3", no_number),
        ("redis://h//", no_number),
        ("redis://user@h/-1", no_number),
        ("redis://user@h?db=abc", no_number),
        ("redis://h?db=x", no_number),
        ("redis://[::1%25]", "no IPv6 address between '[' and ']'"),
        ("redis://[fe80::1%eth0]", "no IPv6 address between '[' and ']'"),
        ("unix:///run/redis%00.sock", "the path of the Unix socket has a NUL byte"),
        ("redis://h?db=1&db=1", "?db= is given twice"),
        ("redis://h?db", parameter),
        ("redis://h?DB=1", parameter),
        ("redis://h?database=1", parameter),
        (
            "redis://h?db=1&timeout=5",
            "unknown parameter timeout; set Dialer::connect_timeout or Dialer::read_timeout",
        ),
        ("redis://h?ssl=true", "unknown parameter ssl; use rediss://"),
        ("redis://h?protocol=3", "unknown parameter protocol; it is not supported"),
        (
            "redis://h?password=hunter2",
            "unknown parameter password; write redis://user:password@host",
        ),
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

/// Without an `@` a user name and a password can end up in any part of the URL.
#[test]
fn a_password_in_the_wrong_place_is_not_shown() {
    for url in [
        "redis://corp/ada:hunter2",
        "redis://corp/hunter2",
        "redis://corp?hunter2",
        "redis://corp?hunter2=1",
        "redis://corp?db=hunter2",
        "redis://ada:hunter2/1",
        "redis:ada:hunter2",
        "redis://corp:6379:hunter2",
        "redis://corp,hunter2",
        "unix://hunter2",
    ] {
        assert!(!refused(url).contains("hunter2"), "{url}: {}", refused(url));
        let address = url.trim_start_matches("redis://");
        let error = Dialer::tcp(address).dial().unwrap_err();
        let shows = error.to_string().contains("hunter2");
        assert!(!shows || !address.contains(['/', '@']), "{address}: {error}");
    }
}

#[test]
fn a_url_in_the_place_of_an_address_is_named() {
    let error = Dialer::tcp("redis://localhost:6379").dial().unwrap_err().to_string();
    let expected = "Dialer::tcp takes host:port; for a URL use Dialer::url";
    assert_eq!(error, format!("invalid configuration: {expected}"));
    let error = Dialer::tcp("127.0.0.1:7101/2").dial().unwrap_err().to_string();
    assert!(error.ends_with("a '/'; set the database with Dialer::database"), "{error}");
    assert!(!error.contains("7101"), "{error}");
}

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
