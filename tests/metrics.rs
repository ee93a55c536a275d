//! The metrics of a pool, and that the recorder cannot harm the pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use redigo::testing::ManualClock;
use redigo::{CloseReason, Context, Pool};

mod support;

use support::fake_conn::{FakeDialer, Verdict};
use support::live;
use support::recorder::Notes;
use support::threads::{join, start_waiting};
use support::wait::{PATIENCE, promptly, wait_until};

const CREATE: &str = "db.client.connection.create_time";
const WAIT: &str = "db.client.connection.wait_time";
const USE: &str = "db.client.connection.use_time";

/// The series of this pool without another label.
fn of(pool: &str, name: &str) -> String {
    format!("{name}{{db.client.connection.pool.name={pool}}}")
}

/// The series of this pool with this label.
fn with(pool: &str, name: &str, label: &str) -> String {
    let mut labels = [format!("db.client.connection.pool.name={pool}"), label.to_owned()];
    labels.sort();
    format!("{name}{{{}}}", labels.join(","))
}

#[test]
fn publish_shows_the_current_state() {
    let notes = Notes::of_the_process();
    let pool = FakeDialer::new().pool().max_active(3).max_idle(2).wait(true);
    let pool = pool.detect_deadlock(true).metrics("looks").build().unwrap();
    let mut conns: Vec<_> = (0..3).map(|_| pool.acquire().unwrap()).collect();
    let waiter = start_waiting(&pool, |pool| pool.acquire().map(drop));
    pool.publish_metrics();
    let expect = |series: String, value: f64| {
        assert_eq!(notes.value(&series), Some(value), "{series}");
    };
    let state = |state| {
        with("looks", "db.client.connection.count", &format!("db.client.connection.state={state}"))
    };
    expect(state("idle"), 0.0);
    expect(state("used"), 3.0);
    expect(of("looks", "db.client.connection.pending_requests"), 1.0);
    expect(of("looks", "db.client.connection.max"), 3.0);
    expect(of("looks", "db.client.connection.idle.max"), 2.0);
    expect(of("looks", "db.client.connection.idle.min"), 0.0);

    // This thread holds all connections and would wait for itself.
    (0..2).for_each(|_| assert!(pool.acquire().is_err()));

    conns.truncate(1);
    join(waiter).unwrap();
    // Values change only when they are published.
    expect(of("looks", "db.client.connection.pending_requests"), 1.0);
    pool.publish_metrics();
    expect(of("looks", "db.client.connection.pending_requests"), 0.0);
    expect(state("idle"), 2.0);
    expect(state("used"), 1.0);
    expect(with("looks", "redigo.pool.waits", "outcome=served"), 1.0);
    expect(with("looks", "redigo.pool.refused", "reason=deadlock"), 2.0);
}

#[test]
fn limits_follow_a_resize_and_no_limit_is_infinite() {
    let notes = Notes::of_the_process();
    let pool = FakeDialer::new().pool().min_idle(1).metrics("limits").build().unwrap();
    let limits = || {
        pool.publish_metrics();
        ["max", "idle.max", "idle.min"].map(|which| {
            notes.value(&of("limits", &format!("db.client.connection.{which}"))).unwrap()
        })
    };
    assert_eq!(limits(), [f64::INFINITY, 32.0, 1.0]);
    pool.resize(8, 4).unwrap();
    assert_eq!(limits(), [8.0, 4.0, 1.0]);
    pool.resize(0, 5).unwrap();
    assert_eq!(limits(), [f64::INFINITY, 5.0, 1.0]);
}

#[test]
fn every_count_is_published() {
    let notes = Notes::of_the_process();
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(2).metrics("counts").build().unwrap();
    // The caller of a dial leaves, and the connection is used by the next caller.
    let late = || {
        dialer.set(Verdict::Hang);
        assert!(pool.get_timeout(Duration::ZERO).is_err());
        dialer.decide(Verdict::Connect);
        wait_until("the connection is idle", || pool.idle_count() == 1);
        dialer.set(Verdict::Refuse);
        pool.acquire().unwrap()
    };
    let (first, second) = (late(), late());
    (0..5).for_each(|_| assert!(pool.acquire().is_err()));
    first.discard();
    (0..3).for_each(|_| assert!(pool.acquire().is_err()));
    drop(second.detach());
    dialer.set(Verdict::Connect);
    pool.acquire().unwrap().close().unwrap();
    (0..6).for_each(|_| pool.acquire().unwrap().close().unwrap());
    let (canceled, handle) = Context::background().with_cancel();
    handle.cancel();
    (0..4).for_each(|_| assert!(pool.get_context(&canceled).is_err()));
    pool.evict_all();
    pool.warm_up(1, PATIENCE).unwrap();
    pool.evict_all();
    // One more late dial, whose connection is not used.
    dialer.set(Verdict::Hang);
    assert!(pool.get_timeout(Duration::ZERO).is_err());
    dialer.decide(Verdict::Connect);
    wait_until("the connection is idle", || pool.idle_count() == 1);
    pool.evict_all();

    let stats = pool.stats();
    pool.publish_metrics();
    let expect = |name: &str, label: Option<&str>, value: u64| {
        let series = label.map_or(of("counts", name), |label| with("counts", name, label));
        assert_eq!(notes.value(&series), Some(value as f64), "{series}: {stats:?}");
    };
    expect("db.client.connection.timeouts", None, 3);
    expect("redigo.pool.checkouts", Some("found=idle"), 2 + 6);
    expect("redigo.pool.checkouts", Some("found=none"), 3 + 3 + 1);
    expect("redigo.pool.waits", Some("outcome=served"), 0);
    expect("redigo.pool.waits", Some("outcome=timed_out"), 3);
    expect("redigo.pool.waits", Some("outcome=canceled"), 4);
    expect("redigo.pool.refused", Some("reason=exhausted"), 5);
    expect("redigo.pool.refused", Some("reason=breaker_open"), 0);
    expect("redigo.pool.refused", Some("reason=deadlock"), 0);
    expect("redigo.pool.dialed", Some("cause=demand"), 4);
    expect("redigo.pool.dialed", Some("cause=min_idle"), 1);
    expect("redigo.pool.dialed", Some("cause=probe"), 0);
    expect("redigo.pool.dial_errors", None, 3);
    expect("redigo.pool.late_dials", None, 3);
    expect("redigo.pool.late_reused", None, 2);
    expect("redigo.pool.detached", None, 1);
    expect("redigo.pool.leaks", None, 0);
    expect("redigo.pool.dialing", None, 0);
    expect("redigo.pool.cleaning", None, 0);
    expect("redigo.pool.overdue", None, 0);
    for reason in CloseReason::ALL {
        expect("redigo.pool.closed", Some(&format!("reason={reason}")), stats.closed.of(reason));
    }
    assert_eq!(stats.closed.of(CloseReason::Discarded), 1);
    assert_eq!(stats.closed.of(CloseReason::Evicted), 3);
}

#[test]
fn leaks_and_breaker_refusals_are_published() {
    let notes = Notes::of_the_process();
    let (dialer, clock) = (FakeDialer::new(), ManualClock::new());
    let pool = dialer
        .pool()
        .leak_threshold(Duration::from_secs(30))
        .breaker(2)
        .clock(clock.clone())
        .metrics("overdue")
        .build()
        .unwrap();
    let conn = pool.acquire().unwrap();
    dialer.set(Verdict::Refuse);
    (0..2).for_each(|_| assert!(pool.acquire().is_err()));
    assert!(pool.acquire().is_err());
    clock.advance(Duration::from_secs(31));
    wait_until("the borrow is reported", || pool.stats().leaks == 1);
    wait_until("the first probe has failed", || pool.stats().dial_errors == 3);
    pool.publish_metrics();
    let value = |series: String| notes.value(&series);
    assert_eq!(value(of("overdue", "redigo.pool.overdue")), Some(1.0));
    assert_eq!(value(of("overdue", "redigo.pool.leaks")), Some(1.0));
    let refused = pool.stats().breaker_refusals as f64;
    assert!(refused >= 1.0);
    let series = with("overdue", "redigo.pool.refused", "reason=breaker_open");
    assert_eq!(value(series), Some(refused));
    drop(conn);
    // The probe of the breaker.
    pool.evict_all();
    (0..2).for_each(|_| assert!(pool.acquire().is_err()));
    dialer.set(Verdict::Connect);
    clock.advance(Duration::from_secs(60));
    wait_until("the probe succeeds", || pool.idle_count() == 1);
    pool.publish_metrics();
    assert_eq!(value(with("overdue", "redigo.pool.dialed", "cause=probe")), Some(1.0));
    assert_eq!(value(of("overdue", "redigo.pool.overdue")), Some(0.0));
    assert_eq!(value(of("overdue", "redigo.pool.leaks")), Some(1.0));
}

#[test]
fn each_borrow_is_recorded_in_seconds_however_it_ends() {
    let notes = Notes::of_the_process();
    let clock = ManualClock::new();
    let pool = FakeDialer::new().pool().clock(clock.clone()).metrics("loans").build().unwrap();
    let lend = |seconds: f64| {
        let conn = pool.acquire().unwrap();
        clock.advance(Duration::from_secs_f64(seconds));
        conn
    };
    lend(1.0).close().unwrap();
    drop(lend(0.25));
    lend(2.0).discard();
    drop(lend(3.5).detach());
    let told = notes.times(&of("loans", USE));
    assert_eq!(told, [1.0, 0.25, 2.0, 3.5]);
    let stats = pool.stats();
    assert_eq!((stats.use_time.count(), stats.use_time.sum()), (4, Duration::from_secs_f64(6.75)));
}

#[test]
fn connection_that_fails_its_test_records_no_use_time() {
    let notes = Notes::of_the_process();
    let pool = FakeDialer::new().pool().max_active(1).metrics("unlent");
    // New connections are not tested, and the second is new because the first was closed.
    let pool = pool.test_on_borrow(|_, _| Err(redigo::Error::Nil)).build().unwrap();
    (0..3).for_each(|_| pool.acquire().unwrap().close().unwrap());
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 2);
    assert_eq!(notes.times(&of("unlent", USE)).len(), 3);
    assert_eq!(pool.stats().use_time.count(), 3);
}

#[test]
fn checkout_that_fails_records_no_use_time() {
    let pool = FakeDialer::new().pool().track_borrows(true);
    let pool = pool.on_borrow(|_| Err(redigo::Error::Nil)).build().unwrap();
    assert!(pool.acquire().unwrap_err().is_nil());
    assert_eq!(pool.stats().closed.of(CloseReason::Hook), 1);
    assert_eq!(pool.stats().use_time.count(), 0);

    // The caller is canceled during the test of its connection.
    let (ctx, handle) = Context::background().with_cancel();
    let pool = FakeDialer::new().pool().track_borrows(true);
    let pool = pool.test_on_borrow(move |_, _| {
        handle.cancel();
        Err(redigo::Error::Nil)
    });
    let pool = pool.build().unwrap();
    pool.acquire().unwrap().close().unwrap();
    assert!(pool.get_context(&ctx).unwrap_err().is_canceled());
    assert_eq!(pool.stats().closed.of(CloseReason::Health), 1);
    assert_eq!(pool.stats().use_time.count(), 1);
}

#[test]
fn successful_dials_and_checkouts_are_recorded_on_any_thread() {
    let notes = Notes::of_the_process();
    let dialer = FakeDialer::new();
    let pool = dialer.pool().max_active(2).wait(true).metrics("times").build().unwrap();
    let count = |name| notes.times(&of("times", name)).len();
    let own = pool.acquire().unwrap();
    assert_eq!((count(CREATE), count(WAIT)), (1, 1));
    // This one is dialed on a dial thread.
    let other = promptly("a dial", || pool.get_timeout(PATIENCE)).unwrap();
    assert_eq!((count(CREATE), count(WAIT)), (2, 2));
    // A caller without a connection counts as a timeout instead.
    assert!(pool.get_timeout(Duration::from_millis(1)).is_err());
    assert_eq!(count(WAIT), 2);
    let waiter = start_waiting(&pool, |pool| pool.acquire().map(drop));
    drop(own);
    join(waiter).unwrap();
    drop(other);
    dialer.set(Verdict::Refuse);
    pool.evict_all();
    assert!(pool.acquire().is_err());
    assert_eq!((count(CREATE), count(WAIT), count(USE)), (2, 3, 3));
    assert_eq!(pool.stats().dial_time.count(), 2);
}

#[test]
fn times_on_a_real_server_are_recorded() {
    let notes = Notes::of_the_process();
    let pool = Pool::builder(live::dialer()).max_active(1).wait(true).metrics("real");
    let pool = pool.build().unwrap();
    let mut conn = pool.acquire().unwrap();
    let waiter = start_waiting(&pool, |pool| pool.acquire().map(drop));
    conn.call("BLPOP", ("nothing comes", "0.05")).unwrap();
    conn.close().unwrap();
    join(waiter).unwrap();
    let times = |name| notes.times(&of("real", name));
    assert!(matches!(times(CREATE)[..], [dial] if dial > 0.0 && dial < PATIENCE.as_secs_f64()));
    // The next borrower is served before this borrow is recorded, so the order can differ.
    let mut used = times(USE);
    used.sort_by(f64::total_cmp);
    assert!(matches!(used[..], [short, long] if long >= 0.04 && short < long), "{used:?}");
    assert!(times(WAIT).iter().all(|&wait| wait > 0.0), "{:?}", times(WAIT));
}

#[test]
fn each_metric_is_described_with_its_unit() {
    let notes = Notes::default();
    let pool = FakeDialer::new().pool().metrics("described").build().unwrap();
    metrics::with_local_recorder(&notes, || {
        pool.acquire().unwrap().close().unwrap();
        pool.publish_metrics();
    });
    let series = notes.series();
    assert!(series.len() > 40, "{series:?}");
    for series in &series {
        assert!(series.contains("db.client.connection.pool.name=described"), "{series}");
        let name = series.split('{').next().unwrap();
        let (unit, words) = notes.description(name).unwrap_or_else(|| panic!("{name}"));
        let expected = if name.ends_with("_time") { Unit::Seconds } else { Unit::Count };
        assert_eq!(unit, Some(expected), "{name}");
        assert!(words.len() > 10, "{name}: {words}");
    }
}

#[test]
fn rustdoc_names_all_published_metrics() {
    let notes = Notes::default();
    let pool = FakeDialer::new().pool().metrics("documented").build().unwrap();
    metrics::with_local_recorder(&notes, || {
        pool.acquire().unwrap().close().unwrap();
        pool.publish_metrics();
    });
    let source = include_str!("../src/pool/builder/monitoring.rs");
    for series in notes.series() {
        let name = series.split('{').next().unwrap();
        // Rows with several names shorten them to the last part.
        let tail = ["db.client.connection", "redigo.pool"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or_else(|| panic!("{name}"));
        assert!(source.contains(&format!("{tail}`")), "{name} is not in the table");
    }
}

#[test]
fn pool_without_a_name_publishes_nothing() {
    let notes = Notes::default();
    let pool = FakeDialer::new().pool().track_borrows(true).build().unwrap();
    metrics::with_local_recorder(&notes, || {
        pool.acquire().unwrap().close().unwrap();
        pool.publish_metrics();
    });
    assert_eq!(notes.series(), [""; 0]);
}

#[test]
fn recorder_can_be_installed_after_the_pool() {
    let notes = Notes::default();
    let pool = FakeDialer::new().pool().metrics("before").build().unwrap();
    pool.acquire().unwrap().close().unwrap();
    metrics::with_local_recorder(&notes, || {
        pool.acquire().unwrap().close().unwrap();
        pool.publish_metrics();
    });
    assert_eq!(notes.times(&of("before", USE)).len(), 1);
    let hits = with("before", "redigo.pool.checkouts", "found=idle");
    assert_eq!(notes.value(&hits), Some(1.0));
}

/// A recorder whose histograms do what the test wants.
struct Unruly<F>(F);

impl<F: Fn() -> Histogram> Recorder for Unruly<F> {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        (self.0)()
    }
}

#[test]
fn panicking_recorder_does_not_affect_the_pool() {
    let pool = FakeDialer::new().pool().max_active(1).metrics("unruly").build().unwrap();
    let recorder = Unruly(|| panic!("on purpose"));
    let used = catch_unwind(AssertUnwindSafe(|| {
        metrics::with_local_recorder(&recorder, || {
            pool.acquire().unwrap().close().unwrap();
            drop(pool.acquire().unwrap());
            pool.acquire().unwrap().discard();
            pool.acquire().unwrap().close().unwrap();
        });
    }));
    assert!(used.is_ok());
    let stats = pool.stats();
    assert_eq!((stats.open, stats.idle, stats.dialed.demand), (1, 1, 2));
}

#[test]
fn recorder_can_use_the_pool() {
    /// Would wait forever under the pool's lock.
    struct Looks(&'static OnceLock<Pool>);

    impl HistogramFn for Looks {
        fn record(&self, _: f64) {
            if let Some(pool) = self.0.get() {
                assert!(pool.stats().open <= 1);
            }
        }
    }

    static POOL: OnceLock<Pool> = OnceLock::new();
    let pool = FakeDialer::new().pool().max_active(1).metrics("curious").build().unwrap();
    let pool = POOL.get_or_init(|| pool);
    let recorder = Unruly(|| Histogram::from_arc(std::sync::Arc::new(Looks(&POOL))));
    promptly("using a pool in its recorder", || {
        metrics::with_local_recorder(&recorder, || {
            pool.acquire().unwrap().close().unwrap();
            pool.acquire().unwrap().discard();
            drop(pool.acquire().unwrap().detach());
        });
    });
}
