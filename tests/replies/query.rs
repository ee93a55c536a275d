//! A typed query takes lists apart while they come in. It gives what a call and a conversion give,
//! and leaves the connection behind the reply whatever the conversion makes of it.

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

/// The same by both ways, whatever comes, in pieces of any size.
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

/// The replies of a pipeline as one type, as a run and a conversion give them.
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
        // A reply that is one less is followed by one that no command asked for.
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
fn a_pipeline_gives_what_its_replies_and_a_conversion_give() {
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
    compare_pipelines::<((), Vec<String>)>();
    compare_pipelines::<HashMap<String, u8>>();
    compare_pipelines::<Vec<Whole>>();
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

struct Panicking;

impl FromValue for Panicking {
    fn from_value(value: Value) -> Result<Panicking> {
        assert_ne!(value, Value::Int(2), "on purpose");
        Ok(Panicking)
    }
}

#[test]
fn a_conversion_that_panics_ends_the_connection() {
    let mut conn = conn("*3\r\n:1\r\n:2\r\n:3\r\n+OK\r\n", 7);
    let query = AssertUnwindSafe(|| conn.query::<Vec<Panicking>>("MGET", "k").map(drop));
    assert!(catch_unwind(query).is_err());
    // Its third element would have been taken for the next reply.
    let error = conn.call("PING", ()).unwrap_err();
    assert_eq!(error.to_string(), "the caller's code panicked while it used the connection");
}

#[test]
fn a_conversion_that_panics_ends_the_connection_of_a_pipeline() {
    for (replies, ends) in
        [(":1\r\n:2\r\n:3\r\n+OK\r\n", true), (":1\r\n:1\r\n:2\r\n+OK\r\n", false)]
    {
        let mut conn = conn(replies, 7);
        let mut pipeline = conn.pipeline();
        (0..3).for_each(|at| pipeline.push("GET", at));
        let query = AssertUnwindSafe(|| pipeline.query::<Vec<Panicking>>().map(drop));
        assert!(catch_unwind(query).is_err());
        // The reply to the third command would have been taken for the next one's.
        let next = conn.call("PING", ()).map_err(|error| error.to_string());
        match ends {
            true => assert_eq!(
                next.unwrap_err(),
                "the caller's code panicked while it used the connection"
            ),
            false => assert_eq!(next.unwrap().as_str(), Some("OK"), "nothing was left"),
        }
    }
}
