//! A pool's numbers for the `metrics` facade, under the names that OpenTelemetry has for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Key, Label, Level, Metadata, Recorder, SharedString, Unit, with_recorder};

use crate::error::Error;
use crate::pool::meter::Timing;
use crate::pool::stats::PoolStats;
use crate::pool::stats::close_reason::CloseReason;

const POOL_NAME: &str = "db.client.connection.pool.name";
const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Tells the recorder of the process what a pool does, if the pool has a name for it.
///
/// Each time it asks for the recorder anew, which may therefore be installed after the pool was built.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Option<Arc<Keys>>);

/// What is told as it happens has its keys made once.
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
        // PoolInner, so that none of the many keys copies it.
        let pool = Label::new(POOL_NAME, SharedString::from(Arc::<str>::from(pool)));
        let key = |name| Key::from_parts(name, vec![pool.clone()]);
        let (create, wait, used) =
            (key(Timing::Create.name()), key(Timing::Wait.name()), key(Timing::Use.name()));
        Meter(Some(Arc::new(Keys { pool, create, wait, used })))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Never to be called under the pool's lock: the recorder is a user's, and so may a panic be.
    pub(crate) fn record(&self, timing: Timing, took: Duration) {
        let Some(keys) = &self.0 else { return };
        let key = match timing {
            Timing::Create => &keys.create,
            Timing::Wait => &keys.wait,
            Timing::Use => &keys.used,
        };
        let told = catch_unwind(AssertUnwindSafe(|| {
            with_recorder(|recorder| recorder.register_histogram(key, &METADATA).record(took));
        }));
        if let Err(panic) = told {
            let error = Error::panicked("the recorder of metrics", &*panic);
            log::warn!(target: "redigo::pool", "{error}");
        }
    }

    /// Sets everything that is not told as it happens.
    pub(crate) fn publish(&self, stats: &PoolStats) {
        let Some(keys) = &self.0 else { return };
        with_recorder(|recorder| Page { recorder, pool: &keys.pool }.write(stats));
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
            Timing::Use => "How long a connection was out",
        }
    }
}

/// One look at a pool, written to a recorder.
struct Page<'a> {
    recorder: &'a dyn Recorder,
    pool: &'a Label,
}

impl Page<'_> {
    fn write(&self, stats: &PoolStats) {
        for timing in Timing::ALL {
            let (name, about) = (timing.name(), timing.about());
            self.recorder.describe_histogram(name.into(), Some(Unit::Seconds), about.into());
        }
        self.gauges(
            "db.client.connection.count",
            "Connections that are open, by what they do",
            "db.client.connection.state",
            [("idle", stats.idle), ("used", stats.in_use)],
        );
        self.gauge(
            "db.client.connection.idle.max",
            "The most connections that are kept idle",
            stats.max_idle as f64,
        );
        self.gauge(
            "db.client.connection.idle.min",
            "How many connections are to be idle",
            stats.min_idle as f64,
        );
        self.gauge(
            "db.client.connection.max",
            "The most connections that may be open; infinite where there is no limit",
            stats.max_active.map_or(f64::INFINITY, |max| max as f64),
        );
        self.gauge(
            "db.client.connection.pending_requests",
            "Callers that wait for a connection",
            stats.waiting as f64,
        );
        self.counter(
            "db.client.connection.timeouts",
            "Callers whose time was over before they had a connection",
            stats.wait_timeouts,
        );

        // What OpenTelemetry has no name for.
        self.gauge("redigo.pool.dialing", "Connections being dialled", stats.dialing as f64);
        self.gauge(
            "redigo.pool.overdue",
            "Connections out for longer than leak_threshold",
            stats.overdue as f64,
        );
        self.counters(
            "redigo.pool.checkouts",
            "Callers that found an idle connection, or none",
            "found",
            [("idle", stats.hits), ("none", stats.misses)],
        );
        self.counters(
            "redigo.pool.waits",
            "Callers that had to wait at the maximum, or could not wait to the end",
            "outcome",
            [
                ("served", stats.wait_count),
                ("timed_out", stats.wait_timeouts),
                ("canceled", stats.wait_cancels),
            ],
        );
        self.counters(
            "redigo.pool.refused",
            "Callers that were refused at once",
            "reason",
            [
                ("exhausted", stats.exhausted),
                ("breaker_open", stats.breaker_refusals),
                ("deadlock", stats.deadlocks),
            ],
        );
        self.counters(
            "redigo.pool.dialed",
            "Connections that were dialled, by what for",
            "cause",
            [
                ("demand", stats.dialed.demand),
                ("min_idle", stats.dialed.min_idle),
                ("probe", stats.dialed.probe),
            ],
        );
        self.counter("redigo.pool.dial_errors", "Dials that failed", stats.dial_errors);
        self.counter(
            "redigo.pool.late_dials",
            "Connections whose caller had left when they were there",
            stats.late_dials,
        );
        self.counter(
            "redigo.pool.late_reused",
            "Connections of these that were lent after all",
            stats.late_reused,
        );
        self.counters(
            "redigo.pool.closed",
            "Connections that the pool has closed",
            "reason",
            CloseReason::ALL.map(|reason| (reason.as_str(), stats.closed.of(reason))),
        );
        self.counter(
            "redigo.pool.detached",
            "Connections that their borrower has taken out of the pool",
            stats.detached,
        );
        self.counter("redigo.pool.leaks", "Loans reported as too long", stats.leaks);
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
