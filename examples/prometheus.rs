//! A pool's numbers for Prometheus: `cargo run --features metrics --example prometheus`.
//!
//! Eight workers share a pool of four connections. They do some jobs, then the page that Prometheus
//! would scrape is fetched once and printed, and the program ends. With `LISTEN`, as
//! `127.0.0.1:9000`, they go on and the page is served at `/metrics` until Ctrl-C. `REDIS_URL`, as
//! `redis://127.0.0.1:6379`; without it a private redis-server is started.

#[path = "../tests/support/redis_server.rs"]
mod redis_server;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::{env, io, thread};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use oxhttp::model::header::{CONTENT_TYPE, HeaderValue};
use oxhttp::model::{Body, Request, Response, StatusCode};
use oxhttp::{ListeningServer, Server};
use redigo::{Dialer, Pool};
use redis_server::RedisServer;

const WORKERS: usize = 8;
const JOBS_PER_WORKER: usize = 250;

/// The upper bounds of the histograms, in seconds. Without them Prometheus gets quantiles, which
/// cannot be added up over several processes.
const BUCKETS: [f64; 11] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

// Not run where a test includes this file.
#[allow(dead_code)]
fn main() -> Result<(), Box<dyn Error>> {
    match env::var("LISTEN") {
        Ok(address) => serve_until_killed(address.parse()?),
        Err(_) => demo().map(|page| println!("{page}")),
    }
}

/// Does some jobs and returns the page that Prometheus would get.
pub(crate) fn demo() -> Result<String, Box<dyn Error>> {
    let numbers = install_recorder()?;
    // Kept to the end: dropping it ends the server.
    let (pool, _redis) = new_pool()?;
    thread::scope(|scope| {
        let worker = |_| scope.spawn(|| (0..JOBS_PER_WORKER).try_for_each(|_| do_job(&pool)));
        let workers: Vec<_> = (0..WORKERS).map(worker).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker has panicked"))
    })?;

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, redis_server::free_port()?));
    let _serving = serve(pool, numbers, address)?;
    let mut page = ureq::get(format!("http://{address}/metrics")).call()?;
    Ok(page.body_mut().read_to_string()?)
}

fn serve_until_killed(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let numbers = install_recorder()?;
    let (pool, _redis) = new_pool()?;
    for _ in 0..WORKERS {
        let pool = pool.clone();
        thread::spawn(move || {
            loop {
                if let Err(error) = do_job(&pool) {
                    eprintln!("{error}");
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
    }
    println!("serving http://{address}/metrics; Ctrl-C ends it");
    Ok(serve(pool, numbers, address)?.join()?)
}

/// For everything in this process that tells the `metrics` facade something.
fn install_recorder() -> Result<PrometheusHandle, Box<dyn Error>> {
    let times = Matcher::Prefix("db.client.connection".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(times, &BUCKETS)?;
    Ok(builder.install_recorder()?)
}

/// The pool, and the server if that is ours.
fn new_pool() -> Result<(Pool, Option<RedisServer>), Box<dyn Error>> {
    let mut private_redis = None;
    let redis_url = match env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => private_redis.insert(RedisServer::builder().try_start()?).url(),
    };
    let pool = Pool::builder(Dialer::url(&redis_url)?.read_timeout(Duration::from_secs(1)))
        .max_active(4)
        .wait_timeout(Duration::from_secs(5))
        .peek_after(Duration::from_secs(1))
        .metrics("jobs")
        .build()?;
    Ok((pool, private_redis))
}

fn do_job(pool: &Pool) -> redigo::Result<()> {
    let mut conn = pool.acquire()?;
    conn.call("SET", ("prometheus:job", "done", "EX", 60))?;
    conn.close()
}

fn serve(
    pool: Pool,
    numbers: PrometheusHandle,
    address: SocketAddr,
) -> io::Result<ListeningServer> {
    Server::new(move |request| scrape(&pool, &numbers, request)).bind(address).spawn()
}

/// The numbers as they are at this moment.
fn scrape(pool: &Pool, numbers: &PrometheusHandle, request: &mut Request<Body>) -> Response<Body> {
    if request.uri().path() != "/metrics" {
        let mut response = Response::new(Body::from("see /metrics\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    pool.publish_metrics();
    let mut response = Response::new(Body::from(numbers.render()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
