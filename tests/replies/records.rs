//! Maps, and the replies of commands with a special format.
//!
//! Tests with an R number repeat rows of redigo's tests (commit 57c8b99).

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redigo::reply::{Latency, LatencyHistory, SlowLog};
use redigo::{Conn, Dialer, Error, Result, ServerError, Value, reply};

use crate::support::redis_server::RedisServer;
use crate::support::values::{bulk, bulks, list};

fn ints<const N: usize>(numbers: [i64; N]) -> Value {
    list(numbers.map(Value::Int))
}

fn unix(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[track_caller]
fn fails<T: Debug>(result: Result<T>, expected: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Convert(_)), "{error:?}");
    assert_eq!(error.to_string(), expected);
}

fn connect(server: &RedisServer) -> Conn {
    let dialer = Dialer::url(server.url()).unwrap().read_timeout(Duration::from_secs(10));
    dialer.dial().unwrap()
}

// ---- maps ----

#[test]
fn r195_uint64_map() {
    let map = reply::uint64_map(Ok(bulks(["key1", "18446744073709551615", "key2", "5"])));
    assert_eq!(map.unwrap(), HashMap::from([("key1".into(), u64::MAX), ("key2".into(), 5)]));
}

#[test]
fn r204_float64_map() {
    let map = reply::float64_map(Ok(bulks(["key1", "1.234", "key2", "5.678"])));
    assert_eq!(map.unwrap(), HashMap::from([("key1".into(), 1.234), ("key2".into(), 5.678)]));
}

#[test]
fn string_map_and_int_map() {
    let map = reply::string_map(Ok(bulks(["a", "1", "b", "x"]))).unwrap();
    assert_eq!(map, HashMap::from([("a".into(), "1".into()), ("b".into(), "x".into())]));
    let map = reply::int_map(Ok(list([bulk("a"), bulk("-1"), bulk("b"), Value::Int(2)]))).unwrap();
    assert_eq!(map, HashMap::from([("a".into(), -1), ("b".into(), 2)]));
    assert!(reply::string_map(Ok(list([]))).unwrap().is_empty());
}

#[test]
fn the_later_of_two_equal_keys_wins() {
    let map = reply::int_map(Ok(bulks(["a", "1", "a", "2"]))).unwrap();
    assert_eq!(map, HashMap::from([("a".into(), 2)]));
}

/// One letter for the result with each kind of value and of key: nil, an integer, a simple string,
/// a bulk string, a list, an error.
fn outcomes<T>(map: fn(Result<Value>) -> Result<HashMap<String, T>>) -> (String, String) {
    let kinds = || {
        let error = ServerError::new("WRONGTYPE no");
        [Value::Nil, Value::Int(1), Value::simple("1"), bulk("1"), list([]), Value::Error(error)]
    };
    let outcome = |pair| match map(Ok(list(pair))) {
        Ok(_) => '+',
        Err(Error::Convert(_)) => 'c',
        Err(Error::Server(_)) => 's',
        Err(other) => panic!("{other:?}"),
    };
    let values = kinds().into_iter().map(|value| outcome([bulk("key"), value])).collect();
    let keys = kinds().into_iter().map(|key| outcome([key, bulk("1")])).collect();
    (values, keys)
}

#[test]
fn maps_accept_the_kinds_of_replies_that_redigo_accepts() {
    let keys = "ccc+cs";
    assert_eq!(outcomes(reply::string_map), ("ccc+cs".into(), keys.into()));
    assert_eq!(outcomes(reply::int_map), ("c+c+cs".into(), keys.into()));
    assert_eq!(outcomes(reply::uint64_map), ("c+c+cs".into(), keys.into()));
    assert_eq!(
        outcomes(reply::float64_map),
        ("c+c+cs".into(), keys.into()),
        "integers: a defect of redigo"
    );
}

#[test]
fn map_errors_name_the_key() {
    fails(
        reply::int_map(Ok(bulks(["a", "1", "b", "x"]))),
        r#"expected an integer that fits i64, found "x" in field "b""#,
    );
    fails(
        reply::uint64_map(Ok(list([bulk("a"), Value::Int(-1)]))),
        r#"expected an integer that fits u64, found -1 in field "a""#,
    );
    fails(
        reply::int_map(Ok(list([bulk("a"), Value::Nil]))),
        r#"expected an integer, found nil in field "a""#,
    );
    fails(
        reply::string_map(Ok(list([bulk("a"), Value::simple("OK")]))),
        r#"expected a bulk string, found a simple string in field "a""#,
    );
    fails(
        reply::string_map(Ok(list([bulk("a"), bulk("b"), Value::simple("c"), bulk("d")]))),
        "expected a bulk string, found a simple string at element [2]",
    );
    fails(reply::string_map(Ok(bulks(["a"]))), "expected a list of even length, found length 1");
    fails(
        reply::string_map(Ok(Value::Int(1))),
        "expected a list of keys and values, found an integer",
    );
}

#[test]
fn helpers_return_nil_and_the_error_of_the_call() {
    fn check<T: Debug>(helper: fn(Result<Value>) -> Result<T>) {
        assert!(matches!(helper(Err(Error::PoolClosed)).unwrap_err(), Error::PoolClosed));
        assert!(helper(Ok(Value::Nil)).unwrap_err().is_nil());
        let error = helper(Ok(Value::Error(ServerError::new("ERR no")))).unwrap_err();
        assert_eq!(error.as_server().map(ServerError::message), Some("ERR no"));
        assert!(reply::optional(helper(Ok(Value::Nil))).unwrap().is_none());
        assert!(reply::optional(helper(Err(Error::PoolClosed))).is_err());
        assert!(matches!(helper(Ok(bulk("x"))).unwrap_err(), Error::Convert(_)));
        assert!(matches!(helper(Ok(Value::Int(1))).unwrap_err(), Error::Convert(_)));
    }
    check(reply::string_map);
    check(reply::int_map);
    check(reply::uint64_map);
    check(reply::float64_map);
    check(reply::positions);
    check(reply::slow_logs);
    check(reply::latencies);
    check(reply::latency_histories);
    assert_eq!(reply::optional(reply::int(Ok(bulk("7")))).unwrap(), Some(7));
}

// ---- pairs ----

#[test]
fn scores_and_hashes_of_a_server_convert_to_pairs() {
    let mut conn = connect(RedisServer::shared());
    conn.call("ZADD", ("pairs:scores", 2.5, "alice", 3, "bob")).unwrap();
    let scores: Vec<(String, f64)> =
        conn.query("ZRANGE", ("pairs:scores", 0, -1, "WITHSCORES")).unwrap();
    assert_eq!(scores, [("alice".to_string(), 2.5), ("bob".to_string(), 3.0)]);
    conn.call("HSET", ("pairs:hash", "title", "Red", "label", "4AD")).unwrap();
    let fields: Vec<(String, String)> = conn.query("HGETALL", "pairs:hash").unwrap();
    assert_eq!(fields[1], ("label".to_string(), "4AD".to_string()));
    let missing: Vec<(String, String)> = conn.query("HGETALL", "pairs:missing").unwrap();
    assert!(missing.is_empty());
}

#[test]
fn errors_inside_exec_are_not_ignored() {
    let mut conn = connect(RedisServer::shared());
    conn.call("SET", ("exec:text", "x")).unwrap();
    for (command, args) in [("INCR", ["exec:text"]), ("LPOP", ["exec:text"])] {
        conn.call("MULTI", ()).unwrap();
        conn.call(command, args).unwrap();
        let error = conn.query::<()>("EXEC", ()).unwrap_err();
        assert!(error.as_server().is_some(), "{error:?}");
    }
    conn.call("MULTI", ()).unwrap();
    conn.call("STRLEN", "exec:text").unwrap();
    fails(
        conn.query::<i64>("EXEC", ()),
        "expected an integer, found a list of one element (ask for `(i64,)` to read it)",
    );
    let set = conn.query::<Option<()>>("SET", ("exec:text", "y", "NX")).unwrap();
    assert_eq!(set, None);
}

// ---- positions ----

#[test]
fn r207_positions() {
    let positions =
        reply::positions(Ok(list([bulks(["1", "2"]), Value::Nil, bulks(["3", "4"])]))).unwrap();
    assert_eq!(positions, [Some((1.0, 2.0)), None, Some((3.0, 4.0))]);
}

#[test]
fn malformed_positions_are_errors() {
    fails(
        reply::positions(Ok(list([Value::Nil, bulks(["1"])]))),
        "expected length 2, found length 1 at element [1]",
    );
    fails(
        reply::positions(Ok(list([bulks(["1", "2", "3"])]))),
        "expected length 2, found length 3 at element [0]",
    );
    fails(
        reply::positions(Ok(list([bulks(["1", "x"])]))),
        r#"expected a number that fits f64, found "x" at element [0][1]"#,
    );
    fails(
        reply::positions(Ok(list([list([bulk("1"), Value::Nil])]))),
        "expected a number, found nil at element [0][1]",
    );
}

#[test]
fn positions_are_longitude_then_latitude() {
    let mut conn = connect(RedisServer::shared());
    conn.call("GEOADD", ("sicily", "13.5", "38.25", "palermo")).unwrap();
    let positions = reply::positions(conn.call("GEOPOS", ("sicily", "palermo", "nowhere")));
    let [Some((longitude, latitude)), None] = positions.unwrap()[..] else {
        panic!("one member exists, one does not");
    };
    assert!((longitude - 13.5).abs() < 1e-4, "{longitude}");
    assert!((latitude - 38.25).abs() < 1e-4, "{latitude}");
}

// ---- the slow log ----

fn slow_log<const N: usize>(items: [Value; N]) -> Result<Vec<SlowLog>> {
    reply::slow_logs(Ok(list([list(items)])))
}

#[test]
fn r208_slow_logs() {
    let args = list([Value::simple("set"), Value::simple("x"), Value::simple("y")]);
    let logs = slow_log([
        Value::Int(1),
        Value::Int(1_579_625_870),
        Value::Int(3),
        args,
        Value::simple("localhost:1234"),
        Value::simple("testClient"),
    ])
    .unwrap();
    let [log] = &logs[..] else { panic!("{logs:?}") };
    assert_eq!(log.id, 1);
    assert_eq!(log.time, unix(1_579_625_870));
    assert_eq!(log.execution_time, Duration::from_micros(3));
    assert_eq!(log.args, ["set", "x", "y"]);
    assert_eq!(
        (log.client_addr.as_str(), log.client_name.as_str()),
        ("localhost:1234", "testClient")
    );
}

#[test]
fn slow_log_entries_can_have_other_lengths() {
    let [id, time, micros] = [1, 2, 3].map(Value::Int);
    let start = || [id.clone(), time.clone(), micros.clone(), bulks(["GET"])];
    let [a, b, c, d] = start();
    let old = slow_log([a, b, c, d]).unwrap();
    assert_eq!((old[0].client_addr.as_str(), old[0].client_name.as_str()), ("", ""));
    let [a, b, c, d] = start();
    assert_eq!(slow_log([a, b, c, d, bulk("addr")]).unwrap(), old, "of five items, four are read");
    let [a, b, c, d] = start();
    let new = slow_log([a, b, c, d, bulk("addr"), bulk("name"), bulk("news")]).unwrap();
    assert_eq!((new[0].client_addr.as_str(), new[0].client_name.as_str()), ("addr", "name"));

    let short = "expected an entry of at least four items, found length";
    fails(slow_log([]), &format!("{short} 0 at element [0]"));
    fails(slow_log([id, time, micros]), &format!("{short} 3 at element [0]"));
    assert!(reply::slow_logs(Ok(list([]))).unwrap().is_empty());
}

/// Redis Enterprise sends the complexity of the command before its arguments.
#[test]
fn slow_log_entries_of_redis_enterprise_are_read() {
    let start = || [1, 2, 3].map(Value::Int);
    for complexity in [bulk("N:10"), Value::Nil, Value::Int(10)] {
        let [id, time, micros] = start();
        let args = bulks(["KEYS", "*"]);
        let logs = slow_log([id, time, micros, complexity, args, bulk("addr"), bulk("name")]);
        let [log] = &logs.unwrap()[..] else { panic!("one entry") };
        assert_eq!(log.args, ["KEYS", "*"]);
        assert_eq!((log.client_addr.as_str(), log.client_name.as_str()), ("addr", "name"));
    }
    let [id, time, micros] = start();
    let logs = slow_log([id, time, micros, bulk("N:10"), bulks(["KEYS", "*"])]).unwrap();
    assert_eq!((logs[0].args.len(), logs[0].client_addr.as_str()), (2, ""));
    let [id, time, micros] = start();
    fails(
        slow_log([id, time, micros, bulk("N:10"), list([Value::Int(5)])]),
        "expected a string, found an integer at element [0][4][0]",
    );
}

#[test]
fn malformed_slow_logs_are_errors() {
    let args = || bulks(["GET"]);
    fails(
        slow_log([bulk("x"), Value::Int(1), Value::Int(1), args()]),
        r#"expected an integer that fits i64, found "x" at element [0][0]"#,
    );
    fails(
        slow_log([Value::Int(1), Value::Int(-1), Value::Int(1), args()]),
        "expected an integer that fits u64, found -1 at element [0][1]",
    );
    fails(
        slow_log([Value::Int(1), bulk("18446744073709551615"), Value::Int(1), args()]),
        "expected a time that the system can represent, found 18446744073709551615 seconds since 1970 \
         at element [0][1]",
    );
    fails(
        slow_log([Value::Int(1), Value::Int(1), Value::Int(-1), args()]),
        "expected an integer that fits u64, found -1 at element [0][2]",
    );
    fails(
        slow_log([Value::Int(1), Value::Int(1), Value::Int(1), list([Value::Int(5)])]),
        "expected a string, found an integer at element [0][3][0]",
    );
    fails(
        slow_log([Value::Int(1), Value::Int(1), Value::Int(1), list([list([])])]),
        "expected a string, found a list at element [0][3][0]",
    );
    fails(
        reply::slow_logs(Ok(list([Value::Nil]))),
        "expected an entry of the slow log, found nil at element [0]",
    );
}

#[test]
fn slow_log_arguments_can_be_any_bytes() {
    let args = list([bulk("SET"), Value::from(&b"caf\xe9"[..])]);
    let logs = slow_log([Value::Int(1), Value::Int(1), Value::Int(1), args]).unwrap();
    assert_eq!(logs[0].args, ["SET", "caf\u{fffd}"]);
}

#[test]
fn r209_slow_log_of_a_server() {
    const THRESHOLD: &str = "slowlog-log-slower-than";
    let server = RedisServer::start();
    let mut conn = connect(&server);
    let old = reply::string_map(conn.call("CONFIG", ("GET", THRESHOLD))).unwrap();
    conn.call("CONFIG", ("SET", THRESHOLD, "0")).unwrap();
    let logs = reply::slow_logs(conn.call("SLOWLOG", "GET")).unwrap();
    conn.call("CONFIG", ("SET", THRESHOLD, old[THRESHOLD].as_str())).unwrap();
    assert_eq!(logs[0].args, ["CONFIG", "SET", THRESHOLD, "0"]);
    assert!(logs[0].time > unix(1_500_000_000));
    assert!(logs[0].client_addr.contains(':'), "{:?}", logs[0]);
    let typed: Vec<SlowLog> = conn.query("SLOWLOG", "GET").unwrap();
    assert!(typed.contains(&logs[0]), "{typed:?}");
}

// ---- the latency monitor ----

#[test]
fn r210_latencies_of_a_server() {
    let server = RedisServer::start();
    let mut conn = connect(&server);
    conn.call("CONFIG", ("SET", "latency-monitor-threshold", "1")).unwrap();
    conn.call("DEBUG", ("SLEEP", "0.001")).unwrap();
    let latencies = reply::latencies(conn.call("LATENCY", "LATEST")).unwrap();
    // A busy machine can cause other events too.
    let latency = latencies.iter().find(|latency| latency.name == "command");
    let latency = latency.unwrap_or_else(|| panic!("{latencies:?}"));
    assert!(latency.latest >= Duration::from_millis(1), "{latency:?}");
    assert!(latency.max >= latency.latest, "{latency:?}");
    assert!(latency.time > unix(1_500_000_000));
    let typed: Vec<Latency> = conn.query("LATENCY", "LATEST").unwrap();
    assert!(typed.iter().any(|latency| latency.name == "command"), "{typed:?}");
}

#[test]
fn r211_latency_history_of_a_server() {
    let server = RedisServer::start();
    let mut conn = connect(&server);
    conn.call("LATENCY", ("RESET", "command")).unwrap();
    conn.call("CONFIG", ("SET", "latency-monitor-threshold", "1")).unwrap();
    conn.call("DEBUG", ("SLEEP", "0.001")).unwrap();
    let history = conn.call("LATENCY", ("HISTORY", "command"));
    let history = reply::latency_histories(history).unwrap();
    assert!(!history.is_empty());
    assert!(history.iter().all(|spike| spike.execution_time >= Duration::from_millis(1)));
    assert!(history.iter().all(|spike| spike.time > unix(1_500_000_000)));
}

#[test]
fn malformed_latencies_are_errors() {
    let event = |numbers: [i64; 2]| {
        let [latest, max] = numbers.map(Value::Int);
        list([bulk("fork"), Value::Int(1), latest, max])
    };
    let latencies = reply::latencies(Ok(list([event([2, 3])]))).unwrap();
    assert_eq!(latencies[0].latest, Duration::from_millis(2));
    assert_eq!(latencies[0].max, Duration::from_millis(3));
    fails(
        reply::latencies(Ok(list([event([2, -3])]))),
        "expected an integer that fits u64, found -3 at element [0][3]",
    );
    fails(
        reply::latencies(Ok(list([event([2, 3]), list([bulk("fork"), Value::Int(1)])]))),
        "expected an entry of at least four items, found length 2 at element [1]",
    );
    fails(
        reply::latencies(Ok(list([Value::Int(1)]))),
        "expected a list, found an integer at element [0]",
    );
    let newer = list([bulk("fork"), Value::Int(1), Value::Int(2), Value::Int(3), Value::Int(9)]);
    assert_eq!(reply::latencies(Ok(list([newer]))).unwrap(), latencies, "a fifth item is ignored");
}

#[test]
fn short_entries_of_a_latency_history_are_errors() {
    let history = reply::latency_histories(Ok(list([ints([5, 7])]))).unwrap();
    assert_eq!(history[0].time, unix(5));
    assert_eq!(history[0].execution_time, Duration::from_millis(7));
    let typed: Vec<LatencyHistory> = list([ints([5, 7])]).convert().unwrap();
    assert_eq!(typed, history);
    let short = "expected an entry of at least two items, found length";
    fails(reply::latency_histories(Ok(list([ints([5])]))), &format!("{short} 1 at element [0]"));
    fails(reply::latency_histories(Ok(list([list([])]))), &format!("{short} 0 at element [0]"));
    fails(
        reply::latency_histories(Ok(list([ints([-5, 7])]))),
        "expected an integer that fits u64, found -5 at element [0][0]",
    );
}
