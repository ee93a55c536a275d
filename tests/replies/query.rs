//! A typed query converts lists while they are received. Its result equals a call and a conversion,
//! and the connection is at the end of the reply also if the conversion fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redigo::testing::MemoryStream;
use redigo::{Conn, Dialer, Error, FromValue, Result, Value};

use crate::support::streams::Tapped;

const REPLIES: [&str; 27] = [
    "+OK\r\n",
    ":7\r\n",
    "$-1\r\n",
    "$5\r\nhello\r\n",
    "$0\r\n\r\n",
    "$2\r\n-1\r\n",
    "$2\r\n+1\r\n",
    "$3\r\n1.5\r\n",
    "$1\r\nt\r\n",
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

/// Compares a query with a call and a conversion, for each reply and for pieces of several sizes.
fn compare<T: FromValue + Debug>() {
    for reply in REPLIES {
        let input = format!("{reply}+next\r\n");
        let wanted = std::any::type_name::<T>();
        let expected = conn(&input, 1).call("GET", "k").and_then(Value::convert::<T>);
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

/// A user type without special support for lists that are still being received.
#[derive(Debug)]
#[allow(dead_code, reason = "compared by its Debug")]
struct Whole(String);

impl FromValue for Whole {
    fn from_value(value: Value) -> Result<Whole> {
        Ok(Whole(format!("{value:?}")))
    }
}

#[test]
fn a_query_equals_a_call_and_a_conversion() {
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
    compare::<Vec<(i64,)>>();
    compare::<Vec<(String, i64)>>();
    compare::<Vec<(i64, i64)>>();
    compare::<Vec<(Option<String>, Value)>>();
    compare::<[(String, i64); 2]>();
    compare::<BTreeSet<(String, i64)>>();
    compare::<BTreeSet<String>>();
    compare::<BTreeMap<String, i64>>();
    compare::<HashMap<String, [i64; 3]>>();
    compare::<Whole>();
    compare::<Vec<Whole>>();
}

/// Compares a pipeline's query with a run and a conversion of its replies.
fn compare_pipelines<T: FromValue + Debug>() {
    let queue = |conn: &mut Conn, count| {
        let mut pipeline = conn.pipeline();
        (0..count).for_each(|at| pipeline.push("GET", at));
        pipeline.query::<T>()
    };
    let lists = REPLIES.iter().enumerate().flat_map(|(at, &first)| {
        let others = REPLIES[at..].iter().step_by(5);
        others.map(move |&second| [first, second].concat()).chain([first.to_owned()])
    });
    for (input, count) in lists.map(|list| (list, 2)).chain([(String::new(), 0)]) {
        // The second `next` is there for inputs that have one reply less.
        let input = format!("{input}+next\r\n+next\r\n");
        let wanted = std::any::type_name::<T>();
        let mut whole = conn(&input, 1);
        let mut pipeline = whole.pipeline();
        (0..count).for_each(|at| pipeline.push("GET", at));
        let replies = pipeline.run().and_then(|replies| replies.into_iter().collect());
        let expected = replies.and_then(|replies: Vec<Value>| Value::Array(replies).convert::<T>());
        for piece in [1, 3, 8, usize::MAX] {
            let mut conn = conn(&input, piece);
            let got = queue(&mut conn, count);
            assert_eq!(format!("{got:?}"), format!("{expected:?}"), "{wanted} from {input:?}");
            if conn.err().is_none() {
                assert_eq!(conn.receive().unwrap().as_str(), Some("next"), "{wanted}, {input:?}");
            } else {
                assert!(input.contains("x2"), "{wanted} from {input:?}: {:?}", conn.err());
            }
        }
    }
}

#[test]
fn a_pipeline_query_equals_a_run_and_a_conversion() {
    compare_pipelines::<Value>();
    compare_pipelines::<()>();
    compare_pipelines::<i64>();
    compare_pipelines::<Vec<Value>>();
    compare_pipelines::<Vec<()>>();
    compare_pipelines::<Vec<i64>>();
    compare_pipelines::<Vec<bool>>();
    compare_pipelines::<Vec<String>>();
    compare_pipelines::<Vec<Option<Vec<u8>>>>();
    compare_pipelines::<[String; 2]>();
    compare_pipelines::<(String, Option<f64>)>();
    compare_pipelines::<Vec<(String, i64)>>();
    compare_pipelines::<((), Vec<String>)>();
    compare_pipelines::<HashMap<String, u8>>();
    compare_pipelines::<Vec<Whole>>();
}

#[test]
fn errors_of_pending_replies_are_returned_first() {
    let mut conn = conn("-ERR first\r\n-ERR second\r\n*2\r\n:1\r\n:2\r\n*1\r\n:3\r\n", 7);
    conn.send("INCR", "a").unwrap();
    conn.send("INCR", "b").unwrap();
    let error = conn.query::<Vec<i64>>("MGET", "k").unwrap_err();
    assert_eq!(error.to_string(), "ERR first");
    assert_eq!(conn.query::<Vec<i64>>("MGET", "k").unwrap(), [3]);
}

#[test]
fn a_query_without_a_command_drains() {
    let mut conn = conn(":1\r\n:2\r\n", 7);
    assert_eq!(conn.query::<Option<i64>>("", ()).unwrap(), None);
    conn.send("INCR", "a").unwrap();
    conn.send("INCR", "a").unwrap();
    assert_eq!(conn.query::<Vec<i64>>("", ()).unwrap(), [1, 2]);
}

#[test]
fn an_incomplete_list_is_fatal() {
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

struct Panicking;

impl FromValue for Panicking {
    fn from_value(value: Value) -> Result<Panicking> {
        assert_ne!(value, Value::Int(2), "on purpose");
        Ok(Panicking)
    }
}

#[test]
fn a_panic_in_a_conversion_is_fatal() {
    let mut conn = conn("*3\r\n:1\r\n:2\r\n:3\r\n+OK\r\n", 7);
    let query = AssertUnwindSafe(|| conn.query::<Vec<Panicking>>("MGET", "k").map(drop));
    assert!(catch_unwind(query).is_err());
    // Otherwise the third element would be read as the next reply.
    let error = conn.call("PING", ()).unwrap_err();
    assert_eq!(error.to_string(), "the caller's code panicked while it used the connection");
}

#[test]
fn a_panic_in_the_conversion_of_a_pipeline_is_fatal() {
    for (replies, ends) in
        [(":1\r\n:2\r\n:3\r\n+OK\r\n", true), (":1\r\n:1\r\n:2\r\n+OK\r\n", false)]
    {
        let mut conn = conn(replies, 7);
        let mut pipeline = conn.pipeline();
        (0..3).for_each(|at| pipeline.push("GET", at));
        let query = AssertUnwindSafe(|| pipeline.query::<Vec<Panicking>>().map(drop));
        assert!(catch_unwind(query).is_err());
        // Otherwise the reply to the third command would be read as the next reply.
        let next = conn.call("PING", ()).map_err(|error| error.to_string());
        match ends {
            true => assert_eq!(
                next.unwrap_err(),
                "the caller's code panicked while it used the connection"
            ),
            false => assert_eq!(next.unwrap().as_str(), Some("OK"), "no reply is pending"),
        }
    }
}
