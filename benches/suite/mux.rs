//! Many threads on one `Mux`, beside as many threads with a socket or a pooled connection each.

use redigo::{Mux, Pool, Value};

use crate::Setup;
use crate::commands::{Get, KEY, VALUE};
use crate::report::Report;
use crate::rounds::{rounds, time_threads};

pub(crate) fn run(report: &mut Report, setup: &Setup) {
    setup.ours().call("SET", (KEY, VALUE)).expect("SET");
    report.beside_raw("mux_64t", || {
        let (threads, operations) = (64, 100);
        let mux = Mux::new(setup.dialer());
        rounds(
            threads * operations,
            vec![
                Box::new(|| {
                    time_threads(threads, operations, || (), |()| get(mux.call("GET", KEY)))
                }),
                Box::new(|| {
                    let start = || (setup.raw(), Get::new());
                    time_threads(threads, operations, start, |(raw, get)| get.run(raw))
                }),
            ],
        )
    });
    for (name, threads, operations) in
        [("mux_1t", 1, 2_000), ("mux_4t", 4, 500), ("mux_16t", 16, 200), ("mux_64t", 64, 60)]
    {
        beside_a_pool(report, setup, name, threads, operations);
    }
}

fn beside_a_pool(
    report: &mut Report,
    setup: &Setup,
    name: &str,
    threads: usize,
    operations: usize,
) {
    report.beside(name, "a pool", || {
        let mux = Mux::new(setup.dialer());
        let pool = Pool::builder(setup.dialer()).max_active(threads).wait(true).build();
        let pool = pool.expect("valid options");
        rounds(
            threads * operations,
            vec![
                Box::new(|| {
                    time_threads(threads, operations, || (), |()| get(mux.call("GET", KEY)))
                }),
                Box::new(|| {
                    time_threads(
                        threads,
                        operations,
                        || (),
                        |()| {
                            let mut conn = pool.get();
                            let value = conn.call("GET", KEY);
                            conn.close().expect("a clean connection");
                            get(value);
                        },
                    )
                }),
            ],
        )
    });
}

fn get(reply: redigo::Result<Value>) {
    let right = matches!(&reply, Ok(Value::Bulk(value)) if value.len() == VALUE.len());
    assert!(right, "{reply:?}");
}
