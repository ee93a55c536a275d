//! Fuzzes arguments: the command on the wire has the same arguments, byte for byte.

use redigo::{Args, Value};

use super::pieces::{Pieces, replies};

/// Builds the arguments from the input: one byte for the kind, then up to eight bytes for the value.
pub(crate) fn run(input: &[u8]) {
    let (mut args, mut expected) = (Args::new(), Vec::new());
    let mut rest = input;
    let mut command = String::from("COMMAND");
    while let [kind, tail @ ..] = rest {
        let mut eight = [0; 8];
        let count = tail.len().min(8);
        eight[..count].copy_from_slice(&tail[..count]);
        let number = i64::from_le_bytes(eight);
        rest = &tail[count..];
        match kind % 8 {
            0 => {
                args.push(&number);
                expected.push(number.to_string().into_bytes());
            }
            1 => {
                args.push(&(number as u64));
                expected.push((number as u64).to_string().into_bytes());
            }
            2 => {
                let float = f64::from_bits(number as u64);
                args.push(&float);
                expected.push(read_float(&args, float));
            }
            3 => {
                let float = f32::from_bits(number as u32);
                args.push(&float);
                let text = args.iter().last().unwrap_or_default().to_vec();
                let again: f32 = text_of(&text).parse().expect("a number");
                assert!(again == float || again.is_nan() && float.is_nan(), "{float:?}");
                expected.push(text);
            }
            4 => {
                let flag = number & 1 == 1;
                args.push(&flag);
                expected.push(if flag { b"1".to_vec() } else { b"0".to_vec() });
            }
            5 => {
                // Up to 70,000 bytes long.
                let length = (number as usize) % 70_000;
                let bytes: Vec<u8> = eight.iter().copied().cycle().take(length).collect();
                args.push(&bytes);
                expected.push(bytes);
            }
            6 => {
                command = String::from_utf8_lossy(&eight).into_owned();
                args.push(&None::<i64>);
            }
            _ => {
                let pairs = vec![(&eight[..count], number), (&eight[..], 0)];
                args.push(&pairs);
                for (bytes, number) in pairs {
                    expected.push(bytes.to_vec());
                    expected.push(number.to_string().into_bytes());
                }
            }
        }
    }
    assert_eq!(args.len(), expected.len());
    assert!(args.iter().eq(expected.iter().map(Vec::as_slice)), "as a list");

    let peer = Pieces::new(b"", &[]);
    let mut conn = peer.conn();
    conn.send(&command, &args).expect("no failure before the flush");
    conn.flush().expect("a peer that accepts all bytes");
    let words = [command.into_bytes()].into_iter().chain(expected);
    let expected = Value::Array(words.map(Value::Bulk).collect());
    assert_eq!(replies(&peer.written(), &[]).0, [expected], "as a command");
}

/// Returns the last argument, after checking that it parses to the same number.
fn read_float(args: &Args, float: f64) -> Vec<u8> {
    let text = args.iter().last().unwrap_or_default().to_vec();
    let again: f64 = text_of(&text).parse().expect("a number");
    assert!(again == float || again.is_nan() && float.is_nan(), "{float:?}");
    text
}

fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("digits")
}
