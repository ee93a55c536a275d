//! A typed query takes lists apart while they come in. It gives what a call and a conversion give,
//! and leaves the connection behind the reply whatever the conversion makes of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Error, FromValue, Result, Value};

#[path = "support/streams.rs"]
mod streams;

use streams::Tapped;

const REPLIES: [&str; 22] = [
    "+OK\r\n",
    ":7\r\n",
    "$-1\r\n",
    "$5\r\nhello\r\n",
    "-ERR refused\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*1\r\n:1\r\n",
    "*1\r\n*-1\r\n",
    "*2\r\n:1\r\n:2\r\n",
    "*2\r\n:1\r\n:300\r\n",
    "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
    "*2\r\n$1\r\na\r\n:5\r\n",
    "*2\r\n$1\r\na\r\n$-1\r\n",
    "*2\r\n$1\r\na\r\n-ERR in it\r\n",
    "*2\r\n$1\r\n\u{1}\r\n+OK\r\n",
    "*2\r\n*2\r\n:1\r\n:2\r\n*2\r\n:3\r\n:4\r\n",
    "*2\r\n*2\r\n:1\r\n:x2\r\n",
    "*3\r\n:1\r\n$1\r\nx\r\n:3\r\n",
    "*3\r\n*0\r\n$2\r\n16\r\n-ERR last\r\n",
    "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:2\r\n",
    "*4\r\n$1\r\na\r\n:1\r\n$1\r\na\r\n:2\r\n",
];

fn conn(replies: &str, piece: usize) -> Conn {
    Dialer::tcp(":6379").wrap(Tapped::in_pieces(MemoryStream::new(replies), piece))
}

/// The same by both ways, whatever comes, in pieces of any size.
fn compare<T: FromValue + Debug>() {
    for reply in REPLIES {
        let input = format!("{reply}+next\r\n");
        let wanted = std::any::type_name::<T>();
        let expected = conn(&input, 1).call("GET", "k").and_then(Value::to::<T>);
        for piece in [1, 2, 3, 5, 8, usize::MAX] {
            let mut conn = conn(&input, piece);
            let got = conn.query::<T>("GET", "k");
            assert_eq!(format!("{got:?}"), format!("{expected:?}"), "{wanted} from {reply:?}");
            if conn.err().is_none() {
                assert_eq!(conn.receive().unwrap().as_str(), Some("next"), "{wanted}, {reply:?}");
            } else {
                assert!(reply.contains("x2"), "{wanted} from {reply:?}: {:?}", conn.err());
            }
        }
    }
}

/// A type of a user's own, which knows nothing of lists that come in.
#[derive(Debug)]
#[allow(dead_code, reason = "compared by its Debug")]
struct Whole(String);

impl FromValue for Whole {
    fn from_value(value: Value) -> Result<Whole> {
        Ok(Whole(format!("{value:?}")))
    }
}

#[test]
fn a_query_gives_what_a_call_and_a_conversion_give() {
    compare::<Value>();
    compare::<()>();
    compare::<bool>();
    compare::<u8>();
    compare::<i64>();
    compare::<f64>();
    compare::<String>();
    compare::<Box<str>>();
    compare::<Option<String>>();
    compare::<Vec<Value>>();
    compare::<Vec<()>>();
    compare::<Vec<u8>>();
    compare::<Vec<i64>>();
    compare::<Vec<String>>();
    compare::<Vec<Option<String>>>();
    compare::<Vec<Vec<i64>>>();
    compare::<Option<Vec<String>>>();
    compare::<[u8; 2]>();
    compare::<[i64; 2]>();
    compare::<[String; 5]>();
    compare::<(i64,)>();
    compare::<(i64, i64)>();
    compare::<(String, u8)>();
    compare::<(String, i64, Option<String>, ())>();
    compare::<BTreeSet<String>>();
    compare::<BTreeMap<String, i64>>();
    compare::<HashMap<String, [i64; 3]>>();
    compare::<Whole>();
    compare::<Vec<Whole>>();
}

#[test]
fn errors_of_replies_owed_come_first() {
    let mut conn = conn("-ERR first\r\n-ERR second\r\n*2\r\n:1\r\n:2\r\n*1\r\n:3\r\n", 7);
    conn.send("INCR", "a").unwrap();
    conn.send("INCR", "b").unwrap();
    let error = conn.query::<Vec<i64>>("MGET", "k").unwrap_err();
    assert_eq!(error.to_string(), "ERR first");
    assert_eq!(conn.query::<Vec<i64>>("MGET", "k").unwrap(), [3]);
}

#[test]
fn without_a_command_it_drains() {
    let mut conn = conn(":1\r\n:2\r\n", 7);
    assert_eq!(conn.query::<Option<i64>>("", ()).unwrap(), None);
    conn.send("INCR", "a").unwrap();
    conn.send("INCR", "a").unwrap();
    assert_eq!(conn.query::<Vec<i64>>("", ()).unwrap(), [1, 2]);
}

#[test]
fn half_a_list_ends_the_connection() {
    for input in ["*2\r\n", "*2\r\n:1\r\n", "*2\r\n:1\r\n:", "*2"] {
        let mut conn = conn(input, 7);
        let error = conn.query::<Vec<i64>>("MGET", "k").unwrap_err();
        assert!(error.is_fatal() && !conn.is_alive(), "{input:?}");
        if input != "*2" {
            let text = "the server closed the connection in the middle of a reply";
            assert_eq!(error.to_string(), text, "{input:?}");
        }
        assert_eq!(conn.err().map(Error::to_string), Some(error.to_string()));
    }
}

#[test]
fn a_conversion_that_panics_ends_the_connection() {
    struct Panicking;
    impl FromValue for Panicking {
        fn from_value(value: Value) -> Result<Panicking> {
            assert_ne!(value, Value::Int(2), "on purpose");
            Ok(Panicking)
        }
    }
    let mut conn = conn("*3\r\n:1\r\n:2\r\n:3\r\n+OK\r\n", 7);
    let query = AssertUnwindSafe(|| conn.query::<Vec<Panicking>>("MGET", "k").map(drop));
    assert!(catch_unwind(query).is_err());
    // Its third element would have been taken for the next reply.
    let error = conn.call("PING", ()).unwrap_err();
    assert_eq!(error.to_string(), "the conversion of a reply panicked");
}
