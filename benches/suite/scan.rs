//! Structs through serde, beside a loop written by hand over the same replies.

use std::hint::black_box;
use std::time::{Duration, Instant};

use redigo::Value;
use redigo::scan::{scan_slice, scan_struct};
use serde::Deserialize;

use crate::report::Report;
use crate::rounds::rounds;

const HASHES: usize = 10_000;

pub(crate) fn run(report: &mut Report) {
    report.beside("scan_struct, one of 10,000", "by hand", || {
        let replies = replies();
        let scan = |reply| scan_struct::<Album>(Ok(reply)).expect("an album");
        rounds(
            HASHES,
            vec![
                Box::new(|| over(&replies, scan)),
                Box::new(|| over(&replies, |reply| by_hand(reply).expect("an album"))),
            ],
        )
    });
    report.beside("scan_slice, one of 10,000", "by hand", || {
        let rows = rows(&replies());
        let over_rows = |scan: fn(Value) -> redigo::Result<Vec<Album>>| {
            let rows = Value::Array(rows.clone());
            time(|| scan(rows).expect("albums"))
        };
        rounds(
            HASHES,
            vec![
                Box::new(|| over_rows(|rows| scan_slice(Ok(rows)))),
                Box::new(|| over_rows(rows_by_hand)),
            ],
        )
    });
}

#[derive(Debug, Default, PartialEq, Deserialize)]
struct Album {
    title: String,
    artist: String,
    label: String,
    country: String,
    rating: u8,
    year: u16,
    sold: u64,
    price: f64,
    in_stock: bool,
    note: Option<String>,
}

/// Replies of `HGETALL`.
fn replies() -> Vec<Value> {
    let replies = (0..HASHES).map(|at| {
        let fields = [
            ("title", format!("Earthbound, volume {at}")),
            ("artist", "The Long Playing Records".to_owned()),
            ("label", "4AD".to_owned()),
            ("country", "GB".to_owned()),
            ("rating", (at % 6).to_string()),
            ("year", (1960 + at % 60).to_string()),
            ("sold", (at * 7919).to_string()),
            ("price", format!("{}.99", at % 40)),
            ("in_stock", (at % 2).to_string()),
            ("note", "signed by the artist, with a poster".to_owned()),
        ];
        let items = fields.into_iter().flat_map(|(name, value)| [name.into(), value.into()]);
        Value::Array(items.collect())
    });
    replies.collect()
}

/// The values without the names, like a reply of `SORT … GET`.
fn rows(replies: &[Value]) -> Vec<Value> {
    let items = replies.iter().filter_map(Value::as_array);
    items.flat_map(|items| items.iter().skip(1).step_by(2).cloned()).collect()
}

/// The loop that `scan_struct` replaces.
fn by_hand(reply: Value) -> redigo::Result<Album> {
    let mut album = Album::default();
    let mut items = reply.convert::<Vec<Value>>()?.into_iter();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        match name.as_bytes() {
            Some(b"title") => album.title = value.convert()?,
            Some(b"artist") => album.artist = value.convert()?,
            Some(b"label") => album.label = value.convert()?,
            Some(b"country") => album.country = value.convert()?,
            Some(b"rating") => album.rating = value.convert()?,
            Some(b"year") => album.year = value.convert()?,
            Some(b"sold") => album.sold = value.convert()?,
            Some(b"price") => album.price = value.convert()?,
            Some(b"in_stock") => album.in_stock = value.convert()?,
            Some(b"note") => album.note = value.convert()?,
            _ => {}
        }
    }
    Ok(album)
}

/// The loop that `scan_slice` replaces.
fn rows_by_hand(reply: Value) -> redigo::Result<Vec<Album>> {
    let mut albums = Vec::new();
    let mut values = reply.convert::<Vec<Value>>()?.into_iter();
    while values.len() > 0 {
        let mut next = || values.next().unwrap_or(Value::Nil);
        albums.push(Album {
            title: next().convert()?,
            artist: next().convert()?,
            label: next().convert()?,
            country: next().convert()?,
            rating: next().convert()?,
            year: next().convert()?,
            sold: next().convert()?,
            price: next().convert()?,
            in_stock: next().convert()?,
            note: next().convert()?,
        });
    }
    Ok(albums)
}

/// Times the conversion of all replies. It consumes them, so each turn gets a copy made beforehand.
fn over(replies: &[Value], scan: impl Fn(Value) -> Album) -> Duration {
    let replies = replies.to_vec();
    time(|| replies.into_iter().map(scan).collect::<Vec<_>>())
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    let done = black_box(work());
    let taken = began.elapsed();
    drop(done);
    taken
}
