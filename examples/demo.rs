//! `make demo`: a pool under load, with a crash of the Redis server. Ends by itself.
//!
//! It starts a private redis-server and the web service of `web.rs`. Six clients store users, read them back and check
//! each body. After a third of the requests the Redis server is killed, and started again half a second later, while
//! the clients go on. It ends with a table. The status is 0 only if all checks passed.

#[path = "support/load.rs"]
mod load;
#[path = "support/report.rs"]
mod report;
#[path = "support/service.rs"]
mod service;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use load::{Client, Route, Sample, USERS_PER_CLIENT};
use redigo::testing::TempServer;
use redigo::{CloseReason, Pool, PoolStats};
use report::Outage;

const CLIENTS: usize = 6;
const REQUESTS_PER_CLIENT: usize = 1500;
const OUTAGE: Duration = Duration::from_millis(500);

/// The clients stop after this time, so the demo always ends.
const TIME_LIMIT: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    match run() {
        Ok(faults) if faults.is_empty() => {
            println!("\nall checks passed");
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            println!("\nchecks failed:");
            faults.iter().for_each(|fault| println!("  {fault}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the checks that failed.
fn run() -> Result<Vec<String>, Box<dyn Error>> {
    // The append-only file restores the data after the crash. Redis writes it before it answers, which is enough for a
    // killed process; syncing to disk protects against a power loss.
    let mut redis =
        TempServer::builder().arg("--appendonly", "yes").arg("--appendfsync", "no").start()?;
    let (major, minor, patch) = redis.version();
    println!("redis      {major}.{minor}.{patch}, private, on {}", redis.addr());

    let pool = service::pool(&redis.url())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, redigo::testing::unused_port()?));
    // The service's threads end with the process.
    service::serve(pool.clone(), address)?;
    println!("service    http://{address}");
    println!(
        "clients    {CLIENTS}, each with {REQUESTS_PER_CLIENT} requests to PUT and GET its own users\n"
    );

    let start = Instant::now();
    let (samples, outage) = put_under_load(&mut redis, &format!("http://{address}"));
    let took = start.elapsed().as_secs_f64();

    println!("\n{} requests in {took:.1} s\n", samples.len());
    let mut faults = report::print(&samples, outage);
    faults.extend(check_recovery(&samples, outage));
    faults.extend(check_pool(&pool));
    let by_clients = samples.iter().filter(|sample| sample.route != Route::Health);
    if by_clients.count() < CLIENTS * (REQUESTS_PER_CLIENT + USERS_PER_CLIENT) {
        faults.push(format!("the clients did not finish within {TIME_LIMIT:?}"));
    }
    Ok(faults)
}

/// Runs the clients. Meanwhile kills Redis and starts it again.
fn put_under_load(redis: &mut TempServer, base_url: &str) -> (Vec<Sample>, Outage) {
    let start = Instant::now();
    let deadline = start + TIME_LIMIT;
    let progress = AtomicUsize::new(0);
    let done = AtomicBool::new(false);

    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = Client::new(number, base_url);
                scope.spawn(|| client.run(REQUESTS_PER_CLIENT, deadline, &progress))
            })
            .collect();
        let monitor = Client::new(CLIENTS, base_url);
        let monitor = scope.spawn(|| monitor.monitor(deadline, || done.load(Ordering::Relaxed)));

        while progress.load(Ordering::Relaxed) < CLIENTS * REQUESTS_PER_CLIENT / 3
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(1));
        }
        let outage = crash(redis, start);

        let mut samples = Vec::new();
        for client in clients {
            samples.extend(client.join().expect("a client panicked"));
        }
        done.store(true, Ordering::Relaxed);
        samples.extend(monitor.join().expect("the monitor panicked"));
        (samples, outage)
    })
}

fn crash(redis: &mut TempServer, start: Instant) -> Outage {
    let killed = Instant::now();
    redis.kill();
    println!("{:>6.2} s   redis-server killed", (killed - start).as_secs_f64());
    thread::sleep(OUTAGE);
    redis.restart().expect("a restart on the same port");
    let back = Instant::now();
    println!("{:>6.2} s   redis-server is back, with its data", (back - start).as_secs_f64());
    Outage { killed, back }
}

fn check_recovery(samples: &[Sample], outage: Outage) -> Option<String> {
    let milliseconds = |time: Option<Duration>| match time {
        Some(time) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        None => "none".to_owned(),
    };
    let (first_success, last_error) = report::recovery(samples, outage);
    println!(
        "\nrecovery   after the restart: first success after {}; last error after {}",
        milliseconds(first_success),
        milliseconds(last_error),
    );
    first_success.is_none().then(|| "no request succeeded after the restart".to_owned())
}

fn check_pool(pool: &Pool) -> Vec<String> {
    // A dial that was started for the last requests can still be running.
    let give_up = Instant::now() + Duration::from_secs(1);
    while pool.stats().dialing > 0 && Instant::now() < give_up {
        thread::sleep(Duration::from_millis(1));
    }
    let stats = pool.stats();
    print_pool(&stats);

    let mut faults = Vec::new();
    let mut expect = |passed: bool, fault: &str| {
        if !passed {
            faults.push(format!("pool: {fault}"));
        }
    };
    expect(stats.in_use == 0, "a connection is still in use");
    expect(stats.dialing == 0, "a dial is still running");
    expect(stats.waiting == 0, "a caller is still waiting");
    expect(
        stats.open == stats.idle,
        "no connection is in use, but not all open connections are idle",
    );
    expect(
        stats.max_active.is_some_and(|most| stats.open <= most),
        "more connections are open than max_active",
    );
    expect(stats.dial_errors > 0, "no dial failed while Redis was down");
    faults
}

fn print_pool(stats: &PoolStats) {
    let most = stats.max_active.map_or("unlimited".to_owned(), |most| most.to_string());
    let (open, idle, in_use) = (stats.open, stats.idle, stats.in_use);
    println!("pool       {open} open (max_active {most}), {idle} idle, {in_use} in use");

    let (dials, errors) = (stats.dialed.total(), stats.dial_errors);
    let (broken, failed) = (stats.closed.of(CloseReason::Io), stats.closed.of(CloseReason::Health));
    println!(
        "           {dials} dialed, {errors} failed dials; closed: {broken} broken in use, {failed} by the health check"
    );

    let (hits, waits) = (stats.hits, stats.wait_count);
    let waited = stats.wait_duration.as_secs_f64() * 1e3;
    let gave_up = stats.wait_timeouts;
    println!(
        "           {hits} checkouts of an idle connection; {waits} waits, {waited:.1} ms in total; {gave_up} timed out"
    );
}
