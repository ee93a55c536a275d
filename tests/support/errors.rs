//! Checks of errors.

use redigo::{Conn, Error, Result};

/// Asserts that the connection has ended and that every call returns this error.
#[track_caller]
pub(crate) fn assert_ended(conn: &mut Conn, error: &Error) {
    let text = error.to_string();
    assert_eq!(conn.err().map(Error::to_string), Some(text.clone()));
    assert_eq!(conn.call("PING", ()).unwrap_err().to_string(), text);
    assert!(!conn.is_alive());
}

/// Returns all text of a result: `Debug`, and `Display` of the error and its sources.
pub(crate) fn shown<T: std::fmt::Debug>(result: &Result<T>) -> String {
    let mut text = format!("{result:?} {result:#?}");
    let mut next = result.as_ref().err().map(|error| error as &dyn std::error::Error);
    while let Some(error) = next {
        text.push_str(&format!(" {error} {error:?}"));
        next = error.source();
    }
    text
}
