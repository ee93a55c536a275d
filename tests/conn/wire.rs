//! The bytes on the wire in both directions, in memory.
//!
//! The rows with an R number are those of redigo's TestWrite, TestRead, TestReadString and
//! TestWithTimeout.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use redigo::args::{ArgWriter, ToArg, ToArgs};
use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Error, Value};

use crate::support::streams::{self, Tapped, over as conn};
use crate::support::values::list;

/// The outcome of one `receive` of this input.
fn receive(input: &[u8]) -> Result<Value, Error> {
    conn(&MemoryStream::new(input)).receive()
}

// Writing

/// Redigo's durationArg: written as seconds.
struct Seconds(Duration);

impl ToArgs for Seconds {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        self.0.as_secs_f64().write_args(out);
    }
}

impl ToArg for Seconds {}

/// Redigo's recursiveArg: it is replaced by a number.
struct Recursive(i64);

impl ToArgs for Recursive {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        (&&self.0 as &dyn ToArgs).write_args(out);
    }
}

impl ToArg for Recursive {}

#[test]
fn r006_to_r016_commands_are_arrays_of_bulk_strings() {
    // A lone u8 is not an argument, so R008 uses the next wider type. A nil (R013) would be
    // omitted, so the test writes the argument that redigo sends for it.
    let minute = Seconds(Duration::from_secs(60));
    type Row<'a> = (&'a str, &'a str, &'a dyn ToArgs, &'a str);
    let rows: [Row<'_>; 11] = [
        ("R006", "SET", &("key", "value"), "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n"),
        (
            "R007",
            "SET",
            &(b"key", String::from("value")),
            "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
        ),
        ("R008", "SET", &("key", 100_u16), "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\n100\r\n"),
        ("R009", "SET", &("key", 100), "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\n100\r\n"),
        (
            "R010",
            "SET",
            &("key", i64::MIN),
            "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$20\r\n-9223372036854775808\r\n",
        ),
        (
            "R011",
            "SET",
            &("key", 1_349_673_917.939_762),
            "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$21\r\n1.349673917939762e+09\r\n",
        ),
        ("R012", "SET", &("key", ""), "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n"),
        ("R013", "SET", &("key", b""), "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n"),
        ("R014", "SET", &("key", minute), "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$2\r\n60\r\n"),
        ("R015", "SET", &("key", Recursive(123)), "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\n123\r\n"),
        ("R016", "ECHO", &(true, false), "*3\r\n$4\r\nECHO\r\n$1\r\n1\r\n$1\r\n0\r\n"),
    ];
    for (row, command, args, expected) in rows {
        for way in ["send", "call", "half"] {
            let stream = MemoryStream::new("+OK\r\n");
            let mut conn = conn(&stream);
            match way {
                "send" => {
                    conn.send(command, args).unwrap();
                    assert_eq!(stream.writes(), 0, "{row}: before the flush");
                    conn.flush().unwrap();
                }
                "call" => drop(conn.call(command, args).unwrap()),
                _ => {
                    let (mut sender, _) = conn.split();
                    sender.send(command, args).unwrap();
                    sender.flush().unwrap();
                }
            }
            let written = String::from_utf8(stream.written()).unwrap();
            assert_eq!(written, expected, "{row} by {way}");
            assert_eq!(stream.writes(), 1, "{row} by {way}");
        }
    }
}

#[test]
fn commands_with_many_arguments_announce_their_count() {
    for count in [8, 9, 10, 98, 99, 100, 1000] {
        let stream = MemoryStream::new("+OK\r\n");
        conn(&stream).call("RPUSH", vec![7; count]).unwrap();
        let expected = format!("*{}\r\n$5\r\nRPUSH\r\n{}", count + 1, "$1\r\n7\r\n".repeat(count));
        assert_eq!(stream.written(), expected.as_bytes(), "{count} arguments");
    }
}

#[test]
fn argument_can_be_any_bytes() {
    let stream = MemoryStream::new("+OK\r\n");
    conn(&stream).call("SET", (b"\r\n$3\r\n\0", &[0xff_u8, 0xfe][..])).unwrap();
    assert_eq!(stream.written(), b"*3\r\n$3\r\nSET\r\n$7\r\n\r\n$3\r\n\0\r\n$2\r\n\xff\xfe\r\n");
}

#[test]
fn large_sends_are_written_before_the_flush_in_order() {
    let stream = MemoryStream::new("");
    let mut conn = conn(&stream);
    let value = "v".repeat(1000);
    let mut expected = String::new();
    for number in 0..1000 {
        conn.send("SET", (number, &value)).unwrap();
        expected.push_str(&streams::command(&["SET", &number.to_string(), &value]));
    }
    assert!(stream.writes() > 0, "a megabyte is kept until the flush");
    conn.flush().unwrap();
    assert!(stream.written() == expected.as_bytes());
}

#[test]
fn close_does_not_write_queued_commands() {
    for close in [|conn: Conn| conn.close().unwrap(), drop] {
        let stream = MemoryStream::new("");
        let mut conn = conn(&stream);
        conn.send("SET", ("key", "value")).unwrap();
        close(conn);
        assert!(stream.written().is_empty());
        assert!(stream.is_closed());
    }
}

// Reading

/// Receives the input whole and byte by byte; the outcomes must be equal.
fn receive_in_pieces(row: &str, input: &[u8]) -> Result<Value, Error> {
    let whole = receive(input);
    for piece in 1..4 {
        let stream = Tapped::in_pieces(MemoryStream::new(input), piece);
        let pieced = Dialer::tcp(":6379").wrap(stream).receive();
        assert_eq!(format!("{whole:?}"), format!("{pieced:?}"), "{row} in pieces of {piece}");
    }
    whole
}

#[test]
fn r017_to_r028_replies_are_decoded() {
    let hello = b"*4\r\n$3\r\nfoo\r\n$3\r\nbar\r\n$5\r\nHello\r\n$5\r\nWorld\r\n";
    let words = ["foo", "bar", "Hello", "World"];
    let rows: [(&str, &[u8], Value); 11] = [
        ("R017", b"+OK\r\n", Value::simple("OK")),
        ("R018", b"+PONG\r\n", Value::simple("PONG")),
        ("R021", b"$6\r\nfoobar\r\n", "foobar".into()),
        ("R022", b"$-1\r\n", Value::Nil),
        ("R023", b":1\r\n", 1.into()),
        ("R024", b":-2\r\n", Value::from(-2)),
        ("R025", b"*0\r\n", list([])),
        ("R026", b"*-1\r\n", Value::Nil),
        ("R027", hello, list(words.map(Value::from))),
        ("R028", b"*3\r\n$3\r\nfoo\r\n$-1\r\n$3\r\nbar\r\n", {
            list(["foo".into(), Value::Nil, "bar".into()])
        }),
        ("binary", b"*2\r\n$4\r\n\r\n\0\xff\r\n+\xff\r\n", {
            list([(&b"\r\n\0\xff"[..]).into(), Value::Simple(b"\xff"[..].into())])
        }),
    ];
    for (row, input, expected) in rows {
        assert_eq!(receive_in_pieces(row, input).unwrap(), expected, "{row}");
    }
}

#[test]
fn r019_to_r036_invalid_reply_ends_the_connection() {
    let cut = "the server closed the connection in the middle of a reply";
    let rows: [(&str, &[u8], &str); 14] = [
        ("R019", b"+OK\n\n", "line does not end in \\r\\n"),
        ("R020", b"@OK\r\n", "unexpected first byte '@'"),
        ("R029", b"$\r\nfoobar\r\n", "number without digits"),
        ("R030", b"$x\r\nfoobar\r\n", "number with an unexpected byte 'x'"),
        ("R031", b"$-2\r\n", "negative length"),
        ("R032", b":\r\n", "number without digits"),
        ("R033", b":x\r\n", "number with an unexpected byte 'x'"),
        ("R034", b"$6\r\nfoobar", cut),
        ("R035", b"$6\r\nxx", cut),
        ("R036", b"$6\r\nfoobarx\r\n", "bulk string does not end in \\r\\n"),
        ("nothing", b"", "the server closed the connection"),
        ("half a line end", b"+OK\r", cut),
        ("half a list", b"*2\r\n:1\r\n", cut),
        ("in a list", b"*2\r\n*1\r\n@\r\n", "unexpected first byte '@'"),
    ];
    for (row, input, expected) in rows {
        let error = receive_in_pieces(row, input).unwrap_err();
        let text = error.to_string();
        match &error {
            Error::Protocol(_) => {
                let expected = format!("protocol error: {expected} (is the peer a Redis server?)");
                assert_eq!(text, expected, "{row}");
            }
            Error::Io(io) => {
                assert_eq!(io.kind(), ErrorKind::UnexpectedEof, "{row}");
                assert_eq!(text, expected, "{row}");
            }
            other => panic!("{row}: {other:?}"),
        }

        let stream = MemoryStream::new(input);
        let mut conn = conn(&stream);
        assert!(conn.receive().is_err() && error.is_fatal(), "{row}");
        assert!(stream.is_closed(), "{row}");
        // The error is sticky: nothing more is written or read.
        assert_eq!(conn.err().map(Error::to_string).as_ref(), Some(&text), "{row}");
        stream.push("+OK\r\n");
        let again = [
            conn.call("PING", ()).unwrap_err(),
            conn.send("PING", ()).unwrap_err(),
            conn.flush().unwrap_err(),
            conn.receive().unwrap_err(),
            conn.poll(Duration::ZERO).unwrap_err(),
            conn.split().0.send("PING", ()).unwrap_err(),
            conn.split().1.receive().unwrap_err(),
        ];
        assert!(again.iter().all(|again| again.to_string() == text), "{row}: {again:?}");
        assert!(stream.written().is_empty() && !conn.is_alive(), "{row}");
        // Nothing is pending, so drain succeeds (redigo's Do("")).
        assert!(conn.drain().unwrap().is_empty() && conn.call("", ()).unwrap().is_nil(), "{row}");
        assert_eq!(conn.close().unwrap_err().to_string(), text, "{row}");
    }
}

#[test]
fn r037_to_r039_lines_of_any_length_are_decoded() {
    for (row, lengths) in [("R037", 0..=63), ("R038", 4032..=4159), ("R039", 8128..=8255)] {
        for length in lengths {
            let text: String = ('a'..='z').cycle().take(length).collect();
            let reply = receive(format!("+{text}\r\n").as_bytes()).unwrap();
            assert_eq!(reply, Value::simple(text), "{row}, {length} bytes");
        }
    }
}

#[test]
fn strings_of_any_length_arrive_in_pieces_of_any_size() {
    for length in [16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 200_000] {
        let text: String = ('a'..='z').cycle().take(length).collect();
        let mut input =
            format!("*3\r\n${length}\r\n{text}\r\n:7\r\n+{text}\r\n+OK\r\n").into_bytes();
        for piece in [100, 4096, 16_384, usize::MAX] {
            let stream = Tapped::in_pieces(MemoryStream::new(&input), piece);
            let mut conn = Dialer::tcp(":6379").wrap(stream);
            let expected = list([text.as_str().into(), 7.into(), Value::simple(text.clone())]);
            assert!(conn.receive().unwrap() == expected, "{length} in pieces of {piece}");
            assert_eq!(conn.receive().unwrap(), Value::simple("OK"), "the next reply");
        }
        // A wrong byte behind the long string is noticed.
        let end = input.iter().position(|&byte| byte == b':').unwrap() - 2;
        input[end] = b'x';
        assert!(matches!(receive(&input), Err(Error::Protocol(_))), "{length}");
    }
}

#[test]
fn error_reply_leaves_the_connection_unchanged() {
    let stream = MemoryStream::new("-WRONGTYPE not a list\r\n-\r\n*2\r\n-ERR a\r\n:1\r\n+OK\r\n");
    let mut conn = conn(&stream);
    let error = conn.receive().unwrap_err();
    assert_eq!(error.as_server().unwrap().code(), "WRONGTYPE");
    assert_eq!(error.to_string(), "WRONGTYPE not a list");
    assert_eq!(conn.receive().unwrap_err().as_server().unwrap().message(), "");
    let items = conn.receive().unwrap();
    assert!(matches!(items.as_array().unwrap(), [Value::Error(_), Value::Int(1)]), "{items:?}");
    assert_eq!(conn.receive().unwrap(), Value::simple("OK"));
    assert!(conn.err().is_none() && !stream.is_closed());
}

#[test]
fn max_bulk_len_limits_strings() {
    let dialer = Dialer::tcp(":6379").max_bulk_len(10);
    let mut conn = dialer.wrap(MemoryStream::new("$10\r\n0123456789\r\n$11\r\n"));
    assert_eq!(conn.receive().unwrap(), "0123456789".into());
    let error = conn.receive().unwrap_err().to_string();
    let expected = "protocol error: a string of 11 bytes exceeds the dialer's max_bulk_len of 10";
    assert_eq!(error, expected);
}

// Timeouts for one call

/// Checks that the stream's timeout was the time left at some moment of the call.
fn assert_left(row: &str, left: Option<Duration>, limit: Option<Duration>, elapsed: Duration) {
    let fits = match (left, limit) {
        (None, None) => true,
        (Some(left), Some(limit)) => left <= limit && left + elapsed >= limit,
        _ => false,
    };
    assert!(fits, "{row}: {left:?} of {limit:?} after {elapsed:?}");
}

#[test]
fn r064_to_r067_timeout_for_one_call() {
    const MINUTE: Duration = Duration::from_secs(60);
    type Exchange = fn(&mut Conn) -> Result<Value, Error>;
    let receive: [Exchange; 2] = [|conn| conn.receive(), |conn| conn.receive_timeout(10 * MINUTE)];
    let call: [Exchange; 2] =
        [|conn| conn.call("PING", ()), |conn| conn.call_timeout(10 * MINUTE, "PING", ())];
    for (row, default, [plain, ten_minutes]) in [
        ("R064", None, receive),
        ("R065", Some(MINUTE), receive),
        ("R066", None, call),
        ("R067", Some(MINUTE), call),
    ] {
        let stream = MemoryStream::silent();
        let mut conn = Dialer::tcp(":6379").read_timeout(default).wrap(stream.clone());
        for iteration in 0..4 {
            let (exchange, expected) = match iteration % 2 {
                0 => (plain, default),
                _ => (ten_minutes, Some(10 * MINUTE)),
            };
            // One reply at a time: a reply in the buffer needs no timeout.
            stream.push("+OK\r\n");
            let start = Instant::now();
            exchange(&mut conn).unwrap();
            let elapsed = start.elapsed();
            assert_left(&format!("{row}, {iteration}"), stream.read_timeout(), expected, elapsed);
        }
    }
}

#[test]
fn write_timeout_defaults_to_the_read_timeout() {
    const SECOND: Duration = Duration::from_secs(1);
    let rows = [
        (None, None, None),
        (Some(5 * SECOND), None, Some(5 * SECOND)),
        (None, Some(7 * SECOND), Some(7 * SECOND)),
        (Some(5 * SECOND), Some(7 * SECOND), Some(7 * SECOND)),
        (Some(Duration::ZERO), Some(Duration::ZERO), None),
    ];
    for (read, write, expected) in rows {
        let stream = MemoryStream::new("+OK\r\n");
        let dialer = Dialer::tcp(":6379").read_timeout(read).write_timeout(write);
        let start = Instant::now();
        dialer.wrap(stream.clone()).call("PING", ()).unwrap();
        let row = format!("read {read:?}, write {write:?}");
        assert_left(&row, stream.write_timeout(), expected, start.elapsed());
    }
}
