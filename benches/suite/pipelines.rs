//! Many commands in one round trip.

use crate::Setup;
use crate::commands::{KEY, VALUE};
use crate::raw;
use crate::report::Report;
use crate::rounds::{rounds, time};

pub(crate) fn run(report: &mut Report, setup: &Setup) {
    setup.ours().call("SET", (KEY, VALUE)).expect("SET");
    a_hundred_gets(report, setup);
    ten_thousand_sets(report, setup);
}

fn a_hundred_gets(report: &mut Report, setup: &Setup) {
    const BATCHES: usize = 50;
    const COMMANDS: usize = 100;
    report.beside_both("pipeline_100", || {
        let (mut ours, mut theirs, mut raw) = (setup.ours(), setup.peer(), setup.raw());
        let batch = raw::command(["GET", KEY]).repeat(COMMANDS);
        let length = COMMANDS * format!("${}\r\n{VALUE}\r\n", VALUE.len()).len();
        rounds(
            BATCHES,
            vec![
                Box::new(|| {
                    time(BATCHES, || {
                        let mut pipeline = ours.pipeline();
                        (0..COMMANDS).for_each(|_| pipeline.push("GET", KEY));
                        pipeline.query::<Vec<String>>().expect("a batch")
                    })
                }),
                Box::new(|| {
                    time(BATCHES, || {
                        let mut pipeline = redis::pipe();
                        for _ in 0..COMMANDS {
                            pipeline.cmd("GET").arg(KEY);
                        }
                        pipeline.query::<Vec<String>>(&mut theirs).expect("a batch")
                    })
                }),
                Box::new(|| {
                    time(BATCHES, || {
                        raw.write(&batch);
                        let mut replies = Vec::with_capacity(length);
                        raw.read(&mut replies, length);
                        replies
                    })
                }),
            ],
        )
    });
}

/// All replies fit into the socket's buffers, so the raw contender can write everything before it
/// reads.
fn ten_thousand_sets(report: &mut Report, setup: &Setup) {
    const COMMANDS: usize = 10_000;
    report.beside_both("pipeline_10k", || {
        let (mut ours, mut theirs, mut raw) = (setup.ours(), setup.peer(), setup.raw());
        let keys: Vec<String> = (0..COMMANDS).map(|at| format!("key:{at}")).collect();
        let value = "v".repeat(100);
        let batch: Vec<u8> =
            keys.iter().flat_map(|key| raw::command(["SET", key, &value])).collect();
        rounds(
            1,
            vec![
                Box::new(|| {
                    time(1, || {
                        let mut pipeline = ours.pipeline();
                        keys.iter().for_each(|key| pipeline.push("SET", (key, &value)));
                        pipeline.query::<()>().expect("a batch")
                    })
                }),
                Box::new(|| {
                    time(1, || {
                        let mut pipeline = redis::pipe();
                        for key in &keys {
                            pipeline.cmd("SET").arg(key).arg(&value).ignore();
                        }
                        pipeline.query::<()>(&mut theirs).expect("a batch")
                    })
                }),
                Box::new(|| {
                    time(1, || {
                        raw.write(&batch);
                        let mut replies = Vec::new();
                        raw.read(&mut replies, COMMANDS * b"+OK\r\n".len());
                        replies
                    })
                }),
            ],
        )
    });
}
