//! Long replies and large values.

use std::collections::HashMap;

use redigo::scan::scan_struct;
use serde::Deserialize;

use crate::Setup;
use crate::raw;
use crate::report::Report;
use crate::rounds::{rounds, time};

pub(crate) fn run(report: &mut Report, setup: &Setup) {
    lrange(report, setup);
    hgetall(report, setup);
    get_10mb(report, setup);
    set_10mb(report, setup);
}

fn lrange(report: &mut Report, setup: &Setup) {
    const ELEMENTS: usize = 100_000;
    const ELEMENT: &str = "sixteen bytes...";
    let mut conn = setup.ours();
    for _ in 0..ELEMENTS / 1000 {
        conn.call("RPUSH", ("list", vec![ELEMENT; 1000])).expect("RPUSH");
    }
    report.beside_both("lrange_100k", || {
        let (mut ours, mut theirs, mut raw) = (setup.ours(), setup.peer(), setup.raw());
        let command = raw::command(["LRANGE", "list", "0", "-1"]);
        let element = format!("${}\r\n{ELEMENT}\r\n", ELEMENT.len()).len();
        let length = format!("*{ELEMENTS}\r\n").len() + ELEMENTS * element;
        rounds(
            1,
            vec![
                Box::new(|| {
                    time(1, || {
                        let list: Vec<String> =
                            ours.query("LRANGE", ("list", 0, -1)).expect("LRANGE");
                        assert_eq!(list.len(), ELEMENTS);
                    })
                }),
                Box::new(|| {
                    time(1, || {
                        let list: Vec<String> = redis::cmd("LRANGE")
                            .arg(("list", 0, -1))
                            .query(&mut theirs)
                            .expect("LRANGE");
                        assert_eq!(list.len(), ELEMENTS);
                    })
                }),
                Box::new(|| {
                    time(1, || {
                        raw.write(&command);
                        let mut reply = Vec::with_capacity(length);
                        raw.read(&mut reply, length);
                        reply
                    })
                }),
            ],
        )
    });
}

/// Four of 10,000 fields.
#[derive(Deserialize)]
#[allow(dead_code, reason = "the fields are read by serde only")]
struct Fields {
    #[serde(rename = "field:0")]
    first: String,
    #[serde(rename = "field:777")]
    number: u64,
    #[serde(rename = "field:9999")]
    last: String,
    missing: Option<String>,
}

fn hgetall(report: &mut Report, setup: &Setup) {
    const FIELDS: usize = 10_000;
    let pairs: Vec<_> = (0..FIELDS).map(|at| (format!("field:{at}"), at)).collect();
    setup.ours().call("HSET", ("hash", pairs)).expect("HSET");
    type Map = HashMap<String, String>;
    let theirs = |conn: &mut redis::Connection| -> Map {
        redis::cmd("HGETALL").arg("hash").query(conn).expect("HGETALL")
    };
    report.beside_peer("hgetall_10k", || {
        let (mut ours, mut peer) = (setup.ours(), setup.peer());
        rounds(
            1,
            vec![
                Box::new(|| {
                    time(1, || {
                        let map: Map = ours.query("HGETALL", "hash").expect("HGETALL");
                        assert_eq!(map.len(), FIELDS);
                    })
                }),
                Box::new(|| time(1, || assert_eq!(theirs(&mut peer).len(), FIELDS))),
            ],
        )
    });
    // redis-rs has no structs without another crate's derive, so its user takes a map.
    report.beside_peer("hgetall_10k_struct", || {
        let (mut ours, mut peer) = (setup.ours(), setup.peer());
        rounds(
            1,
            vec![
                Box::new(|| {
                    time(1, || {
                        let fields: Fields =
                            scan_struct(ours.call("HGETALL", "hash")).expect("a struct");
                        assert_eq!(fields.number, 777);
                    })
                }),
                Box::new(|| {
                    time(1, || {
                        let mut map = theirs(&mut peer);
                        let fields = Fields {
                            first: map.remove("field:0").expect("a field"),
                            number: map["field:777"].parse().expect("a number"),
                            last: map.remove("field:9999").expect("a field"),
                            missing: map.remove("missing"),
                        };
                        assert_eq!(fields.number, 777);
                    })
                }),
            ],
        )
    });
}

const LENGTH: usize = 10 << 20;

fn get_10mb(report: &mut Report, setup: &Setup) {
    setup.ours().call("SET", ("large", vec![b'x'; LENGTH])).expect("SET");
    report.beside_both("get_10mb", || {
        let (mut ours, mut theirs, mut raw) = (setup.ours(), setup.peer(), setup.raw());
        let command = raw::command(["GET", "large"]);
        let head = format!("${LENGTH}\r\n").len();
        rounds(
            1,
            vec![
                Box::new(|| {
                    time(1, || {
                        let value: Vec<u8> = ours.query("GET", "large").expect("GET");
                        assert_eq!(value.len(), LENGTH);
                    })
                }),
                Box::new(|| {
                    time(1, || {
                        let value: Vec<u8> =
                            redis::cmd("GET").arg("large").query(&mut theirs).expect("GET");
                        assert_eq!(value.len(), LENGTH);
                    })
                }),
                Box::new(|| {
                    time(1, || {
                        raw.write(&command);
                        raw.read(&mut Vec::new(), head);
                        let mut value = Vec::with_capacity(LENGTH);
                        raw.read(&mut value, LENGTH);
                        raw.read(&mut Vec::new(), 2);
                        value
                    })
                }),
            ],
        )
    });
}

fn set_10mb(report: &mut Report, setup: &Setup) {
    report.beside_both("set_10mb", || {
        let (mut ours, mut theirs, mut raw) = (setup.ours(), setup.peer(), setup.raw());
        let value = vec![b'x'; LENGTH];
        let head = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${LENGTH}\r\n");
        rounds(
            1,
            vec![
                Box::new(|| time(1, || ours.call("SET", ("large", &value)).expect("SET"))),
                Box::new(|| {
                    time(1, || {
                        let mut set = redis::cmd("SET");
                        set.arg("large").arg(&value);
                        set.query::<()>(&mut theirs).expect("SET")
                    })
                }),
                Box::new(|| {
                    time(1, || {
                        raw.write(head.as_bytes());
                        raw.write(&value);
                        raw.exchange(b"\r\n", &mut [0; 5], 1)
                    })
                }),
            ],
        )
    });
}
