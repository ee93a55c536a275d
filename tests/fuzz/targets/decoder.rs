//! Fuzzes the bytes from a server: no panic, bounded memory, the same replies for pieces of any size,
//! also when they are converted while they are received, and the same replies after encoding them.

use std::fmt::Debug;

use redigo::{FromValue, Value};

use super::pieces::{Pieces, replies};
use crate::memory::peak_of;

/// The memory that a connection can reserve for announced lengths, in bytes: nested lists, a string,
/// its buffers.
const AT_ONCE: usize = 8 << 20;
/// The largest ratio of a reply's size in memory to its size on the wire: `:1\r\n` becomes a whole
/// [`Value`], in a list that doubles when it is full.
const TIMES: usize = 64;

pub(crate) fn run(input: &[u8]) {
    let ((whole, end), taken) = peak_of(|| replies(input, &[]));
    assert!(taken <= AT_ONCE + TIMES * input.len(), "{taken} bytes for {}", input.len());

    for sizes in [&[1][..], &[2, 1, 3], &[7], &[16 * 1024, 1]] {
        let (pieces, end_of_pieces) = replies(input, sizes);
        assert_eq!(pieces, whole, "in pieces of {sizes:?}");
        assert_eq!(end_of_pieces, end, "in pieces of {sizes:?}");
        converted::<String>(input, sizes, &whole);
        converted::<Vec<Option<Vec<u8>>>>(input, sizes, &whole);
        converted::<Vec<(i64, f64)>>(input, sizes, &whole);
    }

    let mut again = Vec::new();
    whole.iter().for_each(|reply| encode(reply, &mut again));
    assert_eq!(replies(&again, &[]).0, whole, "encoded and decoded again");
}

/// Queries one type until the connection ends, and compares with the conversion of the whole replies.
fn converted<T: FromValue + Debug>(input: &[u8], sizes: &[usize], whole: &[Value]) {
    let mut conn = Pieces::new(input, sizes).conn();
    for reply in whole {
        let expected = reply.clone().convert::<T>();
        let got = conn.query::<T>("GET", "key");
        assert_eq!(format!("{got:?}"), format!("{expected:?}"), "in pieces of {sizes:?}");
    }
    assert!(conn.query::<T>("GET", "key").unwrap_err().is_fatal(), "no reply is left");
}

/// Encodes a reply like a server.
fn encode(reply: &Value, out: &mut Vec<u8>) {
    match reply {
        Value::Nil => out.extend_from_slice(b"$-1\r\n"),
        Value::Int(number) => out.extend_from_slice(format!(":{number}\r\n").as_bytes()),
        Value::Simple(text) => {
            out.push(b'+');
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Value::Bulk(bytes) => {
            out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
        Value::Array(items) => {
            out.extend_from_slice(format!("*{}\r\n", items.len()).as_bytes());
            items.iter().for_each(|item| encode(item, out));
        }
        Value::Error(error) => {
            out.extend_from_slice(format!("-{}\r\n", error.message()).as_bytes());
        }
        other => panic!("a reply of an unknown kind: {other:?}"),
    }
}
