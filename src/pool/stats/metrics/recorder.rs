//! Publishes the statistics of a pool through the `metrics` facade, under OpenTelemetry's names.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Key, Label, Level, Metadata, Recorder, SharedString, Unit, with_recorder};

use crate::error::Error;
use crate::pool::stats::PoolStats;
use crate::pool::stats::close_reason::CloseReason;
use crate::pool::stats::metrics::Timing;

const POOL_NAME: &str = "db.client.connection.pool.name";
const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Sends the durations and statistics of a pool to the recorder of the process, if the pool has a name.
///
/// It looks the recorder up each time, so the program can install it after the pool was built.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Option<Arc<Keys>>);

/// The label of the pool, and the keys of the histograms, which are made once.
#[derive(Debug)]
struct Keys {
    pool: Label,
    create: Key,
    wait: Key,
    used: Key,
}

impl Meter {
    pub(crate) fn off() -> Meter {
        Meter(None)
    }

    pub(crate) fn named(pool: String) -> Meter {
        // Shared, so that keys do not copy the name.
        let pool = Label::new(POOL_NAME, SharedString::from(Arc::<str>::from(pool)));
        let key = |name| Key::from_parts(name, vec![pool.clone()]);
        let (create, wait, used) =
            (key(Timing::Create.name()), key(Timing::Wait.name()), key(Timing::Use.name()));
        Meter(Some(Arc::new(Keys { pool, create, wait, used })))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records one duration. A panic of the recorder is logged.
    ///
    /// Must not be called under the pool's lock: the recorder is the user's code.
    pub(crate) fn record(&self, timing: Timing, took: Duration) {
        let Some(keys) = &self.0 else { return };
        let key = match timing {
            Timing::Create => &keys.create,
            Timing::Wait => &keys.wait,
            Timing::Use => &keys.used,
        };
        let recorded = catch_unwind(AssertUnwindSafe(|| {
            with_recorder(|recorder| recorder.register_histogram(key, &METADATA).record(took));
        }));
        if let Err(panic) = recorded {
            let error = Error::panicked("the recorder of metrics", &*panic);
            log::warn!(target: "redigo::pool", "{error}");
        }
    }

    /// Sets all gauges and counters.
    pub(crate) fn publish(&self, stats: &PoolStats) {
        let Some(keys) = &self.0 else { return };
        with_recorder(|recorder| Publisher { recorder, pool: &keys.pool }.publish(stats));
    }
}

impl Timing {
    const ALL: [Timing; 3] = [Timing::Create, Timing::Wait, Timing::Use];

    fn name(self) -> &'static str {
        match self {
            Timing::Create => "db.client.connection.create_time",
            Timing::Wait => "db.client.connection.wait_time",
            Timing::Use => "db.client.connection.use_time",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Timing::Create => "How long it took to dial a connection",
            Timing::Wait => "How long it took to get a connection from the pool",
            Timing::Use => "How long a connection was in use",
        }
    }
}

/// Writes the statistics of one pool to a recorder.
struct Publisher<'a> {
    recorder: &'a dyn Recorder,
    pool: &'a Label,
}

impl Publisher<'_> {
    fn publish(&self, stats: &PoolStats) {
        for timing in Timing::ALL {
            let (name, about) = (timing.name(), timing.about());
            self.recorder.describe_histogram(name.into(), Some(Unit::Seconds), about.into());
        }
        self.gauges(
            "db.client.connection.count",
            "Open connections, by state",
            "db.client.connection.state",
            [("idle", stats.idle), ("used", stats.in_use)],
        );
        self.gauge(
            "db.client.connection.idle.max",
            "The limit of idle connections",
            stats.max_idle as f64,
        );
        self.gauge(
            "db.client.connection.idle.min",
            "The number of connections that the pool keeps idle",
            stats.min_idle as f64,
        );
        self.gauge(
            "db.client.connection.max",
            "The limit of open connections; infinite without a limit",
            stats.max_active.map_or(f64::INFINITY, |max| max as f64),
        );
        self.gauge(
            "db.client.connection.pending_requests",
            "Callers that wait for a connection",
            stats.waiting as f64,
        );
        self.counter(
            "db.client.connection.timeouts",
            "Callers that timed out before they got a connection",
            stats.wait_timeouts,
        );

        // Metrics without a name in OpenTelemetry.
        self.gauge("redigo.pool.dialing", "Connections being dialed", stats.dialing as f64);
        self.gauge(
            "redigo.pool.cleaning",
            "Dropped connections being cleaned, which count as used",
            stats.cleaning as f64,
        );
        self.gauge(
            "redigo.pool.overdue",
            "Connections in use for longer than leak_threshold",
            stats.overdue as f64,
        );
        self.counters(
            "redigo.pool.checkouts",
            "Callers, by whether they found an idle connection",
            "found",
            [("idle", stats.hits), ("none", stats.misses)],
        );
        self.counters(
            "redigo.pool.waits",
            "Callers that waited, or could not wait to the end, by outcome",
            "outcome",
            [
                ("served", stats.wait_count),
                ("timed_out", stats.wait_timeouts),
                ("canceled", stats.wait_cancels),
            ],
        );
        self.counters(
            "redigo.pool.refused",
            "Callers that failed immediately, by reason",
            "reason",
            [
                ("exhausted", stats.exhausted),
                ("breaker_open", stats.breaker_refusals),
                ("deadlock", stats.deadlocks),
            ],
        );
        self.counters(
            "redigo.pool.dialed",
            "Successful dials, by cause",
            "cause",
            [
                ("demand", stats.dialed.demand),
                ("min_idle", stats.dialed.min_idle),
                ("probe", stats.dialed.probe),
            ],
        );
        self.counter("redigo.pool.dial_errors", "Failed dials", stats.dial_errors);
        self.counter(
            "redigo.pool.late_dials",
            "Dials that succeeded after their caller had left",
            stats.late_dials,
        );
        self.counter(
            "redigo.pool.late_reused",
            "Connections of late dials that were checked out later",
            stats.late_reused,
        );
        self.counters(
            "redigo.pool.closed",
            "Connections that the pool closed, by reason",
            "reason",
            CloseReason::ALL.map(|reason| (reason.as_str(), stats.closed.of(reason))),
        );
        self.counter(
            "redigo.pool.detached",
            "Connections that their borrowers detached",
            stats.detached,
        );
        self.counter("redigo.pool.leaks", "Borrows reported as leaks", stats.leaks);
    }

    fn gauge(&self, name: &'static str, about: &'static str, value: f64) {
        self.recorder.describe_gauge(name.into(), Some(Unit::Count), about.into());
        self.recorder.register_gauge(&self.key(name, None), &METADATA).set(value);
    }

    fn gauges<const N: usize>(
        &self,
        name: &'static str,
        about: &'static str,
        label: &'static str,
        values: [(&'static str, usize); N],
    ) {
        self.recorder.describe_gauge(name.into(), Some(Unit::Count), about.into());
        for (word, value) in values {
            let key = self.key(name, Some((label, word)));
            self.recorder.register_gauge(&key, &METADATA).set(value as f64);
        }
    }

    fn counter(&self, name: &'static str, about: &'static str, value: u64) {
        self.recorder.describe_counter(name.into(), Some(Unit::Count), about.into());
        self.recorder.register_counter(&self.key(name, None), &METADATA).absolute(value);
    }

    fn counters<const N: usize>(
        &self,
        name: &'static str,
        about: &'static str,
        label: &'static str,
        values: [(&'static str, u64); N],
    ) {
        self.recorder.describe_counter(name.into(), Some(Unit::Count), about.into());
        for (word, value) in values {
            let key = self.key(name, Some((label, word)));
            self.recorder.register_counter(&key, &METADATA).absolute(value);
        }
    }

    fn key(&self, name: &'static str, label: Option<(&'static str, &'static str)>) -> Key {
        let own = label.map(|(label, word)| Label::from_static_parts(label, word));
        let labels: Vec<_> = [self.pool.clone()].into_iter().chain(own).collect();
        Key::from_parts(name, labels)
    }
}
