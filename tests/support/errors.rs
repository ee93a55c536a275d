//! What an error tells, and that it stays.

use redigo::{Conn, Error, Result};

/// The connection has ended, with this error, and tells so again and again.
#[track_caller]
pub(crate) fn assert_ended(conn: &mut Conn, error: &Error) {
    let text = error.to_string();
    assert_eq!(conn.err().map(Error::to_string), Some(text.clone()));
    assert_eq!(conn.call("PING", ()).unwrap_err().to_string(), text);
    assert!(!conn.is_alive());
}

/// Everything that can be read of a result, as far down as it goes.
pub(crate) fn shown<T: std::fmt::Debug>(result: &Result<T>) -> String {
    let mut text = format!("{result:?} {result:#?}");
    let mut next = result.as_ref().err().map(|error| error as &dyn std::error::Error);
    while let Some(error) = next {
        text.push_str(&format!(" {error} {error:?}"));
        next = error.source();
    }
    text
}
