//! Conversion of replies: redigo's helper functions and `FromValue`.
//!
//! Tests with an R number repeat rows of redigo's TestReply (commit 57c8b99).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::error::Error as _;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::str::Utf8Error;

use redigo::{Error, FromValue, Result, ServerError, Value, reply};

use crate::support::values::{bulk, bulks, list};

type Reply<T> = fn(Result<Value>) -> Result<T>;

fn wrong_type() -> ServerError {
    ServerError::new("WRONGTYPE no")
}

/// One letter for the result: `+` a value, `n` nil, `s` the server's error, `c` a conversion error.
fn outcome<T>(result: Result<T>) -> char {
    match result {
        Ok(_) => '+',
        Err(Error::Nil) => 'n',
        Err(Error::Server(error)) if error == wrong_type() => 's',
        Err(Error::Convert(_)) => 'c',
        Err(other) => panic!("{other:?}"),
    }
}

/// The results for nil, an integer, a simple string, a bulk string, a list of two, and an error.
fn outcomes<T>(convert: impl Fn(Value) -> Result<T>) -> String {
    let kinds = [
        Value::Nil,
        Value::Int(1),
        Value::simple("1"),
        bulk("1"),
        bulks(["1", "1"]),
        Value::Error(wrong_type()),
    ];
    kinds.into_iter().map(|value| outcome(convert(value))).collect()
}

#[track_caller]
fn fails<T: FromValue + Debug>(value: Value, expected: &str) {
    let error = value.convert::<T>().unwrap_err();
    assert!(matches!(error, Error::Convert(_)), "{error:?}");
    assert_eq!(error.to_string(), expected);
}

// ---- redigo's table ----

#[test]
fn r188_to_r193_ints() {
    assert_eq!(reply::ints(Ok(bulks(["4", "5"]))).unwrap(), [4, 5], "R188, R192");
    let numbers = list([Value::Int(4), Value::Int(5)]);
    assert_eq!(reply::ints(Ok(numbers)).unwrap(), [4, 5], "R189, R193");
    let with_nil = list([bulk("4"), Value::Nil, bulk("5")]);
    assert_eq!(reply::ints(Ok(with_nil)).unwrap(), [4, 0, 5], "R190");
    assert!(reply::ints(Ok(Value::Nil)).unwrap_err().is_nil(), "R191");
}

#[test]
fn r194_uint64s_reach_the_maximum() {
    let reply = Ok(bulks(["18446744073709551615", "5"]));
    assert_eq!(reply::uint64s(reply).unwrap(), [u64::MAX, 5]);
}

#[test]
fn r196_r197_strings_from_bulk_and_simple_strings() {
    assert_eq!(reply::strings(Ok(bulks(["v1", "v2"]))).unwrap(), ["v1", "v2"], "R196");
    let simple = list([Value::simple("v1"), Value::simple("v2")]);
    assert_eq!(reply::strings(Ok(simple)).unwrap(), ["v1", "v2"], "R197");
}

#[test]
fn r198_byte_slices() {
    let slices = reply::byte_slices(Ok(bulks(["v1", "v2"]))).unwrap();
    assert_eq!(slices, [Some(b"v1".to_vec()), Some(b"v2".to_vec())]);
}

#[test]
fn r199_float64s() {
    assert_eq!(reply::float64s(Ok(bulks(["1.234", "5.678"]))).unwrap(), [1.234, 5.678]);
}

#[test]
fn r200_r201_values() {
    let values = reply::values(Ok(bulks(["v1", "v2"]))).unwrap();
    assert_eq!(values, [bulk("v1"), bulk("v2")], "R200");
    assert!(reply::values(Ok(Value::Nil)).unwrap_err().is_nil(), "R201");
}

#[test]
fn r202_r203_float64() {
    assert_eq!(reply::float64(Ok(bulk("1.0"))).unwrap(), 1.0, "R202");
    assert!(reply::float64(Ok(Value::Nil)).unwrap_err().is_nil(), "R203");
}

#[test]
fn r205_r206_uint64() {
    assert_eq!(reply::uint64(Ok(Value::Int(1))).unwrap(), 1, "R205");
    let error = reply::uint64(Ok(Value::Int(-1))).unwrap_err();
    assert_eq!(error.to_string(), "expected an integer that fits u64, found -1", "R206");
}

// ---- rules that redigo has no tests for ----

#[test]
fn helpers_accept_the_kinds_of_replies_that_redigo_accepts() {
    assert_eq!(outcomes(|value| reply::int(Ok(value))), "n+c+cs");
    assert_eq!(outcomes(|value| reply::uint64(Ok(value))), "n+c+cs");
    assert_eq!(
        outcomes(|value| reply::float64(Ok(value))),
        "n+c+cs",
        "integers: a defect of redigo"
    );
    assert_eq!(outcomes(|value| reply::bool(Ok(value))), "n+c+cs");
    assert_eq!(outcomes(|value| reply::string(Ok(value))), "nc++cs");
    assert_eq!(outcomes(|value| reply::bytes(Ok(value))), "nc++cs");
    assert_eq!(outcomes(|value| reply::values(Ok(value))), "nccc+s");
    assert_eq!(outcomes(|value| reply::strings(Ok(value))), "nccc+s");
    assert_eq!(outcomes(|value| reply::byte_slices(Ok(value))), "nccc+s");
    assert_eq!(outcomes(|value| reply::ints(Ok(value))), "nccc+s");
    assert_eq!(outcomes(|value| reply::float64s(Ok(value))), "nccc+s");
    assert_eq!(outcomes(|value| reply::uint64s(Ok(value))), "nccc+s");
}

#[test]
fn list_helpers_accept_the_elements_that_redigo_accepts() {
    /// A list with one element of each kind.
    fn elements<T>(helper: Reply<T>) -> String {
        outcomes(|value| helper(Ok(list([bulk("7"), value]))))
    }
    assert_eq!(elements(reply::ints), "++c+cs");
    assert_eq!(elements(reply::uint64s), "++c+cs", "integers: a defect of redigo");
    assert_eq!(elements(reply::float64s), "++c+cs", "integers: a defect of redigo");
    assert_eq!(elements(reply::strings), "+c++cs");
    assert_eq!(elements(reply::byte_slices), "+cc+cs");
    assert_eq!(elements(reply::values), "++++++");
}

#[test]
fn a_nil_element_becomes_the_zero_value() {
    let with_nil = || Ok(list([Value::Nil, bulk("1")]));
    assert_eq!(reply::uint64s(with_nil()).unwrap(), [0, 1]);
    assert_eq!(reply::float64s(with_nil()).unwrap(), [0.0, 1.0]);
    assert_eq!(reply::strings(with_nil()).unwrap(), ["", "1"]);
    assert_eq!(reply::byte_slices(with_nil()).unwrap(), [None, Some(b"1".to_vec())]);
    assert_eq!(reply::values(with_nil()).unwrap(), [Value::Nil, bulk("1")]);
}

#[test]
fn helpers_return_the_error_of_the_call() {
    fn check<T: Debug>(helper: Reply<T>) {
        assert!(matches!(helper(Err(Error::PoolClosed)).unwrap_err(), Error::PoolClosed));
    }
    check(reply::int);
    check(reply::uint64);
    check(reply::float64);
    check(reply::string);
    check(reply::bytes);
    check(reply::bool);
    check(reply::values);
    check(reply::strings);
    check(reply::byte_slices);
    check(reply::ints);
    check(reply::float64s);
    check(reply::uint64s);
}

#[test]
fn the_error_of_an_element_names_its_index() {
    let error = reply::byte_slices(Ok(list([bulk("a"), Value::Int(1)]))).unwrap_err();
    assert_eq!(error.to_string(), "expected a bulk string, found an integer at element [1]");
    let error = reply::ints(Ok(bulks(["1", "x"]))).unwrap_err();
    let expected = r#"expected an integer that fits i64, found "x" at element [1]"#;
    assert_eq!(error.to_string(), expected);
}

// ---- FromValue ----

#[test]
fn each_type_accepts_only_its_kinds_of_replies() {
    macro_rules! table {
        ($($type:ty => $outcomes:literal)*) => {
            $(assert_eq!(outcomes(Value::convert::<$type>), $outcomes, stringify!($type));)*
        };
    }
    table! {
        () => "+++++s"
        Value => "++++++"
        bool => "n+c+cs"
        i8 => "n+c+cs"
        i16 => "n+c+cs"
        i32 => "n+c+cs"
        i64 => "n+c+cs"
        i128 => "n+c+cs"
        isize => "n+c+cs"
        u8 => "n+c+cs"
        u16 => "n+c+cs"
        u32 => "n+c+cs"
        u64 => "n+c+cs"
        u128 => "n+c+cs"
        usize => "n+c+cs"
        f32 => "n+c+cs"
        f64 => "n+c+cs"
        String => "nc++cs"
        Box<str> => "nc++cs"
        Vec<u8> => "nc+++s"
        [u8; 1] => "nc++cs"
        [u8; 2] => "nccc+s"
        Vec<Value> => "nccc+s"
        Vec<String> => "nccc+s"
        [i64; 2] => "nccc+s"
        [i64; 1] => "nccccs"
        (i64,) => "nccccs"
        (i64, String) => "nccc+s"
        (i64, String, ()) => "nccccs"
        HashMap<String, i64> => "nccc+s"
        BTreeMap<Vec<u8>, bool> => "nccc+s"
        HashSet<i64> => "nccc+s"
        BTreeSet<u8> => "nccc+s"
        Option<()> => "+++++s"
        Option<Value> => "++++++"
        Option<i64> => "++c+cs"
        Option<String> => "+c++cs"
        Option<Vec<u8>> => "+c+++s"
        Option<Vec<i64>> => "+ccc+s"
        Option<Option<i64>> => "++c+cs"
    }
}

#[test]
fn integers_out_of_range_are_errors() {
    /// The number in each kind of reply that can represent it.
    fn replies(number: i128) -> Vec<(Value, String)> {
        let mut replies = vec![(bulk(&number.to_string()), format!("\"{number}\""))];
        replies.extend(i64::try_from(number).map(|int| (Value::Int(int), int.to_string())));
        replies
    }
    macro_rules! check {
        ($($type:ident)*) => {$(
            for number in [<$type>::MIN, <$type>::MAX] {
                for (reply, _) in replies(number as i128) {
                    assert_eq!(reply.convert::<$type>().unwrap(), number);
                }
            }
            for outside in [<$type>::MIN as i128 - 1, <$type>::MAX as i128 + 1] {
                for (reply, found) in replies(outside) {
                    let wanted = concat!("an integer that fits ", stringify!($type));
                    fails::<$type>(reply, &format!("expected {wanted}, found {found}"));
                }
            }
        )*};
    }
    check! { i8 i16 i32 i64 isize u8 u16 u32 u64 usize }
    assert_eq!(bulk(&i128::MIN.to_string()).convert::<i128>().unwrap(), i128::MIN);
    assert_eq!(bulk(&u128::MAX.to_string()).convert::<u128>().unwrap(), u128::MAX);
    assert_eq!(outcome(Value::Int(-1).convert::<u128>()), 'c');
}

#[test]
fn integers_are_parsed_like_go() {
    for (text, signed, unsigned) in [
        ("0", Some(0), Some(0)),
        ("007", Some(7), Some(7)),
        ("+5", Some(5), None),
        ("-5", Some(-5), None),
        ("-0", Some(0), None),
        ("", None, None),
        ("+", None, None),
        ("-", None, None),
        ("++1", None, None),
        (" 1", None, None),
        ("1 ", None, None),
        ("1.0", None, None),
        ("1e3", None, None),
        ("1_000", None, None),
        ("0x10", None, None),
        ("٣", None, None),
    ] {
        assert_eq!(bulk(text).convert::<i64>().ok(), signed, "{text:?} as i64");
        assert_eq!(bulk(text).convert::<u64>().ok(), unsigned, "{text:?} as u64");
    }
    assert_eq!(outcome(Value::from(&b"1\xff"[..]).convert::<i64>()), 'c');
}

#[test]
fn floats_are_parsed_like_go() {
    for (text, expected) in [
        ("1.5", 1.5),
        ("-3", -3.0),
        ("+.5", 0.5),
        ("1e+06", 1e6),
        ("1E-3", 1e-3),
        ("inf", f64::INFINITY),
        ("+Inf", f64::INFINITY),
        ("-inf", f64::NEG_INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("1.7976931348623157e308", f64::MAX),
        ("1e-400", 0.0),
    ] {
        assert_eq!(bulk(text).convert::<f64>().unwrap(), expected, "{text:?}");
    }
    for nan in ["nan", "NaN", "NAN"] {
        assert!(bulk(nan).convert::<f64>().unwrap().is_nan(), "{nan:?}");
        assert!(bulk(nan).convert::<f32>().unwrap().is_nan(), "{nan:?}");
    }
    for bad in ["", ".", "1,5", " 1", "1 ", "infin", "e5", "1e309", "-1e400"] {
        assert_eq!(outcome(bulk(bad).convert::<f64>()), 'c', "{bad:?}");
    }
    assert_eq!(bulk("-inf").convert::<f32>().unwrap(), f32::NEG_INFINITY);
    fails::<f32>(bulk("1e39"), r#"expected a number that fits f32, found "1e39""#);
    assert_eq!(Value::Int(-2).convert::<f32>().unwrap(), -2.0);
    assert_eq!(Value::Int(i64::MAX).convert::<f64>().unwrap(), 9_223_372_036_854_775_808.0);
}

#[test]
fn booleans_are_parsed_like_go() {
    for text in ["1", "t", "T", "TRUE", "true", "True"] {
        assert!(bulk(text).convert::<bool>().unwrap(), "{text:?}");
    }
    for text in ["0", "f", "F", "FALSE", "false", "False"] {
        assert!(!bulk(text).convert::<bool>().unwrap(), "{text:?}");
    }
    for text in ["", "2", "yes", "no", "tRUE", "on", "1 "] {
        assert_eq!(outcome(bulk(text).convert::<bool>()), 'c', "{text:?}");
    }
    assert!(Value::Int(-1).convert::<bool>().unwrap());
    assert!(!Value::Int(0).convert::<bool>().unwrap());
}

#[test]
fn strings_must_be_utf8_but_bytes_need_not() {
    let raw = || Value::from(&b"caf\xe9"[..]);
    assert_eq!(raw().convert::<Vec<u8>>().unwrap(), b"caf\xe9");
    assert_eq!(raw().convert::<[u8; 4]>().unwrap(), *b"caf\xe9");
    assert_eq!(Value::simple("OK").convert::<Vec<u8>>().unwrap(), b"OK");
    assert_eq!(list([Value::Int(1), bulk("255")]).convert::<Vec<u8>>().unwrap(), [1, 255]);
    assert_eq!(bulk("café").convert::<String>().unwrap(), "café");
    assert_eq!(&*bulk("café").convert::<Box<str>>().unwrap(), "café");

    let error = raw().convert::<String>().unwrap_err();
    let source = error.source().and_then(|source| source.downcast_ref::<Utf8Error>());
    assert_eq!(source.map(Utf8Error::valid_up_to), Some(3));
    let start = r#"expected a UTF-8 string, found "caf\xe9""#;
    assert!(error.to_string().starts_with(start), "{error}");
}

#[test]
fn errors_cut_a_long_text() {
    let long = "9".repeat(1000);
    let expected = format!("expected an integer that fits i64, found \"{}\"…", &long[..32]);
    fails::<i64>(bulk(&long), &expected);
}

#[test]
fn errors_name_the_expected_and_the_found_reply() {
    fails::<i64>(Value::simple("OK"), "expected an integer, found a simple string");
    fails::<f64>(Value::simple("OK"), "expected a number, found a simple string");
    fails::<bool>(list([]), "expected a boolean, found a list");
    fails::<bool>(bulk("yes"), r#"expected a boolean, found "yes""#);
    fails::<String>(Value::Int(1), "expected a string, found an integer");
    fails::<Vec<u8>>(Value::Int(1), "expected a string, found an integer");
    fails::<Vec<i64>>(bulk("1"), "expected a list, found a bulk string");
    fails::<(i64, i64)>(Value::Int(1), "expected a list, found an integer");
    fails::<HashSet<i64>>(Value::Int(1), "expected a list, found an integer");
    fails::<BTreeMap<i64, i64>>(
        Value::Int(1),
        "expected a list of keys and values, found an integer",
    );
}

#[test]
fn a_wrong_length_is_an_error_with_both_lengths() {
    assert_eq!(bulks(["1", "2", "3"]).convert::<[i64; 3]>().unwrap(), [1, 2, 3]);
    assert_eq!(list([]).convert::<[i64; 0]>().unwrap(), [0_i64; 0]);
    fails::<[i64; 3]>(bulks(["1", "2"]), "expected length 3, found length 2");
    fails::<[u8; 16]>(bulk("short"), "expected length 16, found length 5");
    fails::<(i64, i64)>(bulks(["1", "2", "3"]), "expected length 2, found length 3");
    fails::<(i64,)>(list([]), "expected length 1, found length 0");
    fails::<HashMap<String, i64>>(
        bulks(["a", "1", "b"]),
        "expected a list of even length, found length 3",
    );
}

#[test]
fn errors_name_the_path_to_the_element() {
    fails::<Vec<i64>>(
        list([bulk("1"), bulk("2"), bulk("3"), Value::Nil]),
        "expected an integer, found nil at element [3]",
    );
    let nested = || list([bulks(["1"]), list([bulk("2"), Value::Nil])]);
    fails::<Vec<Vec<i64>>>(nested(), "expected an integer, found nil at element [1][1]");
    fails::<Vec<HashSet<i64>>>(nested(), "expected an integer, found nil at element [1][1]");
    fails::<([i64; 1], (i64, String))>(nested(), "expected a string, found nil at element [1][1]");
    fails::<Vec<Vec<u8>>>(list([Value::Nil]), "expected a string, found nil at element [0]");
    fails::<Vec<[u8; 2]>>(list([bulk("a")]), "expected length 2, found length 1 at element [0]");
    fails::<Vec<Vec<i64>>>(list([Value::Nil]), "expected a list, found nil at element [0]");
    fails::<BTreeMap<String, i64>>(
        bulks(["a", "1", "b", "x"]),
        r#"expected an integer that fits i64, found "x" at element [3]"#,
    );
    fails::<BTreeMap<String, i64>>(
        list([bulk("a"), bulk("1"), Value::Nil, bulk("2")]),
        "expected a string, found nil at element [2]",
    );
    fails::<BTreeSet<Option<bool>>>(
        list([Value::Nil, bulk("no")]),
        r#"expected a boolean, found "no" at element [1]"#,
    );
}

#[test]
fn a_server_error_is_returned_from_any_depth() {
    let aborted = || list([list([bulk("1"), Value::Error(wrong_type())]), bulk("2")]);
    assert_eq!(outcome(aborted().convert::<(Vec<i64>, i64)>()), 's');
    assert_eq!(outcome(aborted().convert::<((i64, Option<i64>), i64)>()), 's');
    assert_eq!(outcome(aborted().convert::<(BTreeMap<i64, String>, i64)>()), 's');
    assert_eq!(outcome(aborted().convert::<(HashSet<i64>, i64)>()), 's');
    assert_eq!(outcome(aborted().convert::<(((), ()), ())>()), 's');
    let elements = aborted().convert::<(Vec<Value>, i64)>().unwrap().0;
    assert_eq!(elements, [bulk("1"), Value::Error(wrong_type())], "Value keeps it");
    assert_eq!(outcome(aborted().convert::<()>()), 's');
    assert_eq!(outcome(aborted().convert::<Option<()>>()), 's');
    assert_eq!(outcome(list([Value::Error(wrong_type())]).convert::<Vec<(i64, i64)>>()), 's');
}

#[test]
fn a_list_of_one_element_names_the_type_that_reads_it() {
    let one = || bulks(["7"]);
    let error = |wanted: &str, name: &str| {
        format!("expected {wanted}, found a list of one element (ask for `({name},)` to read it)")
    };
    fails::<i64>(one(), &error("an integer", "i64"));
    fails::<u8>(list([Value::Int(7)]), &error("an integer", "u8"));
    fails::<f32>(one(), &error("a number", "f32"));
    fails::<bool>(one(), &error("a boolean", "bool"));
    fails::<Option<String>>(one(), &error("a string", "String"));
    assert_eq!(one().convert::<(i64,)>().unwrap(), (7,));
    for other in [list([]), bulks(["7", "8"]), list([one()]), list([Value::Nil])] {
        fails::<i64>(other, "expected an integer, found a list");
    }
}

#[test]
fn flat_and_nested_lists_convert_to_tuples() {
    let scores = [("alice".to_string(), 2.5), ("bob".to_string(), 3.0)];
    let flat = || bulks(["alice", "2.5", "bob", "3"]);
    let nested = || list([bulks(["alice", "2.5"]), bulks(["bob", "3"])]);
    for reply in [flat, nested] {
        assert_eq!(reply().convert::<Vec<(String, f64)>>().unwrap(), scores);
        assert_eq!(reply().convert::<[(String, f64); 2]>().unwrap(), scores);
        assert_eq!(reply().convert::<Option<Vec<(String, f64)>>>().unwrap().unwrap(), scores);
    }
    let sets = flat().convert::<BTreeSet<(String, String)>>().unwrap();
    assert_eq!(sets.first().unwrap().0, "alice");
    assert!(list([]).convert::<Vec<(String, f64)>>().unwrap().is_empty());
    let triples: Vec<(i64, Option<i64>, Vec<u8>)> =
        list([bulk("1"), Value::Nil, bulk("x"), Value::Int(2), bulk("3"), bulk("y")])
            .convert()
            .unwrap();
    assert_eq!(triples, [(1, None, b"x".to_vec()), (2, Some(3), b"y".to_vec())]);
    // A list as a later member of a flat row.
    let streams: Vec<(String, Vec<String>)> =
        list([bulk("a"), bulks(["1", "2"]), bulk("b"), list([])]).convert().unwrap();
    assert_eq!(streams, [("a".into(), vec!["1".into(), "2".into()]), ("b".into(), vec![])]);
    assert_eq!(list([Value::Nil, bulk("1")]).convert::<Vec<((), u8)>>().unwrap(), [((), 1)]);
    // The fields of HGETALL keep their order.
    let pairs: Vec<(String, String)> = bulks(["b", "1", "a", "2"]).convert().unwrap();
    assert_eq!(pairs[0], ("b".to_string(), "1".to_string()));

    fails::<Vec<(i64, i64)>>(
        bulks(["1", "2", "3"]),
        "expected a length that is a multiple of 2, found length 3",
    );
    fails::<Vec<(String, f64)>>(
        bulks(["alice", "1", "bob", "x"]),
        r#"expected a number that fits f64, found "x" at element [3]"#,
    );
    fails::<Vec<(String, f64)>>(
        list([bulks(["alice", "1"]), bulk("bob")]),
        "expected a list, found a bulk string at element [1]",
    );
    fails::<Vec<Option<(i64, i64)>>>(
        bulks(["1", "2"]),
        "expected a list, found a bulk string at element [0]",
    );
}

#[test]
fn nil_converts_only_to_types_that_represent_it() {
    assert_eq!(Value::Nil.convert::<Option<Vec<i64>>>().unwrap(), None);
    let mixed = list([bulk("a"), Value::Nil]);
    assert_eq!(mixed.clone().convert::<Vec<Option<String>>>().unwrap(), [Some("a".into()), None]);
    let (text, (), value): (Option<String>, (), Value) =
        list([Value::Nil, Value::Nil, Value::Nil]).convert().unwrap();
    assert_eq!((text, value), (None, Value::Nil));
    let map: BTreeMap<String, Option<String>> = mixed.convert().unwrap();
    assert_eq!(map, BTreeMap::from([("a".to_string(), None)]));
}

#[test]
fn maps_and_sets_accept_any_hasher_and_keep_the_later_duplicate() {
    type Hasher = BuildHasherDefault<DefaultHasher>;
    let pairs = || bulks(["a", "1", "b", "2", "a", "3"]);
    let expected = [("a".to_string(), 3), ("b".to_string(), 2)];
    assert_eq!(pairs().convert::<HashMap<String, u8>>().unwrap(), HashMap::from(expected.clone()));
    assert_eq!(pairs().convert::<BTreeMap<String, u8>>().unwrap(), BTreeMap::from(expected));
    assert_eq!(pairs().convert::<HashMap<String, u8, Hasher>>().unwrap()["a"], 3);
    assert_eq!(list([]).convert::<HashMap<String, u8>>().unwrap().len(), 0);

    let members = || bulks(["2", "1", "2"]);
    assert_eq!(members().convert::<HashSet<u8>>().unwrap(), HashSet::from([1, 2]));
    assert_eq!(members().convert::<BTreeSet<u8>>().unwrap(), BTreeSet::from([1, 2]));
    assert!(members().convert::<HashSet<u8, Hasher>>().unwrap().contains(&2));
}

#[test]
fn tuples_have_up_to_twelve_members() {
    fn numbers(count: i64) -> Value {
        Value::Array((0..count).map(Value::Int).collect())
    }
    fn check<T: FromValue + PartialEq + Debug>(count: i64, expected: T) {
        assert_eq!(numbers(count).convert::<T>().unwrap(), expected);
        let error = format!("expected length {count}, found length {}", count + 1);
        fails::<T>(numbers(count + 1), &error);
    }
    check(1, (0,));
    check(2, (0, 1));
    check(3, (0, 1, 2));
    check(4, (0, 1, 2, 3));
    check(5, (0, 1, 2, 3, 4));
    check(6, (0, 1, 2, 3, 4, 5));
    check(7, (0, 1, 2, 3, 4, 5, 6));
    check(8, (0, 1, 2, 3, 4, 5, 6, 7));
    check(9, (0, 1, 2, 3, 4, 5, 6, 7, 8));
    check(10, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
    check(11, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
    check(12, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
}

#[test]
fn nested_replies_convert_to_nested_types() {
    // XREADGROUP: streams, their entries, and the fields of each.
    type Entry = (String, BTreeMap<String, String>);
    let entry = |id: &str| list([bulk(id), bulks(["field", "value"])]);
    let reply = list([list([bulk("stream"), list([entry("1-0"), entry("2-0")])])]);
    let streams: Vec<(String, Vec<Entry>)> = reply.convert().unwrap();
    assert_eq!(streams[0].0, "stream");
    assert_eq!(streams[0].1[1].0, "2-0");
    assert_eq!(streams[0].1[1].1["field"], "value");
    // SCAN: a cursor and keys.
    let reply = list([bulk("17"), bulks(["a", "b"])]);
    let (cursor, keys): (u64, Vec<Vec<u8>>) = reply.convert().unwrap();
    assert_eq!((cursor, keys), (17, vec![b"a".to_vec(), b"b".to_vec()]));
}

#[test]
fn errors_of_a_user_type_have_paths_and_nil() {
    #[derive(Debug, PartialEq)]
    struct Celsius(f64);
    impl FromValue for Celsius {
        fn from_value(value: Value) -> Result<Celsius> {
            value.convert().map(Celsius)
        }
    }
    assert_eq!(bulks(["1", "2.5"]).convert::<Vec<Celsius>>().unwrap()[1], Celsius(2.5));
    assert!(Value::Nil.convert::<Celsius>().unwrap_err().is_nil());
    fails::<Vec<Celsius>>(list([Value::Nil]), "expected a value, found nil at element [0]");
    fails::<Vec<Celsius>>(
        list([bulk("warm")]),
        r#"expected a number that fits f64, found "warm" at element [0]"#,
    );
}
