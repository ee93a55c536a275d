//! Structs, maps and slices as arguments, with serde.
//!
//! Tests with an R number repeat rows of redigo's TestArgs (commit 57c8b99).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redigo::scan::scan_struct;
use redigo::{Args, Dialer, Error};
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};

use crate::support::redis_server::RedisServer;

#[track_caller]
fn flat<T: Serialize + ?Sized>(value: &T) -> Vec<String> {
    texts(&Args::new().add_flat(value).unwrap())
}

fn texts(args: &Args) -> Vec<String> {
    args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

#[track_caller]
fn refused<T: Serialize + ?Sized>(value: &T, expected: &str) {
    let error = Args::new().add_flat(value).unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    assert_eq!(error.to_string(), format!("not supported: {expected}"));
    assert!(!error.is_fatal());
}

// ---- redigo's table ----

#[derive(Serialize)]
struct Everything {
    i: i64,
    u: u64,
    s: String,
    p: Vec<u8>,
    #[serde(rename = "Bt")]
    yes: bool,
    #[serde(rename = "Bf")]
    no: bool,
    #[serde(rename = "PtrB")]
    some_flag: Option<Box<bool>>,
    #[serde(rename = "PtrI")]
    none: Option<i64>,
    #[serde(rename = "PtrI2")]
    some: Option<i64>,
    #[serde(skip)]
    #[allow(dead_code)]
    hidden: i64,
}

#[test]
fn r303_a_struct() {
    let value = Everything {
        i: -1234,
        u: 5678,
        s: "hello".into(),
        p: b"world".to_vec(),
        yes: true,
        no: false,
        some_flag: Some(Box::new(true)),
        none: None,
        some: Some(5),
        hidden: 7,
    };
    let expected = [
        "i", "-1234", "u", "5678", "s", "hello", "p", "world", "Bt", "1", "Bf", "0", "PtrB", "1",
        "PtrI2", "5",
    ];
    assert_eq!(flat(&value), expected);
    assert_eq!(flat(&&&value), expected);

    // redigo adds the map in the format that Go prints.
    #[derive(Serialize)]
    struct WithMap {
        m: BTreeMap<String, String>,
    }
    refused(&WithMap { m: BTreeMap::new() }, r#"a map as an argument, in field "m""#);
}

#[test]
fn r304_a_plain_struct() {
    #[derive(Serialize)]
    struct Plain {
        #[serde(rename = "I")]
        int: i64,
    }
    assert_eq!(flat(&Plain { int: 123 }), ["I", "123"]);
}

/// A type with its own implementation of `Serialize`.
struct Time(SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let since = self.0.duration_since(UNIX_EPOCH).map_err(S::Error::custom)?;
        serializer.serialize_u64(since.as_secs())
    }
}

fn time() -> Time {
    Time(UNIX_EPOCH + Duration::from_secs(1_573_231_058))
}

#[test]
fn r305_to_r307_fields_with_their_own_implementation() {
    #[derive(Serialize)]
    struct Field<T> {
        #[serde(rename = "T")]
        time: T,
    }
    assert_eq!(flat(&Field { time: time() }), ["T", "1573231058"], "R305");
    assert_eq!(flat(&Field { time: Box::new(time()) }), ["T", "1573231058"], "R306");
    assert_eq!(flat(&Field { time: Some(&time()) }), ["T", "1573231058"], "R307");
    assert_eq!(flat(&time()), ["1573231058"], "as the outermost value");

    let error = Args::new().add_flat(&Time(UNIX_EPOCH - Duration::from_secs(1))).unwrap_err();
    assert!(matches!(error, Error::Other(_)), "{error:?}");
}

#[test]
fn r308_a_slice() {
    let args = Args::new().arg(1).add_flat(&["a", "b", "c"]).unwrap().arg(2);
    assert_eq!(texts(&args), ["1", "a", "b", "c", "2"]);
}

#[test]
fn r309_empty_fields_are_left_out() {
    #[derive(Default, Serialize)]
    struct Omit {
        none: Option<i64>,
        #[serde(skip_serializing_if = "String::is_empty")]
        empty: String,
        unit: (),
    }
    assert!(flat(&Omit::default()).is_empty());
    assert_eq!(flat(&Omit { empty: "no".into(), ..Omit::default() }), ["empty", "no"]);
}

#[derive(Serialize)]
struct Deep {
    #[serde(flatten)]
    value: Edi,
    #[serde(flatten)]
    pointer: Option<Box<Edp>>,
}

#[derive(Serialize)]
struct Edi {
    edi: i64,
}

#[derive(Serialize)]
struct Edp {
    ed2i: i64,
    #[serde(flatten)]
    pointer: Option<Box<Edp2>>,
}

#[derive(Serialize)]
struct Edp2 {
    edp2i: i64,
}

#[test]
fn r310_to_r313_structs_in_structs() {
    let value = Edi { edi: 2 };
    let none = Deep { value, pointer: None };
    assert_eq!(flat(&none), ["edi", "2"], "R311, R312");
    let one = Deep { pointer: Some(Box::new(Edp { ed2i: 3, pointer: None })), ..none };
    assert_eq!(flat(&one), ["edi", "2", "ed2i", "3"], "R310");
    let two = Edp { ed2i: 3, pointer: Some(Box::new(Edp2 { edp2i: 4 })) };
    let two = Deep { pointer: Some(Box::new(two)), ..one };
    assert_eq!(flat(&two), ["edi", "2", "ed2i", "3", "edp2i", "4"], "R313");
}

#[test]
fn add_flat_adds_a_shadowed_flattened_field_too() {
    #[derive(Serialize)]
    struct Outer {
        edi: i64,
        #[serde(flatten)]
        inner: Edi,
    }
    assert_eq!(flat(&Outer { edi: 1, inner: Edi { edi: 2 } }), ["edi", "1", "edi", "2"]);
}

#[test]
fn r315_a_struct_round_trip() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Post {
        title: String,
        author: String,
        body: String,
    }
    let post = |title: &str, author: &str, body: &str| Post {
        title: title.into(),
        author: author.into(),
        body: body.into(),
    };
    let server = RedisServer::shared();
    let dialer = Dialer::url(server.url()).unwrap().read_timeout(Duration::from_secs(10));
    let mut conn = dialer.dial().unwrap();

    let first = post("Example", "Gary", "Hello");
    conn.call("HSET", Args::new().arg("id1").add_flat(&first).unwrap()).unwrap();
    assert_eq!(scan_struct::<Post>(conn.call("HGETALL", "id1")).unwrap(), first);

    let second = BTreeMap::from([("title", "Example2"), ("author", "Steve"), ("body", "Map")]);
    conn.call("HSET", Args::new().arg("id2").add_flat(&second).unwrap()).unwrap();
    let back: Post = scan_struct(conn.call("HGETALL", "id2")).unwrap();
    assert_eq!(back, post("Example2", "Steve", "Map"));
}

// ---- cases that redigo does not test ----

/// Bytes that are serialized like those of the crate `serde_bytes`.
struct Blob<'a>(&'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Plain,
    Sized(u32),
    Named { x: u32 },
    Pair(u32, u32),
}

#[test]
fn every_scalar_is_one_argument() {
    #[derive(Serialize)]
    struct Newtype<T>(T);

    assert_eq!(flat(&Newtype(Newtype(7))), ["7"]);
    assert_eq!(flat("text"), ["text"]);
    assert_eq!(flat(&'é'), ["é"]);
    assert_eq!(flat(&true), ["1"]);
    assert_eq!(flat(&7u8), ["7"]);
    assert_eq!(flat(&Kind::Plain), ["plain"]);
    assert_eq!(flat(&1e6), ["1e+06"]);
    assert_eq!(flat(&0.1f32), ["0.1"]);
    assert_eq!(flat(&f64::NEG_INFINITY), ["-Inf"]);
    assert_eq!(flat(&i128::MIN), [i128::MIN.to_string()]);
    assert_eq!(flat(&u128::MAX), [u128::MAX.to_string()]);
    assert_eq!(
        flat(&(i8::MIN, i16::MIN, i32::MIN, i64::MIN)),
        ["-128", "-32768", "-2147483648", "-9223372036854775808"]
    );
    assert_eq!(
        flat(&(u16::MAX, u32::MAX, u64::MAX)),
        ["65535", "4294967295", "18446744073709551615"]
    );
    assert!(flat(&None::<i64>).is_empty());
    assert!(flat(&()).is_empty());
    assert_eq!(flat(&Some(Some(1))), ["1"]);
}

#[test]
fn bytes_are_one_argument() {
    assert_eq!(flat(&Blob(b"raw")), ["raw"]);
    assert_eq!(flat(&Blob(b"")), [""]);
    assert_eq!(flat(&b"raw".to_vec()), ["raw"]);
    assert_eq!(flat(b"raw"), ["raw"]);
    assert_eq!(flat(&vec![b"a".to_vec(), b"b".to_vec()]), ["a", "b"]);
    let bytes = Args::new().add_flat(&Blob(b"\xff\x00")).unwrap();
    assert_eq!(bytes.iter().collect::<Vec<_>>(), [b"\xff\x00"]);

    #[derive(Serialize)]
    struct Files<'a> {
        list: Vec<u8>,
        array: [u8; 2],
        blob: Blob<'a>,
        empty: Vec<u8>,
        one: u8,
    }
    let files = Files {
        list: b"ab".to_vec(),
        array: *b"cd",
        blob: Blob(b"ef"),
        empty: Vec::new(),
        one: 65,
    };
    assert_eq!(flat(&files), ["list", "ab", "array", "cd", "blob", "ef", "empty", "", "one", "65"]);
}

#[test]
fn lists_and_maps() {
    assert_eq!(flat(&vec![1, 2]), ["1", "2"]);
    assert!(flat(&Vec::<i64>::new()).is_empty());
    assert_eq!(flat(&("a", 1, 2.5, None::<i64>, true)), ["a", "1", "2.5", "1"]);
    assert_eq!(flat(&vec![Some("a"), None, Some("b")]), ["a", "b"]);
    assert_eq!(flat(&BTreeMap::from([(1, "a"), (2, "b")])), ["1", "a", "2", "b"]);
    let values = BTreeMap::from([("a", Some(1.0)), ("b", None), ("c", Some(1e-7))]);
    assert_eq!(flat(&values), ["a", "1", "c", "1e-07"]);
    assert_eq!(flat(&serde_json::json!({ "a": 1, "b": "x", "c": null })), ["a", "1", "b", "x"]);
    #[derive(Serialize)]
    struct Tuple(&'static str, i64);
    assert_eq!(flat(&Tuple("a", 1)), ["a", "1"]);
}

#[test]
fn values_that_are_not_flat_are_refused() {
    #[derive(Serialize)]
    struct Field<T> {
        f: T,
    }
    let edi = || Edi { edi: 1 };
    refused(&Field { f: edi() }, r#"a struct as an argument, in field "f""#);
    refused(&Field { f: vec!["a"] }, r#"a list as an argument, in field "f""#);
    refused(&Field { f: ("a", 1) }, r#"a list as an argument, in field "f""#);
    refused(&Field { f: vec![b"a".to_vec()] }, r#"a list as an argument, in field "f""#);
    refused(&Field { f: Some(BTreeMap::from([(1, 2)])) }, r#"a map as an argument, in field "f""#);
    refused(&BTreeMap::from([("key", vec![1])]), r#"a list as an argument, in field "key""#);
    refused(&vec![edi()], "a struct as an argument");
    refused(&vec![("a", 1)], "a list as an argument");
    refused(&("a", 1u8), "a u8 among other types as an argument");
    refused(&(1u8, "a"), "a list as an argument");
    for kind in [Kind::Sized(1), Kind::Named { x: 1 }, Kind::Pair(1, 2)] {
        refused(&kind, "an enum variant with data as an argument");
        refused(&Field { f: kind }, r#"an enum variant with data as an argument, in field "f""#);
    }
    refused(&BTreeMap::from([(None::<i64>, 1)]), "a map key without a value as an argument");
    refused(&BTreeMap::from([(vec![1], 1)]), "a list as an argument");
}
