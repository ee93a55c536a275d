//! Conversion of replies to structs, lists and tuples with serde.
//!
//! Tests with an R number repeat rows of redigo's scan tests (commit 57c8b99).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fmt::Debug;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use redigo::scan::{scan, scan_slice, scan_slice_fields, scan_struct};
use redigo::{Conn, Dialer, Error, ServerError, Value, reply};
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, de};

use crate::support::redis_server::RedisServer;
use crate::support::values::{bulk, bulks, list};

fn simple(text: &'static str) -> Value {
    Value::simple(text)
}

fn error(text: &str) -> Value {
    Value::Error(ServerError::new(text))
}

/// Scans one value, like redigo's Scan.
fn one<T: DeserializeOwned>(value: Value) -> redigo::Result<T> {
    scan(Ok(vec![value])).map(|(scanned, rest)| {
        assert_eq!(rest.len(), 0);
        scanned
    })
}

fn structure<T: DeserializeOwned>(value: Value) -> redigo::Result<T> {
    scan_struct(Ok(value))
}

#[track_caller]
fn fails<T>(result: redigo::Result<T>, expected: &str) {
    let error = result.err().expect("an error");
    assert!(matches!(error, Error::Convert(_)), "{error:?}");
    assert_eq!(error.to_string(), expected);
}

fn connect() -> Conn {
    let dialer = Dialer::url(RedisServer::shared().url()).unwrap();
    dialer.read_timeout(Duration::from_secs(10)).dial().unwrap()
}

/// A type with its own implementation: text such as `1m`, or an integer of nanoseconds.
#[derive(Debug, PartialEq, Clone, Copy, Default)]
struct Dur(Duration);

const MINUTE: Dur = Dur(Duration::from_secs(60));

impl<'de> Deserialize<'de> for Dur {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Dur, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Dur;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Dur, E> {
                let minutes = text.strip_suffix('m').and_then(|minutes| minutes.parse().ok());
                let minutes: u64 = minutes.ok_or_else(|| E::custom("no unit"))?;
                Ok(Dur(Duration::from_secs(minutes * 60)))
            }

            fn visit_i64<E: de::Error>(self, nanos: i64) -> Result<Dur, E> {
                let nanos = u64::try_from(nanos).map_err(E::custom)?;
                Ok(Dur(Duration::from_nanos(nanos)))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

// ---- one value ----

#[test]
fn r216_to_r240_one_value() {
    macro_rules! rows {
        ($($row:literal $value:expr => $type:ty: $expected:expr;)*) => {$(
            assert_eq!(one::<$type>($value).unwrap(), $expected, $row);
        )*};
    }
    rows! {
        "R216" bulk("-inf") => f64: f64::NEG_INFINITY;
        "R217" bulk("+inf") => f64: f64::INFINITY;
        "R218" bulk("0") => f64: 0.0;
        "R219" bulk("3.14159") => f64: "3.14159".parse::<f64>().unwrap();
        "R220" bulk("3.14") => f32: "3.14".parse::<f32>().unwrap();
        "R221" bulk("-100") => i64: -100;
        "R222" bulk("101") => i64: 101;
        "R223" Value::Int(102) => i64: 102;
        "R224" bulk("103") => u64: 103;
        "R225" Value::Int(104) => u64: 104;
        "R226" bulk("105") => i8: 105;
        "R227" Value::Int(106) => i8: 106;
        "R228" bulk("107") => u8: 107;
        "R229" Value::Int(108) => u8: 108;
        "R230" bulk("0") => bool: false;
        "R231" Value::Int(0) => bool: false;
        "R232" bulk("f") => bool: false;
        "R233" bulk("1") => bool: true;
        "R234" Value::Int(1) => bool: true;
        "R235" bulk("t") => bool: true;
        "R236" simple("hello") => String: "hello";
        "R237" bulk("hello") => String: "hello";
        "R238" bulk("world") => Vec<u8>: b"world";
        "R239" Value::Nil => Option<String>: None;
        "R240" Value::Nil => Option<Vec<u8>>: None;
    }
}

#[test]
fn r241_to_r263_lists() {
    macro_rules! rows {
        ($($row:literal $value:expr => $type:ty: $expected:expr;)*) => {$(
            assert_eq!(one::<$type>(list($value)).unwrap(), $expected, $row);
        )*};
    }
    rows! {
        "R242" [bulk("b2")] => Vec<String>: ["b2"];
        "R243" [bulk("b3"), bulk("b4")] => Vec<String>: ["b3", "b4"];
        "R244" [bulk("b5")] => Vec<Vec<u8>>: [b"b5"];
        "R245" [bulk("1")] => Vec<i64>: [1];
        "R246" [bulk("1"), bulk("2")] => Vec<i64>: [1, 2];
        "R247" [bulk("1"), bulk("2")] => Vec<f64>: [1.0, 2.0];
        "R248" [bulk("1")] => Vec<u8>: [1];
        "R249" [bulk("1")] => Vec<bool>: [true];
        "R251" [simple("s2")] => Vec<Vec<u8>>: [b"s2"];
        "R252" [simple("s3"), simple("s4")] => Vec<String>: ["s3", "s4"];
        "R253" [simple("s5")] => Vec<Vec<u8>>: [b"s5"];
        "R254" [simple("1")] => Vec<i64>: [1];
        "R255" [simple("1"), simple("2")] => Vec<i64>: [1, 2];
        "R256" [simple("1"), simple("2")] => Vec<f64>: [1.0, 2.0];
        "R257" [simple("1")] => Vec<u8>: [1];
        "R258" [simple("1")] => Vec<bool>: [true];
        "R260" [Value::Nil, bulk("2")] => Vec<Option<Vec<u8>>>: [None, Some(b"2".to_vec())];
    }
    // A list of any elements converts to values without a scan.
    for (row, items) in [
        ("R241", vec![bulk("b1")]),
        ("R250", vec![simple("s1")]),
        ("R259", vec![Value::Nil, simple("2")]),
        ("R261", vec![error("e1")]),
    ] {
        assert_eq!(Value::Array(items.clone()).convert::<Vec<Value>>().unwrap(), items, "{row}");
    }
    // An error does not become its text.
    let failure = one::<Vec<Vec<u8>>>(list([error("e2")])).unwrap_err();
    assert_eq!(failure.as_server().map(ServerError::message), Some("e2"), "R262");
    let failure = one::<Vec<String>>(list([error("e3")])).unwrap_err();
    assert_eq!(failure.as_server().map(ServerError::message), Some("e3"), "R263");
}

#[test]
fn r264_to_r268_a_user_type() {
    assert_eq!(one::<Dur>(simple("1m")).unwrap(), MINUTE, "R264");
    assert_eq!(one::<Dur>(bulk("1m")).unwrap(), MINUTE, "R265");
    assert_eq!(one::<Dur>(Value::Int(60_000_000_000)).unwrap(), MINUTE, "R266");
    assert_eq!(one::<Vec<Dur>>(list([bulk("1m")])).unwrap(), [MINUTE], "R267");
    assert_eq!(one::<Vec<Box<Dur>>>(list([bulk("1m")])).unwrap(), [Box::new(MINUTE)], "R268");
}

#[test]
fn r269_to_r276_values_that_do_not_fit() {
    fails(one::<u8>(bulk("1234")), r#"expected an integer that fits u8, found "1234""#); // R269
    fails(one::<u8>(Value::Int(1234)), "expected an integer that fits u8, found 1234"); // R270
    fails(one::<u8>(bulk("-1")), r#"expected an integer that fits u8, found "-1""#); // R271
    fails(one::<u8>(Value::Int(-1)), "expected an integer that fits u8, found -1"); // R272
    fails(one::<bool>(bulk("junk")), r#"expected a boolean, found "junk""#); // R273
    let server_said = |failure: Error| failure.as_server().map(ServerError::to_string);
    assert_eq!(one::<bool>(error("blah")).map_err(server_said), Err(Some("blah".into())), "R274");
    assert_eq!(one::<Dur>(error("blah")).map_err(server_said), Err(Some("blah".into())), "R275");
    fails(one::<Dur>(simple("invalid")), r#"no unit, found "invalid""#); // R276
}

#[test]
fn values_of_a_wrong_kind_are_errors() {
    fails(one::<String>(Value::Int(1)), "expected a string, found an integer");
    fails(one::<String>(list([])), "expected a string, found a list");
    fails(one::<i64>(list([])), "expected an integer, found a list");
    fails(one::<i64>(Value::Nil), "expected an integer, found nil");
    fails(one::<String>(Value::Nil), "expected a string, found nil");
    fails(one::<Vec<i64>>(bulk("12")), "expected a list, found a string");
    fails(one::<Vec<i64>>(Value::Int(1)), "expected a list, found an integer");
    fails(one::<Vec<u8>>(Value::Int(1)), "expected a list, found an integer");
    fails(one::<Vec<i64>>(list([Value::Nil])), "expected an integer, found nil at element [0]");
    fails(one::<char>(bulk("ab")), r#"expected a character, found "ab""#);
    fails(one::<NonZeroU16>(bulk("0")), "expected a nonzero u16, found 0");
    fails(one::<IpAddr>(bulk("1.2.3")), r#"invalid IP address syntax, found "1.2.3""#);
    let invalid = one::<String>(Value::from(&b"caf\xe9"[..]));
    fails(invalid, r#"expected a UTF-8 string, found "caf\xe9""#);
}

#[test]
fn byte_arrays_must_have_the_right_length() {
    let three = |text| one::<([u8; 3],)>(bulk(text)).map(|(bytes,)| bytes);
    assert_eq!(three("abc").unwrap(), *b"abc");
    fails(three("abcd"), "expected length 3, found length 4 at element [0]");
    fails(three("ab"), "expected an array of length 3, found length 2 at element [0]");
    fails(one::<((i8, i8),)>(bulk("ab")), "expected a list, found a string at element [0]");
    fails(one::<((i8, i8),)>(bulks(["1"])), "expected length 2, found length 1 at element [0]");
}

#[test]
fn newtypes_enums_and_other_types() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Id(u64);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Key(Id);
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        Plain,
        BitMap,
        Sized(u32),
    }

    assert_eq!(one::<Key>(bulk("7")).unwrap(), Key(Id(7)));
    assert_eq!(one::<Kind>(bulk("bit-map")).unwrap(), Kind::BitMap);
    assert_eq!(one::<Kind>(simple("plain")).unwrap(), Kind::Plain);
    fails(
        one::<Kind>(bulk("list")),
        r#"expected one of "plain", "bit-map", "sized", found "list""#,
    );
    fails(one::<Kind>(Value::Int(1)), "expected a string, found an integer");
    assert!(one::<Kind>(bulk("sized")).is_err());
    assert_eq!(one::<i128>(bulk("-170141183460469231731687303715884105728")).unwrap(), i128::MIN);
    assert_eq!(one::<char>(bulk("é")).unwrap(), 'é');
    assert_eq!(one::<IpAddr>(bulk("::1")).unwrap(), "::1".parse::<IpAddr>().unwrap());
    assert_eq!(one::<f64>(Value::Int(3)).unwrap(), 3.0);
    one::<()>(Value::Int(3)).unwrap();
    assert!(one::<()>(error("ERR no")).is_err());
    let json: serde_json::Value = one(list([bulk("a"), Value::Int(1), Value::Nil])).unwrap();
    assert_eq!(json, serde_json::json!(["a", 1, null]));
    let map: BTreeMap<u8, Vec<bool>> = one(list([bulk("7"), bulks(["1", "0"])])).unwrap();
    assert_eq!(map, BTreeMap::from([(7, vec![true, false])]));
    fails(
        one::<BTreeMap<u8, u8>>(bulks(["1", "2", "x", "3"])),
        r#"expected an integer that fits u8, found "x" at element [2]"#,
    );
}

/// Bytes that are deserialized like those of the crate `serde_bytes`.
#[derive(Debug, PartialEq)]
struct Blob(Vec<u8>);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Reader)
    }
}

#[test]
fn bytes_from_strings_and_lists() {
    let raw = Value::from(&b"\xff\x00"[..]);
    assert_eq!(one::<Blob>(raw.clone()).unwrap(), Blob(b"\xff\x00".to_vec()));
    assert_eq!(one::<Vec<u8>>(raw.clone()).unwrap(), b"\xff\x00");
    assert_eq!(one::<Blob>(list([Value::Int(1), bulk("2")])).unwrap(), Blob(vec![1, 2]));
    fails(one::<Blob>(Value::Int(1)), "expected a string, found an integer");

    #[derive(Debug, PartialEq, Deserialize)]
    struct Files {
        blob: Blob,
        plain: Vec<u8>,
    }
    let files: Files =
        structure(list([bulk("blob"), raw.clone(), bulk("plain"), raw.clone()])).unwrap();
    assert_eq!(files, Files { blob: Blob(b"\xff\x00".to_vec()), plain: b"\xff\x00".to_vec() });
}

// ---- Scan ----

fn albums(conn: &mut Conn, key: &str, ratings: [Option<&str>; 3]) {
    for ((id, title), rating) in (1..).zip(["Red", "Earthbound", "Beat"]).zip(ratings) {
        let album = format!("{key}:{id}");
        conn.call("HSET", (&album, "title", title)).unwrap();
        if let Some(rating) = rating {
            conn.call("HSET", (&album, "rating", rating)).unwrap();
        }
        conn.call("LPUSH", (key, id)).unwrap();
    }
}

fn sorted(conn: &mut Conn, key: &str) -> redigo::Result<Value> {
    let [rating, title] = ["rating", "title"].map(|field| format!("{key}:*->{field}"));
    conn.call("SORT", (key, "BY", &rating, "GET", &title, "GET", &rating))
}

#[test]
fn r277_scan_converts_a_list_row_by_row() {
    let mut conn = connect();
    albums(&mut conn, "r277", [Some("5"), Some("1"), None]);
    let mut rest = reply::values(sorted(&mut conn, "r277")).unwrap().into_iter();
    let mut lines = Vec::new();
    while rest.len() > 0 {
        let ((title, rating), more) = scan::<(String, Option<i64>)>(Ok(rest)).unwrap();
        let rating = rating.map_or("not-rated".to_string(), |rating| rating.to_string());
        lines.push(format!("{title} {rating}"));
        rest = more;
    }
    assert_eq!(lines, ["Beat not-rated", "Earthbound 1", "Red 5"]);
}

#[test]
fn scan_takes_as_many_values_as_its_type() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Album {
        title: String,
        #[serde(default = "unrated")]
        rating: i64,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Pair(String, i64);
    fn unrated() -> i64 {
        -1
    }
    let values = || vec![bulk("Red"), Value::Nil, bulk("5")];
    let (album, rest) = scan::<Album>(Ok(values())).unwrap();
    assert_eq!(album, Album { title: "Red".into(), rating: -1 });
    assert_eq!(rest.as_slice(), [bulk("5")]);
    let (number, rest) = scan::<i64>(Ok(rest)).unwrap();
    assert_eq!((number, rest.len()), (5, 0));
    fails(scan::<i64>(Ok(rest)), "expected a value, found the end of the list");
    let (pair, rest) = scan::<Pair>(Ok(vec![bulk("a"), Value::Int(1), Value::Nil])).unwrap();
    assert_eq!(pair, Pair("a".into(), 1));
    assert_eq!(scan::<Option<String>>(Ok(rest)).unwrap().0, None);
    fails(scan::<(String, i64, i64, i64)>(Ok(values())), "expected 4 values, found 3");
    fails(scan::<(String, i64)>(Ok(values())), "expected an integer, found nil at element [1]");
    let (((), text), _) = scan::<((), String)>(Ok(vec![Value::Int(1), bulk("a")])).unwrap();
    assert_eq!(text, "a", "a value is skipped");
    assert!(scan::<((), ())>(Ok(vec![Value::Int(1), error("ERR no")])).is_err());
    // The reply to SCAN: a list among the values is one value.
    let ((cursor, keys), _) =
        scan::<(u64, Vec<String>)>(Ok(vec![bulk("17"), bulks(["a", "b"])])).unwrap();
    assert_eq!((cursor, keys), (17, vec!["a".to_string(), "b".to_string()]));
    assert!(scan::<HashMap<String, i64>>(Ok(vec![bulk("a"), bulk("1")])).is_err());
    let failure = scan::<i64>(reply::values(Err(Error::PoolClosed))).unwrap_err();
    assert!(matches!(failure, Error::PoolClosed), "the error of the call");
}

// ---- ScanStruct ----

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(default)]
struct Inner {
    #[serde(rename = "X")]
    x: i64,
    #[serde(rename = "y")]
    why: i64,
}

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(default)]
struct Everything {
    #[serde(rename = "i")]
    int: i64,
    #[serde(rename = "u")]
    uint: u64,
    #[serde(rename = "s")]
    text: String,
    #[serde(rename = "p")]
    bytes: Vec<u8>,
    #[serde(rename = "b")]
    flag: bool,
    #[serde(rename = "Bt")]
    yes: bool,
    #[serde(rename = "Bf")]
    no: bool,
    #[serde(rename = "PtrB")]
    boxed: Option<Box<bool>>,
    #[serde(skip)]
    x: i64,
    #[serde(flatten)]
    inner: Inner,
    #[serde(rename = "sd")]
    dur: Dur,
    #[serde(rename = "sdp")]
    dur_if_any: Option<Dur>,
}

#[test]
fn r278_scan_struct() {
    let reply = bulks([
        "i", "-1234", "u", "5678", "s", "hello", "p", "world", "b", "t", "Bt", "1", "Bf", "0",
        "PtrB", "1", "X", "123", "y", "456", "sd", "1m", "sdp", "1m",
    ]);
    let expected = Everything {
        int: -1234,
        uint: 5678,
        text: "hello".into(),
        bytes: b"world".to_vec(),
        flag: true,
        yes: true,
        no: false,
        boxed: Some(Box::new(true)),
        x: 0,
        inner: Inner { x: 123, why: 456 },
        dur: MINUTE,
        dur_if_any: Some(MINUTE),
    };
    assert_eq!(structure::<Everything>(reply).unwrap(), expected);
}

#[test]
fn r279_missing_values_get_defaults() {
    assert_eq!(structure::<Everything>(list([])).unwrap(), Everything::default());
}

#[derive(Debug, PartialEq, Deserialize)]
struct Deep {
    #[serde(flatten)]
    value: Edi,
    #[serde(flatten)]
    pointer: Option<Box<Edp>>,
}

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(default)]
struct Edi {
    edi: i64,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Edp {
    ed2i: i64,
    #[serde(flatten)]
    pointer: Option<Box<Edp2>>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Edp2 {
    edp2i: i64,
}

#[test]
fn r280_to_r282_structs_in_structs() {
    let shallow = Deep { value: Edi { edi: 2 }, pointer: None };
    assert_eq!(structure::<Deep>(bulks(["edi", "2"])).unwrap(), shallow, "R280, R281");
    let one = Deep { pointer: Some(Box::new(Edp { ed2i: 3, pointer: None })), ..shallow };
    assert_eq!(structure::<Deep>(bulks(["edi", "2", "ed2i", "3"])).unwrap(), one);
    let two = Edp { ed2i: 3, pointer: Some(Box::new(Edp2 { edp2i: 4 })) };
    let two = Deep { pointer: Some(Box::new(two)), ..one };
    let reply = bulks(["edi", "2", "ed2i", "3", "edp2i", "4"]);
    assert_eq!(structure::<Deep>(reply).unwrap(), two, "R282");
}

#[test]
fn r283_names_can_be_simple_strings() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Both {
        simple: String,
        number: i64,
    }
    let reply = list([simple("simple"), bulk("value"), simple("number"), bulk("123")]);
    let both: Both = structure(reply).unwrap();
    assert_eq!(both, Both { simple: "value".into(), number: 123 });
}

#[derive(Debug, PartialEq, Deserialize)]
struct Album {
    title: String,
    rating: Option<u8>,
}

fn album(title: &str, rating: Option<u8>) -> Album {
    Album { title: title.into(), rating }
}

#[test]
fn r286_r287_replies_that_are_not_a_struct() {
    fails(structure::<i64>(bulks(["title", "Red"])), "expected an integer, found a list"); // R286
    fails(
        structure::<Album>(bulks(["title", "Red", "rating"])),
        "expected a list of even length, found length 3",
    ); // R287
    fails(
        structure::<Album>(bulk("Red")),
        "expected a list of names and values, found a bulk string",
    );
    assert!(structure::<Album>(Value::Nil).unwrap_err().is_nil());
    let failure = structure::<Album>(error("WRONGTYPE no")).unwrap_err();
    assert_eq!(failure.as_server().map(ServerError::code), Some("WRONGTYPE"));
    assert!(matches!(scan_struct::<Album>(Err(Error::PoolClosed)), Err(Error::PoolClosed)));
}

#[test]
fn unknown_names_and_nils_are_left_out() {
    let reply = list([
        bulk("unknown"),
        list([bulk("x")]),
        // The name is not checked.
        Value::Int(5),
        Value::Nil,
        bulk("title"),
        bulk("Red"),
        bulk("rating"),
        Value::Nil,
        Value::from(&b"\xff"[..]),
        bulk("x"),
    ]);
    assert_eq!(structure::<Album>(reply).unwrap(), album("Red", None));
    fails(
        structure::<Album>(list([bulk("title"), bulk("Red"), Value::Int(5), bulk("x")])),
        "expected a field name, found an integer at element [2]",
    );
    fails(
        structure::<Album>(list([Value::Nil, bulk("x")])),
        "expected a field name, found nil at element [0]",
    );
    assert!(matches!(
        structure::<Album>(list([error("ERR no"), bulk("x")])),
        Err(Error::Server(_))
    ));
}

#[test]
fn struct_errors_name_the_field_and_the_value() {
    fails(structure::<Album>(bulks(["rating", "5"])), r#"expected a field "title", found none"#);
    fails(
        structure::<Album>(list([bulk("title"), Value::Nil])),
        r#"expected a field "title", found nil"#,
    );
    fails(
        structure::<Album>(bulks(["title", "Red", "rating", "five"])),
        r#"expected an integer that fits u8, found "five" in field "rating""#,
    );
    fails(
        structure::<Album>(list([bulk("title"), Value::Int(1)])),
        r#"expected a string, found an integer in field "title""#,
    );
    fails(
        structure::<Album>(list([bulk("title"), Value::from(&b"\xff"[..])])),
        r#"expected a UTF-8 string, found "\xff" in field "title""#,
    );
    fails(
        structure::<Album>(bulks(["title", "Red", "title", "Blue"])),
        r#"expected one field "title", found a duplicate"#,
    );
    fails(
        structure::<HashMap<String, Vec<u16>>>(list([bulk("a"), bulks(["1", "70000"])])),
        r#"expected an integer that fits u16, found "70000" at element [1] of field "a""#,
    );

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Strict {
        dur: Dur,
        ip: Option<IpAddr>,
    }
    fails(structure::<Strict>(bulks(["dur", "1h"])), r#"no unit, found "1h" in field "dur""#);
    fails(
        structure::<Strict>(bulks(["ip", "here"])),
        r#"invalid IP address syntax, found "here" in field "ip""#,
    );
    fails(
        structure::<Strict>(bulks(["x", "1h"])),
        r#"expected one of the fields "dur", "ip", found "x" at element [0]"#,
    );
    let failure = structure::<Album>(list([bulk("title"), error("ERR no")])).unwrap_err();
    assert_eq!(failure.as_server().map(ServerError::message), Some("ERR no"));
}

#[test]
fn errors_cut_a_long_name() {
    let name = "n".repeat(1000);
    let failure = structure::<HashMap<String, i64>>(bulks([&name, "x"])).unwrap_err().to_string();
    assert!(failure.len() < 150, "{failure}");
}

#[test]
fn maps_options_and_missing_hashes() {
    let map: HashMap<String, i64> = structure(bulks(["a", "1", "b", "2"])).unwrap();
    assert_eq!(map, HashMap::from([("a".into(), 1), ("b".into(), 2)]));
    assert_eq!(structure::<Option<Album>>(list([])).unwrap(), None);
    assert_eq!(structure::<Option<Album>>(Value::Nil).unwrap(), None);
    let some: Option<Album> = structure(bulks(["title", "Red"])).unwrap();
    assert_eq!(some, Some(album("Red", None)));
    let json: serde_json::Value = structure(list([bulk("a"), Value::Int(1)])).unwrap();
    assert_eq!(json, serde_json::json!({ "a": 1 }));

    #[derive(Debug, PartialEq, Deserialize)]
    struct Newtype(Album);
    let newtype: Newtype = structure(bulks(["title", "Red"])).unwrap();
    assert_eq!(newtype, Newtype(album("Red", None)));

    let mut conn = connect();
    conn.call("HSET", ("scan:album", "title", "Red", "rating", 5)).unwrap();
    let found: Album = scan_struct(conn.call("HGETALL", "scan:album")).unwrap();
    assert_eq!(found, album("Red", Some(5)));
    let missing: Option<Album> = scan_struct(conn.call("HGETALL", "scan:none")).unwrap();
    assert_eq!(missing, None);
}

#[test]
fn an_error_in_an_ignored_value_is_returned() {
    let is_error = |failure: Error| failure.as_server().map(ServerError::message) == Some("ERR no");
    let ignored = scan::<(IgnoredAny, i64)>(Ok(vec![error("ERR no"), bulk("1")]));
    assert!(ignored.is_err_and(is_error));
    let nested = scan::<IgnoredAny>(Ok(vec![list([bulk("x"), list([error("ERR no")])])]));
    assert!(nested.is_err_and(is_error));
    assert!(scan_struct::<IgnoredAny>(Ok(list([error("ERR no")]))).is_err_and(is_error));
    let unknown = [bulk("title"), bulk("Red"), bulk("unknown"), error("ERR no")];
    assert!(structure::<Album>(list(unknown)).is_err_and(is_error));
    assert!(scan_struct::<IgnoredAny>(Ok(bulks(["title", "Red"]))).is_ok());
}

// ---- flatten, and internally tagged enums ----

#[derive(Debug, PartialEq, Deserialize)]
struct Numbers {
    text: String,
    small: i8,
    large: u64,
    wide: f64,
    narrow: f32,
    flag: bool,
    port: NonZeroU16,
    maybe: Option<u32>,
    size: usize,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Flattened {
    own: i64,
    #[serde(flatten)]
    numbers: Numbers,
    #[serde(flatten)]
    more: BTreeMap<String, String>,
}

const NUMBERS: [&str; 20] = [
    "own",
    "1",
    "text",
    "007",
    "small",
    "-8",
    "large",
    "18446744073709551615",
    "wide",
    "1e3",
    "narrow",
    "0.5",
    "flag",
    "t",
    "port",
    "80",
    "maybe",
    "7",
    "size",
    "9",
];

fn numbers() -> Numbers {
    Numbers {
        text: "007".into(),
        small: -8,
        large: u64::MAX,
        wide: 1000.0,
        narrow: 0.5,
        flag: true,
        port: NonZeroU16::MIN.saturating_add(79),
        maybe: Some(7),
        size: 9,
    }
}

#[test]
fn flattened_structs_distinguish_numbers_from_text() {
    let mut texts: Vec<Value> = NUMBERS.map(bulk).into();
    texts.extend(["more", "42"].map(bulk));
    let flattened: Flattened = structure(Value::Array(texts)).unwrap();
    assert_eq!(flattened.numbers, numbers());
    assert_eq!(flattened.own, 1);
    assert_eq!(flattened.more["more"], "42", "a text that looks like a number");
}

#[test]
fn errors_of_flattened_fields_name_the_field() {
    let with = |name: &str, text: &str| {
        let mut texts = NUMBERS.map(str::to_owned);
        let at = NUMBERS.iter().position(|other| *other == name).unwrap();
        texts[at + 1] = text.to_owned();
        structure::<Flattened>(Value::Array(texts.map(Value::from).into()))
    };
    fails(with("small", "x"), r#"expected an integer that fits i8, found "x" in field "small""#);
    fails(
        with("small", "300"),
        r#"expected an integer that fits i8, found "300" in field "small""#,
    );
    fails(with("flag", "maybe"), r#"expected a boolean, found "maybe" in field "flag""#);
    fails(with("wide", "far"), r#"expected a number that fits f64, found "far" in field "wide""#);
    fails(with("own", "x"), r#"expected an integer that fits i64, found "x" in field "own""#);
    fails(with("port", "0"), "expected a nonzero u16, found 0");
    fails(
        structure::<Flattened>(list([bulk("own"), bulk("1"), bulk("text"), Value::Nil])),
        r#"expected a field "text", found nil"#,
    );
}

#[test]
fn rows_and_lists_of_flattened_structs() {
    let names: Vec<&str> = NUMBERS.iter().copied().step_by(2).collect();
    let row: Vec<Value> = NUMBERS.iter().skip(1).step_by(2).map(|text| bulk(text)).collect();
    let rows: Vec<Value> = row.iter().chain(&row).chain(&row).cloned().collect();
    let scanned: Vec<Flattened> = scan_slice_fields(Ok(Value::Array(rows)), &names).unwrap();
    assert_eq!(scanned.len(), 3);
    assert!(scanned.iter().all(|flattened| flattened.numbers == numbers()));

    let rows = list([bulks(NUMBERS), bulks(NUMBERS)]);
    let scanned: Vec<Flattened> = scan_slice(Ok(rows)).unwrap();
    assert!(scanned.iter().all(|flattened| flattened.numbers == numbers()));

    let entries = list([list([bulk("1-1"), bulks(NUMBERS)]), list([bulk("1-2"), bulks(NUMBERS)])]);
    let scanned: Vec<(String, Flattened)> = scan_slice(Ok(entries)).unwrap();
    assert_eq!(scanned[1].0, "1-2");
    assert!(scanned.iter().all(|(_, flattened)| flattened.numbers == numbers()));

    fails(
        scan_slice::<Flattened>(Ok(bulks(["1", "2"]))),
        "expected field names (see scan_slice_fields), found none at element [0]",
    );
    let mut wrong = row.clone();
    wrong[2] = bulk("x");
    fails(
        scan_slice_fields::<Flattened>(Ok(Value::Array([row, wrong].concat())), &names),
        r#"expected an integer that fits i8, found "x" in field "small" of element [1]"#,
    );
}

#[test]
fn internally_tagged_enums() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind")]
    enum Event {
        Login { user: u64, ok: bool },
        Rename { user: String },
    }
    let login = bulks(["kind", "Login", "user", "7", "ok", "1"]);
    assert_eq!(structure::<Event>(login.clone()).unwrap(), Event::Login { user: 7, ok: true });
    let rename = bulks(["user", "7", "kind", "Rename"]);
    assert_eq!(structure::<Event>(rename.clone()).unwrap(), Event::Rename { user: "7".into() });
    // The field has two types: the hint from the first must not affect the second.
    let events: Vec<Event> = scan_slice(Ok(list([login, rename.clone(), rename]))).unwrap();
    assert_eq!(
        events[1..],
        [Event::Rename { user: "7".into() }, Event::Rename { user: "7".into() }]
    );
}

#[test]
fn a_nested_scan_does_not_affect_the_outer_scan() {
    /// Scans another reply while it is deserialized.
    #[derive(Debug, PartialEq)]
    struct Nested(u8);
    impl<'de> Deserialize<'de> for Nested {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Nested, D::Error> {
            let text = String::deserialize(deserializer)?;
            let inner: Flattened = scan_struct(Ok(bulks(NUMBERS))).map_err(de::Error::custom)?;
            text.parse().map(Nested).map_err(de::Error::custom).inspect(|_| {
                assert_eq!(inner.numbers, numbers());
            })
        }
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        // serde drops the error of a flattened Option; only the recorded mismatch remains.
        #[serde(flatten)]
        number: Option<Edp2>,
        #[serde(flatten)]
        nested: NestedField,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct NestedField {
        nested: Nested,
    }
    let outer: Outer = structure(bulks(["edp2i", "5", "nested", "3"])).unwrap();
    let expected =
        Outer { number: Some(Edp2 { edp2i: 5 }), nested: NestedField { nested: Nested(3) } };
    assert_eq!(outer, expected);
}

#[test]
fn a_flattened_text_becomes_the_first_type_that_parses() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Any {
        Flag(bool),
        Count(u32),
        Text(String),
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        any: Any,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    let any = |text| structure::<Outer>(bulks(["any", text])).unwrap().inner.any;
    assert_eq!(any("t"), Any::Flag(true));
    assert_eq!(any("7"), Any::Count(7));
    assert_eq!(any("seven"), Any::Text("seven".into()));
}

// ---- ScanSlice ----

#[test]
fn r288_elements_that_are_lists() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Pair(String, String);
    let reply = || Ok(list([bulks(["Field", "1"])]));
    assert_eq!(scan_slice::<Pair>(reply()).unwrap(), [Pair("Field".into(), "1".into())]);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Named {
        #[serde(rename = "Field")]
        field: String,
    }
    assert_eq!(scan_slice::<Named>(reply()).unwrap(), [Named { field: "1".into() }]);
}

#[test]
fn r289_to_r293_lists_with_nils() {
    let ints: Vec<Option<i64>> = scan_slice(Ok(list([bulk("1"), Value::Nil, bulk("-1")]))).unwrap();
    assert_eq!(ints, [Some(1), None, Some(-1)], "R289");
    let uints: Vec<Option<u64>> = scan_slice(Ok(list([bulk("1"), Value::Nil, bulk("2")]))).unwrap();
    assert_eq!(uints, [Some(1), None, Some(2)], "R290");
    fails(
        scan_slice::<u64>(Ok(bulks(["-1"]))),
        r#"expected an integer that fits u64, found "-1" at element [0]"#,
    ); // R291
    let texts = || Ok(list([bulk("hello"), Value::Nil, bulk("world")]));
    let bytes: Vec<Option<Vec<u8>>> = scan_slice(texts()).unwrap();
    assert_eq!(bytes, [Some(b"hello".to_vec()), None, Some(b"world".to_vec())], "R292");
    let strings: Vec<Option<String>> = scan_slice(texts()).unwrap();
    assert_eq!(strings, [Some("hello".into()), None, Some("world".into())], "R293");
    fails(scan_slice::<String>(texts()), "expected a string, found nil at element [1]");
}

#[derive(Debug, PartialEq, Deserialize)]
struct Ab {
    a: String,
    b: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Acb {
    a: String,
    c: String,
    b: String,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Empty {}

#[test]
fn r294_to_r297_rows_of_structs() {
    let rows = || Ok(bulks(["a1", "b1", "a2", "b2"]));
    let ab = |a: &str, b: &str| Ab { a: a.into(), b: b.into() };
    assert_eq!(scan_slice::<Ab>(rows()).unwrap(), [ab("a1", "b1"), ab("a2", "b2")], "R294");
    fails(
        scan_slice::<Acb>(Ok(bulks(["a1", "b1"]))),
        "expected a length that is a multiple of 3, found length 2 at element [0]",
    ); // R295
    let acb = |a: &str, b: &str| Acb { a: a.into(), c: String::new(), b: b.into() };
    assert_eq!(
        scan_slice_fields::<Acb>(rows(), &["a", "b"]).unwrap(),
        [acb("a1", "b1"), acb("a2", "b2")],
        "R296"
    );
    fails(
        scan_slice::<Empty>(rows()),
        "expected a type that takes values, found one that takes none at element [0]",
    ); // R297
}

#[test]
fn r298_sorted_albums() {
    let mut conn = connect();
    albums(&mut conn, "r298", [Some("5"), Some("1"), Some("4")]);
    let expected = [album("Earthbound", Some(1)), album("Beat", Some(4)), album("Red", Some(5))];
    assert_eq!(scan_slice::<Album>(sorted(&mut conn, "r298")).unwrap(), expected);
}

#[test]
fn wrong_field_names_are_errors() {
    let rows = || Ok(bulks(["a1", "b1", "a2", "b2"]));
    fails(
        scan_slice_fields::<Acb>(rows(), &["a", "d"]),
        r#"expected a field of Acb, found "d" at element [0]"#,
    );
    fails(scan_slice_fields::<Acb>(rows(), &[]), "expected field names, found none");
    fails(
        scan_slice_fields::<Acb>(rows(), &["a", "b", "c"]),
        "expected a length that is a multiple of 3, found length 4",
    );
    fails(
        scan_slice_fields::<i64>(rows(), &["a", "b"]),
        "expected an integer, found a list at element [0]",
    );
    fails(
        scan_slice_fields::<Ab>(rows(), &["a"]),
        "expected a field \"b\", found none at element [0]",
    );
    assert!(scan_slice_fields::<Ab>(Ok(Value::Nil), &["a"]).unwrap_err().is_nil());
    assert!(scan_slice_fields::<Ab>(Ok(list([])), &["a", "b"]).unwrap().is_empty());
}

#[test]
fn rows_of_other_types() {
    let pairs: Vec<(String, f64)> = scan_slice(Ok(bulks(["a", "1.5", "b", "2"]))).unwrap();
    assert_eq!(pairs, [("a".to_string(), 1.5), ("b".to_string(), 2.0)]);
    fails(
        scan_slice::<(String, f64)>(Ok(bulks(["a", "1", "b", "x"]))),
        r#"expected a number that fits f64, found "x" at element [1][1]"#,
    );
    fails(
        scan_slice::<Album>(Ok(bulks(["a", "1", "b", "x"]))),
        r#"expected an integer that fits u8, found "x" in field "rating" of element [1]"#,
    );
    fails(
        scan_slice::<Album>(Ok(list([bulk("a"), Value::Nil, Value::Nil, bulk("1")]))),
        r#"expected a field "title", found nil at element [1]"#,
    );
    assert_eq!(
        scan_slice::<[u8; 2]>(Ok(list([list([Value::Int(1), Value::Int(2)])]))).unwrap(),
        [[1, 2]]
    );
    let lists: Vec<Vec<i64>> =
        scan_slice(Ok(list([bulks(["1"]), list([]), bulks(["2", "3"])]))).unwrap();
    assert_eq!(lists, [vec![1], vec![], vec![2, 3]]);
    fails(
        scan_slice::<Vec<i64>>(Ok(list([bulks(["1"]), bulks(["x"])]))),
        r#"expected an integer that fits i64, found "x" at element [1][0]"#,
    );
    assert!(scan_slice::<i64>(Ok(list([]))).unwrap().is_empty());
    assert!(scan_slice::<i64>(Ok(Value::Nil)).unwrap_err().is_nil());
    fails(scan_slice::<i64>(Ok(bulk("1"))), "expected a list, found a bulk string");
    assert!(matches!(scan_slice::<i64>(Err(Error::PoolClosed)), Err(Error::PoolClosed)));
    assert!(matches!(scan_slice::<i64>(Ok(list([error("ERR no")]))), Err(Error::Server(_))));
}

#[test]
fn scan_slice_of_a_transaction() {
    let hash = |title| bulks(["title", title]);
    let replies = list([hash("Red"), list([]), hash("Beat")]);
    let albums: Vec<Option<Album>> = scan_slice(Ok(replies)).unwrap();
    assert_eq!(albums, [Some(album("Red", None)), None, Some(album("Beat", None))]);
    fails(
        scan_slice::<Album>(Ok(list([hash("Red"), list([])]))),
        r#"expected a field "title", found none at element [1]"#,
    );
}

#[test]
fn rows_of_different_widths_are_errors() {
    let mixed = list([bulks(["title", "Red"]), bulk("Beat"), bulk("4")]);
    fails(scan_slice::<Album>(Ok(mixed)), "expected 1 values, found 2 at element [1]");
    let with_nil = list([Value::Nil, bulk("Beat"), bulk("4")]);
    fails(scan_slice::<Option<Album>>(Ok(with_nil)), "expected 1 values, found 2 at element [1]");
}

#[test]
fn a_type_that_takes_no_values_is_an_error() {
    #[derive(Debug)]
    struct Lazy;
    impl<'de> Deserialize<'de> for Lazy {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Lazy, D::Error> {
            Ok(Lazy)
        }
    }
    fails(
        scan_slice::<Lazy>(Ok(bulks(["1"]))),
        "expected a type that takes values, found one that takes none at element [0]",
    );
    assert!(scan_slice::<[u8; 0]>(Ok(bulks(["1"]))).is_err());
}

// ---- fields with their own implementation ----

#[test]
fn r299_to_r302_a_field_with_its_own_implementation() {
    #[derive(Debug, PartialEq, Default)]
    struct Foo(u64);
    impl<'de> Deserialize<'de> for Foo {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Foo, D::Error> {
            u64::deserialize(deserializer).map(Foo)
        }
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Holder {
        foo: Option<Foo>,
    }
    let value = structure::<Holder>(bulks(["foo", "1234"])).unwrap();
    assert_eq!(value, Holder { foo: Some(Foo(1234)) }, "R299, R301");
    let nil = structure::<Holder>(list([bulk("foo"), Value::Nil])).unwrap();
    assert_eq!(nil, Holder { foo: None }, "R300, R302");
}

// ---- robustness ----

#[test]
fn no_reply_causes_a_panic() {
    let atoms = || {
        [
            Value::Nil,
            Value::Int(-1),
            simple("OK"),
            bulk(""),
            bulk("title"),
            Value::from(&b"\xff"[..]),
            list([]),
            list([Value::Nil]),
            bulks(["title", "x"]),
            error("ERR no"),
        ]
    };
    let mut replies: Vec<Value> = atoms().into();
    for first in atoms() {
        replies.push(list([first.clone()]));
        for second in atoms() {
            replies.push(list([first.clone(), second.clone()]));
            replies.push(list([bulk("own"), first.clone(), second, bulk("1")]));
        }
    }
    fn all<T: DeserializeOwned>(reply: &Value) {
        let _ = scan_struct::<T>(Ok(reply.clone()));
        let _ = scan_slice::<T>(Ok(reply.clone()));
        let _ = scan_slice_fields::<T>(Ok(reply.clone()), &["own", "title"]);
        let _ = scan::<T>(Ok(vec![reply.clone()]));
    }
    for reply in &replies {
        all::<Album>(reply);
        all::<Everything>(reply);
        all::<Flattened>(reply);
        all::<Deep>(reply);
        all::<Option<Album>>(reply);
        all::<(String, Option<i64>)>(reply);
        all::<serde_json::Value>(reply);
        all::<HashMap<String, Vec<u8>>>(reply);
        all::<Blob>(reply);
        all::<Dur>(reply);
        all::<Vec<Vec<char>>>(reply);
        all::<()>(reply);
    }
}
