//! `make demo`: the whole job on real input, ending by itself.
//!
//! A private redis-server, the web service of `web.rs` with its pool, and six clients that store users and read them
//! back, checking each body. A third of the way through, the Redis server is killed and half a second later started
//! again, while the clients go on. Then a table, and status 0 only if all was well.

#[path = "support/load.rs"]
mod load;
#[path = "../tests/support/redis_server.rs"]
mod redis_server;
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
use redigo::{CloseReason, Pool, PoolStats};
use redis_server::RedisServer;
use report::Outage;

const CLIENTS: usize = 6;
const REQUESTS_PER_CLIENT: usize = 1500;
const OUTAGE: Duration = Duration::from_millis(500);

/// Past this the clients stop, so that the demo ends whatever happens.
const TIME_LIMIT: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    match run() {
        Ok(faults) if faults.is_empty() => {
            println!("\nall is well");
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            println!("\nnot well:");
            faults.iter().for_each(|fault| println!("  {fault}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns what was not well.
fn run() -> Result<Vec<String>, Box<dyn Error>> {
    // With a log of all writes, so that what was stored is there again after the crash. It is written before Redis
    // answers, which is enough for a killed process; a sync to the disk is for a machine that loses its power.
    let mut redis =
        RedisServer::builder().arg("--appendonly", "yes").arg("--appendfsync", "no").try_start()?;
    let (major, minor, patch) = redis.redis_version();
    println!("redis      {major}.{minor}.{patch}, private, on {}", redis.addr());

    let pool = service::pool(&redis.url())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, redis_server::free_port()?));
    // Its threads end with the process.
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
        faults.push(format!("the clients were not done after {TIME_LIMIT:?}"));
    }
    Ok(faults)
}

/// Runs the clients, and meanwhile kills Redis and starts it again.
fn put_under_load(redis: &mut RedisServer, base_url: &str) -> (Vec<Sample>, Outage) {
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

fn crash(redis: &mut RedisServer, start: Instant) -> Outage {
    let killed = Instant::now();
    redis.kill();
    println!("{:>6.2} s   redis-server killed", (killed - start).as_secs_f64());
    thread::sleep(OUTAGE);
    redis.restart();
    let back = Instant::now();
    println!("{:>6.2} s   redis-server is back, with its data", (back - start).as_secs_f64());
    Outage { killed, back }
}

fn check_recovery(samples: &[Sample], outage: Outage) -> Option<String> {
    let milliseconds = |time: Option<Duration>| match time {
        Some(time) => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        None => "none".to_owned(),
    };
    let (first_well, last_failed) = report::recovery(samples, outage);
    println!(
        "\nrecovery   once Redis was back, the first good answer came after {}; the last error: {}",
        milliseconds(first_well),
        milliseconds(last_failed),
    );
    first_well.is_none().then(|| "no good answer after the restart".to_owned())
}

fn check_pool(pool: &Pool) -> Vec<String> {
    // A connection that was being dialled for the last requests may still be on its way to the idle list.
    let settled = Instant::now() + Duration::from_secs(1);
    while pool.stats().dialing > 0 && Instant::now() < settled {
        thread::sleep(Duration::from_millis(1));
    }
    let stats = pool.stats();
    print_pool(&stats);

    let mut faults = Vec::new();
    let mut expect = |well: bool, fault: &str| {
        if !well {
            faults.push(format!("pool: {fault}"));
        }
    };
    expect(stats.in_use == 0, "a connection is still lent");
    expect(stats.dialing == 0, "a dial is still under way");
    expect(stats.waiting == 0, "somebody is still waiting");
    expect(stats.open == stats.idle, "none is lent, yet not all that are open are idle");
    expect(
        stats.max_active.is_some_and(|most| stats.open <= most),
        "more are open than max_active",
    );
    expect(stats.dial_errors > 0, "no dial failed while Redis was off");
    faults
}

fn print_pool(stats: &PoolStats) {
    let most = stats.max_active.map_or("any number".to_owned(), |most| most.to_string());
    let (open, idle, in_use) = (stats.open, stats.idle, stats.in_use);
    println!("pool       open {open} of at most {most}, idle {idle}, in use {in_use}");

    let (dials, errors) = (stats.dialed.total(), stats.dial_errors);
    let (broken, failed) = (stats.closed.of(CloseReason::Io), stats.closed.of(CloseReason::Health));
    println!(
        "           {dials} dialled, {errors} dials failed; closed: {broken} broken in use, {failed} failed their test"
    );

    let (hits, waits) = (stats.hits, stats.wait_count);
    let waited = stats.wait_duration.as_secs_f64() * 1e3;
    let gave_up = stats.wait_timeouts;
    println!(
        "           {hits} lent from the idle list; {waits} waits, {waited:.1} ms in all; {gave_up} gave up waiting"
    );
}
