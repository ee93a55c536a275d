//! Sizes, texts, chains and predicates.

use super::*;

#[test]
fn error_stays_small() {
    // Every call returns a Result<Value>, and a Value has 32 bytes.
    assert!(size_of::<Error>() <= 32, "Error is {} bytes", size_of::<Error>());
}

#[test]
fn error_is_send_sync_and_clone() {
    fn check<T: Send + Sync + Clone + StdError + 'static>() {}
    check::<Error>();
}

#[test]
fn only_connection_errors_are_fatal() {
    assert!(io_error(io::ErrorKind::BrokenPipe).is_fatal());
    assert!(Error::from(TimeoutKind::Read).is_fatal());
    assert!(Error::Canceled.is_fatal());
    assert!(Error::from(ProtocolError::new("x")).is_fatal());
    assert!(!Error::from(ServerError::new("ERR no")).is_fatal());
    assert!(!Error::Nil.is_fatal());
    assert!(!Error::PoolClosed.is_fatal());
}

fn io_error(kind: io::ErrorKind) -> Error {
    io::Error::from(kind).into()
}

#[test]
fn a_dial_error_names_its_address_and_its_step() {
    let at = "127.0.0.1:6379";
    let lost = io_error(io::ErrorKind::UnexpectedEof).in_step(DialStep::Auth, "AUTH").at(&at);
    assert!(lost.to_string().starts_with("127.0.0.1:6379: AUTH: "), "{lost}");
    assert!(matches!(&lost, Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof));

    let refused = Error::from(ServerError::new("ERR DB index is out of range"));
    let refused = refused.in_step(DialStep::Select, "SELECT 99").at(&at);
    let expected = "127.0.0.1:6379: SELECT 99 failed: ERR DB index is out of range";
    assert_eq!(refused.to_string(), expected);
    assert_eq!(refused.as_server().and_then(ServerError::step), Some(DialStep::Select));

    let locked = Error::from(ServerError::new("NOAUTH Authentication required."));
    let locked = locked.in_step(DialStep::Ping, "PING").at(&at);
    assert_eq!(
        locked.to_string(),
        "127.0.0.1:6379: the server requires a password and the dialer has none \
         (PING: NOAUTH Authentication required.)"
    );

    let late = Error::from(TimeoutKind::Read).in_step(DialStep::Auth, "AUTH").at(&at);
    assert_eq!(late.to_string(), "127.0.0.1:6379: timed out waiting for the reply to AUTH");

    let garbage = Error::from(ProtocolError::new("line too long"));
    let garbage = garbage.in_step(DialStep::Auth, "AUTH").at(&at).to_string();
    let expected = "127.0.0.1:6379: protocol error in the reply to AUTH: line too long";
    assert!(garbage.starts_with(expected), "{garbage}");
}

#[test]
fn an_error_shows_its_source_or_returns_it() {
    fn chain(error: &dyn StdError) -> Vec<String> {
        let mut texts = vec![error.to_string()];
        texts.extend(error.source().map(chain).unwrap_or_default());
        texts
    }
    let refused = || io::Error::from_raw_os_error(111);
    let placed = Error::from(refused()).in_step(DialStep::Auth, "AUTH").at(&"h:1");
    assert_eq!(chain(&placed), [format!("h:1: AUTH: {}", refused())]);
    let explained = Error::io_explained("no answer", Arc::new(refused())).at(&"h:1");
    assert_eq!(chain(&explained), ["h:1: no answer".to_owned(), refused().to_string()]);

    let tls = |kind| Error::from(TlsError::new(kind).caused_by(refused()));
    for error in [placed, tls(TlsErrorKind::Other), tls(TlsErrorKind::Expired)] {
        let texts = chain(&error);
        for (at, text) in texts.iter().enumerate().skip(1) {
            assert!(!texts[at - 1].contains(text), "{texts:?}");
        }
    }
}

#[test]
fn debug_begins_with_the_text_of_display() {
    let report = "a report needs a pool";
    let errors = [
        io_error(io::ErrorKind::ConnectionRefused).at(&"localhost:6379"),
        TimeoutKind::Read.into(),
        ServerError::new("ERR no").into(),
        ProtocolError::new("x").into(),
        TlsError::new(TlsErrorKind::Expired).into(),
        ConvertError::new("an integer", "a list").into(),
        Error::Nil,
        Error::TransactionAborted { attempts: 2 },
        Error::InvalidUrl("x".into()),
        Error::other(report),
    ];
    for error in errors {
        let debug = format!("{error:?}");
        assert!(debug.starts_with(&format!("{error} [")), "{debug}");
    }
    let refused = io_error(io::ErrorKind::ConnectionRefused).at(&"localhost:6379");
    assert_eq!(
        format!("{refused:?}"),
        "localhost:6379: connection refused [Io(ConnectionRefused)]"
    );
}

#[test]
fn unavailable_and_closed_are_told_apart() {
    let server = |text: &str| Error::from(ServerError::new(text));
    for error in [
        io_error(io::ErrorKind::ConnectionRefused),
        TimeoutKind::Connect.into(),
        TimeoutKind::PoolWait.into(),
        server("LOADING Redis is loading the dataset in memory"),
        server("ERR max number of clients reached"),
        TlsError::new(TlsErrorKind::Closed).into(),
    ] {
        assert!(error.is_unavailable() && !error.is_closed(), "{error:?}");
    }
    for error in [
        Error::Nil,
        Error::Canceled,
        server("ERR no"),
        server("WRONGPASS no"),
        TlsError::new(TlsErrorKind::Expired).into(),
        Error::InvalidConfig("x".into()),
    ] {
        assert!(!error.is_unavailable() && !error.is_closed(), "{error:?}");
    }
    for error in [Error::PoolClosed, Error::ConnClosed] {
        assert!(!error.is_unavailable() && error.is_closed(), "{error:?}");
    }
}

#[test]
fn a_conversion_error_shows_the_path() {
    let error = ConvertError::new("an integer", "a list").in_element(2).in_element(7);
    assert_eq!(error.to_string(), "expected an integer, found a list at element [7][2]");
}
