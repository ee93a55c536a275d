//! Properties of replies, splits, arguments and URLs. proptest reports the smallest counterexample.

use std::fmt::Write as _;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use redigo::testing::MemoryStream;
use redigo::{Args, Dialer, Error, ServerError, Value};

#[path = "../fuzz/targets/pieces.rs"]
mod pieces;

use pieces::{Pieces, replies};

use crate::support::streams::{Recorder, command};

/// The text of a line.
fn line() -> impl Strategy<Value = String> {
    "[^\r\n]{0,40}"
}

fn reply() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        line().prop_map(Value::simple),
        vec(any::<u8>(), 0..60).prop_map(Value::Bulk),
        Just(Value::simple("OK")),
    ];
    leaf.prop_recursive(5, 40, 8, |inner| vec(inner, 0..8).prop_map(Value::Array))
}

/// Encodes a reply like a server.
fn encode(reply: &Value, out: &mut Vec<u8>) {
    let head = |kind: char, text: &str| format!("{kind}{text}\r\n").into_bytes();
    match reply {
        Value::Nil => out.extend(head('$', "-1")),
        Value::Int(number) => out.extend(head(':', &number.to_string())),
        Value::Simple(text) => out.extend(head('+', std::str::from_utf8(text).unwrap())),
        Value::Error(error) => out.extend(head('-', error.message())),
        Value::Bulk(bytes) => {
            out.extend(head('$', &bytes.len().to_string()));
            out.extend(bytes);
            out.extend(b"\r\n");
        }
        Value::Array(items) => {
            out.extend(head('*', &items.len().to_string()));
            items.iter().for_each(|item| encode(item, out));
        }
        other => unreachable!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_reply_is_the_same_for_every_split(sent in vec(reply(), 1..4)) {
        let mut bytes = Vec::new();
        sent.iter().for_each(|reply| encode(reply, &mut bytes));
        for at in 0..=bytes.len() {
            let (received, _) = replies(&bytes, &[at, bytes.len()]);
            prop_assert_eq!(&received, &sent, "split at {}", at);
        }
    }

    #[test]
    fn a_reply_is_the_same_for_pieces_of_any_size(
        sent in vec(reply(), 1..6),
        sizes in vec(1_usize..40, 1..10),
    ) {
        let mut bytes = Vec::new();
        sent.iter().for_each(|reply| encode(reply, &mut bytes));
        prop_assert_eq!(replies(&bytes, &sizes).0, sent);
    }

    #[test]
    fn an_incomplete_reply_is_not_returned(sent in reply(), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        encode(&sent, &mut bytes);
        let (received, end) = replies(&bytes[..cut.index(bytes.len())], &[]);
        prop_assert_eq!(received, []);
        prop_assert!(end.contains("closed the connection"), "{}", end);
    }

    #[test]
    fn a_server_error_has_the_text_that_was_sent(text in line()) {
        let mut conn = Dialer::tcp(":6379").wrap(MemoryStream::new(format!("-{text}\r\n+OK\r\n")));
        match conn.call("GET", "key") {
            Err(Error::Server(error)) => {
                let error: ServerError = error;
                prop_assert_eq!(error.message(), &text);
                prop_assert!(text.starts_with(error.code()));
            }
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert!(conn.call("GET", "key").is_ok());
    }

    #[test]
    fn a_command_decodes_to_its_arguments(
        name in "[A-Z]{1,10}",
        words in vec(vec(any::<u8>(), 0..40), 0..20),
    ) {
        let peer = Pieces::new(b"", &[]);
        let mut conn = peer.conn();
        conn.send(&name, &words).unwrap();
        conn.flush().unwrap();
        let sent = [name.into_bytes()].into_iter().chain(words);
        let expected = Value::Array(sent.map(Value::Bulk).collect());
        prop_assert_eq!(replies(&peer.written(), &[]).0, [expected]);
    }

    #[test]
    fn a_number_parses_back_to_itself(
        int in any::<i64>(),
        uint in any::<u64>(),
        float in any::<f64>(),
    ) {
        let args = Args::new().args((int, uint, float));
        let texts: Vec<_> = args.iter().map(|text| std::str::from_utf8(text).unwrap()).collect();
        prop_assert_eq!(texts[0].parse(), Ok(int));
        prop_assert_eq!(texts[1].parse(), Ok(uint));
        let again: f64 = texts[2].parse().unwrap();
        prop_assert!(again == float || again.is_nan() && float.is_nan());
    }

    #[test]
    fn a_url_dials_the_parts_it_was_built_from(
        scheme in prop_oneof![Just("redis"), Just("valkey"), Just("REDIS")],
        user in proptest::option::of("\\PC{1,12}"),
        password in proptest::option::of("\\PC{1,12}"),
        host in prop_oneof![
            "[a-z][a-z0-9.-]{0,20}",
            Just(String::from("[2001:db8::1]")),
            Just(String::new()),
        ],
        port in proptest::option::of(1_u16..),
        database in proptest::option::of(0_u32..),
        in_query in any::<bool>(),
    ) {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut url = format!("{scheme}://");
        // A user name needs a password.
        let user = user.filter(|_| password.is_some());
        if let Some(password) = &password {
            let user = user.as_deref().map(encoded).unwrap_or_default();
            write!(url, "{user}:{}@", encoded(password)).unwrap();
        }
        url.push_str(&host);
        if let Some(port) = port {
            write!(url, ":{port}").unwrap();
        }
        match database {
            Some(database) if in_query => write!(url, "?db={database}").unwrap(),
            Some(database) => write!(url, "/{database}").unwrap(),
            None => {}
        }

        let server = Recorder::answering("+OK\r\n+OK\r\n");
        let dialer = Dialer::url(&url).unwrap().connect_timeout(Duration::from_secs(60));
        server.behind(dialer).dial().unwrap();
        let host = match host.trim_matches(['[', ']']) {
            "" => "localhost",
            host => host,
        };
        let port = port.unwrap_or(6379);
        let address = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        prop_assert_eq!(server.dialed(), [address]);
        let mut expected = String::new();
        if let Some(password) = &password {
            let words: Vec<&str> =
                ["AUTH"].into_iter().chain(user.as_deref()).chain([password.as_str()]).collect();
            expected += &command(&words);
        }
        if let Some(database) = database.filter(|database| *database != 0) {
            expected += &command(&["SELECT", &database.to_string()]);
        }
        prop_assert_eq!(server.written(), expected);
    }
}
