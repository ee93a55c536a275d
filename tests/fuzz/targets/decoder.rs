//! Any bytes from a server: no panic, little memory, the same replies in whatever pieces they come,
//! and replies that survive being written and read again.

use redigo::Value;

use super::pieces::replies;
use crate::memory::peak_of;

/// What a connection takes for what is announced: lists within lists, a string, its buffers.
const AT_ONCE: usize = 8 << 20;
/// How much longer a reply may be in memory than on the wire: `:1\r\n` becomes a whole [`Value`], in
/// a list that doubles when it is full.
const TIMES: usize = 64;

pub(crate) fn run(input: &[u8]) {
    let ((whole, end), taken) = peak_of(|| replies(input, &[]));
    assert!(taken <= AT_ONCE + TIMES * input.len(), "{taken} bytes for {}", input.len());

    for sizes in [&[1][..], &[2, 1, 3], &[7], &[16 * 1024, 1]] {
        let (pieces, end_of_pieces) = replies(input, sizes);
        assert_eq!(pieces, whole, "in pieces of {sizes:?}");
        assert_eq!(end_of_pieces, end, "in pieces of {sizes:?}");
    }

    let mut again = Vec::new();
    whole.iter().for_each(|reply| encode(reply, &mut again));
    assert_eq!(replies(&again, &[]).0, whole, "written and read again");
}

/// As a server would.
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
