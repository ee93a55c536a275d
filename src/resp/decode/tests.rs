//! Complete replies, replies in pieces, and bytes that are not a reply.

use super::*;

fn whole(input: &[u8]) -> Result<Value, ProtocolError> {
    let progress = Decoder::new(Limits::default()).decode(input)?;
    assert_eq!(progress.consumed, input.len());
    Ok(progress.reply.expect("a whole reply"))
}

/// Feeds the input as a socket could: `size` bytes at a time after the bytes not yet consumed.
fn in_pieces(input: &[u8], size: usize) -> Result<Vec<Value>, ProtocolError> {
    let mut decoder = Decoder::new(Limits::default());
    let (mut kept, mut replies) = (Vec::new(), Vec::new());
    for piece in input.chunks(size) {
        kept.extend_from_slice(piece);
        loop {
            let progress = decoder.decode(&kept)?;
            kept.drain(..progress.consumed);
            match progress.reply {
                Some(reply) => replies.push(reply),
                None => break,
            }
        }
    }
    assert!(kept.is_empty() && decoder.is_at_boundary());
    Ok(replies)
}

#[test]
fn every_split_of_the_input_gives_the_same_replies() {
    let input = b"+OK\r\n$6\r\nfoobar\r\n*3\r\n:1\r\n*2\r\n$-1\r\n$0\r\n\r\n-ERR no\r\n*0\r\n:-12\r\n*-1\r\n";
    let expected = in_pieces(input, input.len()).unwrap();
    assert_eq!(expected.len(), 6);
    for size in 1..input.len() {
        assert_eq!(in_pieces(input, size).unwrap(), expected, "pieces of {size}");
    }
}

#[test]
fn decoding_stops_at_the_end_of_a_reply() {
    let mut decoder = Decoder::new(Limits::default());
    let progress = decoder.decode(b":1\r\n:2\r\n").unwrap();
    assert_eq!(progress, Progress { consumed: 4, reply: Some(Value::Int(1)) });
}

#[test]
fn numbers_out_of_range_are_errors() {
    assert_eq!(whole(b":9223372036854775807\r\n"), Ok(Value::Int(i64::MAX)));
    assert_eq!(whole(b":-9223372036854775808\r\n"), Ok(Value::Int(i64::MIN)));
    for bad in [
        &b":9223372036854775808\r\n"[..],
        b":-9223372036854775809\r\n",
        b":18446744073709551616\r\n",
        b"$18446744073709551615\r\n",
        b":-\r\n",
        b":1-\r\n",
        b":+\r\n",
        b":+-1\r\n",
    ] {
        assert!(Decoder::new(Limits::default()).decode(bad).is_err(), "{}", bad.escape_ascii());
    }
}

#[test]
fn an_integer_can_have_a_plus_sign() {
    assert_eq!(whole(b":+1\r\n"), Ok(Value::Int(1)));
    assert_eq!(whole(b":+0\r\n"), Ok(Value::Int(0)));
    assert_eq!(whole(b":+9223372036854775807\r\n"), Ok(Value::Int(i64::MAX)));
}

#[test]
fn only_minus_one_is_the_length_of_nil() {
    assert_eq!(whole(b"$-1\r\n"), Ok(Value::Nil));
    assert_eq!(whole(b"*-1\r\n"), Ok(Value::Nil));
    assert_eq!(whole(b"$01\r\nx\r\n"), Ok(Value::from("x")), "as in redigo");
    for length in ["-01", "-0", "-00", "-2", "-10", "-", "-x", "+1", "+", "-1x", "-+1"] {
        for kind in ["$", "*"] {
            let input = format!("{kind}{length}\r\n");
            let mut decoder = Decoder::new(Limits::default());
            assert!(decoder.decode(input.as_bytes()).is_err(), "{input:?}");
            if kind == "*" {
                assert!(decoder.open_list(input.as_bytes()).is_err(), "{input:?}");
            }
            assert_eq!(decoder.take_bulk(format!("{input}x\r\n").as_bytes()), None, "{input:?}");
        }
    }
}

#[test]
fn an_announced_length_reserves_little_memory() {
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(decoder.decode(b"*4294967295\r\n").unwrap().reply, None);
    assert!(decoder.open[0].items.capacity() <= INITIAL_ELEMENTS);
    assert_eq!(decoder.decode(b"$536870912\r\nx").unwrap().reply, None);
    assert!(decoder.bulk.unwrap().bytes.capacity() <= INITIAL_BYTES);
}

#[test]
fn a_list_reserves_only_for_elements_that_can_be_in_the_input() {
    let mut decoder = Decoder::new(Limits::default());
    // Six bytes hold at most two elements.
    assert_eq!(decoder.decode(b"*1000\r\n+\r\n+\r\n").unwrap().reply, None);
    assert_eq!(decoder.open[0].items.capacity(), 2);
}

#[test]
fn replies_beyond_the_limits_are_errors() {
    let limits = Limits { bulk: 10, elements: 3, line: 20, depth: 2 };
    let check = |input: &[u8]| Decoder::new(limits).decode(input).map(|p| p.reply.is_some());
    assert_eq!(check(b"$10\r\n0123456789\r\n"), Ok(true));
    assert!(check(b"$11\r\n").is_err());
    assert!(check(b"*4\r\n").is_err());
    assert_eq!(check(b"*1\r\n*1\r\n:1\r\n"), Ok(true));
    assert!(check(b"*1\r\n*1\r\n*1\r\n").is_err());
    assert_eq!(check(b"+01234567890123456789\r\n"), Ok(true));
    assert!(check(b"+012345678901234567890\r\n").is_err());
    assert_eq!(check(b"+01234567890123456789\r"), Ok(false), "its end can follow");
    assert!(check(b"+0123456789012345678901234").is_err(), "no end so far");
    assert!(check(b":00000000000000000000000000000000").is_err(), "no end so far");
}

#[test]
fn nesting_a_million_deep_is_an_error() {
    let input = b"*1\r\n".repeat(1_000_000);
    assert!(Decoder::new(Limits::default()).decode(&input).is_err());
}

#[test]
fn a_long_string_can_be_read_directly_into_its_memory() {
    let text: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    for piece in [1, 1460, 20_000, usize::MAX] {
        let mut decoder = Decoder::new(Limits::default());
        decoder.decode(format!("${}\r\n", text.len()).as_bytes()).unwrap();
        let mut sent = 0;
        while let Some(room) = decoder.bulk_room() {
            let count = room.len().min(piece);
            room[..count].copy_from_slice(&text[sent..sent + count]);
            sent += count;
            decoder.bulk_read(count);
            let held = decoder.bulk.as_ref().unwrap().bytes.capacity();
            assert!(held <= 2 * sent + INITIAL_BYTES, "{held} bytes for {sent}");
            assert_eq!(decoder.decode(b"").unwrap(), Progress { consumed: 0, reply: None });
        }
        assert!(text.len() - sent < MIN_DIRECT_READ, "the last bytes come with the next reply");
        assert!(!decoder.is_at_boundary());
        let progress = decoder.decode(&[&text[sent..], b"\r\n:1\r\n"].concat()).unwrap();
        assert!(progress.reply == Some(Value::Bulk(text.clone())), "in pieces of {piece}");
        assert!(decoder.is_at_boundary());
    }
}

#[test]
fn an_opened_list_returns_its_elements() {
    let input = b"*3\r\n:1\r\n*1\r\n$1\r\nx\r\n+OK\r\n:7\r\n";
    let mut decoder = Decoder::new(Limits::default());
    for end in 0..4 {
        assert_eq!(decoder.open_list(&input[..end]).unwrap(), None, "{end} bytes");
    }
    assert_eq!(decoder.open_list(input).unwrap(), Some((4, 3)));
    let mut at = 4;
    for expected in [1.into(), Value::Array(vec!["x".into()]), Value::simple("OK")] {
        assert!(!decoder.is_at_boundary());
        let progress = decoder.decode(&input[at..]).unwrap();
        assert_eq!(progress.reply, Some(expected));
        at += progress.consumed;
    }
    assert!(decoder.is_at_boundary());
    for whole in [&b":7\r\n"[..], b"*0\r\n", b"*-1\r\n", b"$1\r\nx\r\n", b"-ERR\r\n"] {
        assert_eq!(decoder.open_list(whole).unwrap(), Some((0, 0)));
        assert!(decoder.is_at_boundary());
    }
    assert!(decoder.open_list(b"*4294967296\r\n").is_err());
}

#[test]
fn bad_numbers_give_the_same_error_for_every_split() {
    for bad in [
        &b":\r\n"[..],
        b":-\r\n",
        b":1\n",
        b":1\r2",
        b":1\rx\n",
        b"$-2\r\n",
        b"$-01\r\n",
        b"$-1\n",
        b"$-1\rx",
        b"*-\r\n",
        b"*+1\r\n",
        b":12a\r\n",
        b"*x\r\n",
        b":000000000000000000000\r\n",
        b":99999999999999999999\r\n",
        b"$536870913\r\n",
        b"$2\r\nabc\n",
    ] {
        let whole = in_pieces(bad, bad.len()).unwrap_err();
        for size in 1..bad.len() {
            assert_eq!(in_pieces(bad, size).unwrap_err(), whole, "{}", bad.escape_ascii());
        }
    }
}

#[test]
fn take_bulk_borrows_a_complete_bulk_string() {
    let input = b"$0\r\n\r\n$12\r\nhello\r\nworld\r\n$-1\r\n";
    let (first, second) = (&input[..6], &input[6..25]);
    let mut decoder = Decoder::new(Limits::default());
    for end in 0..first.len() {
        assert_eq!(decoder.take_bulk(&first[..end]), None, "{end} bytes");
    }
    assert_eq!(decoder.take_bulk(input), Some((first.len(), &b""[..])));
    for end in 0..second.len() {
        assert_eq!(decoder.take_bulk(&second[..end]), None, "{end} bytes");
    }
    assert_eq!(decoder.take_bulk(&input[6..]), Some((second.len(), &b"hello\r\nworld"[..])));
    assert!(decoder.is_at_boundary());
}

#[test]
fn take_bulk_ignores_all_other_input() {
    let limits = Limits { bulk: 10, ..Limits::default() };
    for other in [
        &b"+OK\r\n"[..],
        b":1\r\n",
        b"-ERR no\r\n",
        b"*1\r\n$1\r\nx\r\n",
        b"$-1\r\n",
        b"$-2\r\n",
        b"$11\r\n01234567890\r\n",
        b"$1\r\nxyz",
        b"$x\r\n",
    ] {
        let mut decoder = Decoder::new(limits);
        assert_eq!(decoder.take_bulk(other), None, "{}", other.escape_ascii());
        let (mut untouched, whole) = (Decoder::new(limits), decoder.decode(other));
        assert_eq!(whole, untouched.decode(other), "{}", other.escape_ascii());
    }
    for begun in [&b"$5\r\nhe"[..], b"*2\r\n"] {
        let mut decoder = Decoder::new(limits);
        assert_eq!(decoder.decode(begun).unwrap().reply, None);
        assert_eq!(decoder.take_bulk(b"$1\r\nx\r\n"), None, "in the middle of another reply");
    }
}

#[test]
fn an_opened_list_counts_for_the_depth() {
    let limits = Limits { depth: 2, ..Limits::default() };
    for (input, fits) in [(&b"*1\r\n*1\r\n:1\r\n"[..], true), (b"*1\r\n*1\r\n*1\r\n:1\r\n", false)]
    {
        assert_eq!(Decoder::new(limits).decode(input).is_ok(), fits);
        let mut decoder = Decoder::new(limits);
        let (used, _) = decoder.open_list(input).unwrap().unwrap();
        assert_eq!(decoder.decode(&input[used..]).is_ok(), fits);
    }
}

#[test]
fn take_bulk_borrows_the_elements_of_an_opened_list() {
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(decoder.open_list(b"*2\r\n").unwrap(), Some((4, 2)));
    for left in [1, 0] {
        assert_eq!(decoder.take_bulk(b"$1\r\nx\r\n"), Some((7, &b"x"[..])));
        assert_eq!(decoder.is_at_boundary(), left == 0);
    }
}
