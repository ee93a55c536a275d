//! Fuzzes conversions: any reply as any type gives a value or an error, never a panic.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hint::black_box;

use redigo::scan::{scan, scan_slice, scan_struct};
use redigo::{FromValue, Result, Value, reply};
use serde::Deserialize;

use super::pieces::replies;

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Everything {
    #[serde(default)]
    text: String,
    number: Option<i64>,
    small: Option<u8>,
    float: Option<f64>,
    flag: Option<bool>,
    letter: Option<char>,
    list: Option<Vec<String>>,
    kind: Option<Kind>,
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    One,
    Two,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Plain {
    a: i32,
    b: Option<String>,
}

pub(crate) fn run(input: &[u8]) {
    for value in replies(input, &[]).0 {
        scans(&value);
        converts(&value);
        helpers(&value);
    }
}

fn scans(value: &Value) {
    let value = || Ok(value.clone());
    let _ = black_box(scan_struct::<Everything>(value()));
    let _ = black_box(scan_struct::<Plain>(value()));
    let _ = black_box(scan_struct::<Option<Plain>>(value()));
    let _ = black_box(scan_struct::<HashMap<String, f64>>(value()));
    let _ = black_box(scan_slice::<Plain>(value()));
    let _ = black_box(scan_slice::<(String, i64)>(value()));
    let _ = black_box(scan_slice::<Option<u8>>(value()));
    if let Ok(values) = reply::values(value()) {
        let _ = black_box(scan::<(i64, Option<String>, Vec<u8>)>(Ok(values.clone())));
        let _ = black_box(scan::<Vec<Vec<bool>>>(Ok(values)));
    }
}

fn converts(value: &Value) {
    fn to<T: FromValue>(value: &Value) {
        let _: Result<T> = black_box(value.clone().convert());
    }
    to::<()>(value);
    to::<bool>(value);
    to::<u8>(value);
    to::<i64>(value);
    to::<u64>(value);
    to::<f32>(value);
    to::<f64>(value);
    to::<String>(value);
    to::<Vec<u8>>(value);
    to::<Option<i32>>(value);
    to::<Vec<Option<String>>>(value);
    to::<[i64; 3]>(value);
    to::<(i64, String, Value)>(value);
    to::<Vec<(String, f64)>>(value);
    to::<HashMap<String, Vec<u8>>>(value);
    to::<BTreeMap<u16, String>>(value);
    to::<HashSet<String>>(value);
    to::<redigo::PubSubEvent>(value);
}

fn helpers(value: &Value) {
    let value = || Ok(value.clone());
    let _ = black_box(reply::int(value()));
    let _ = black_box(reply::uint64(value()));
    let _ = black_box(reply::float64(value()));
    let _ = black_box(reply::string(value()));
    let _ = black_box(reply::bytes(value()));
    let _ = black_box(reply::bool(value()));
    let _ = black_box(reply::values(value()));
    let _ = black_box(reply::strings(value()));
    let _ = black_box(reply::byte_slices(value()));
    let _ = black_box(reply::ints(value()));
    let _ = black_box(reply::float64s(value()));
    let _ = black_box(reply::uint64s(value()));
    let _ = black_box(reply::string_map(value()));
    let _ = black_box(reply::int_map(value()));
    let _ = black_box(reply::uint64_map(value()));
    let _ = black_box(reply::float64_map(value()));
    let _ = black_box(reply::positions(value()));
    let _ = black_box(reply::slow_logs(value()));
    let _ = black_box(reply::latencies(value()));
    let _ = black_box(reply::latency_histories(value()));
}
