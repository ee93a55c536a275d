//! A pool's metrics for Prometheus: `cargo run --features metrics --example prometheus`.
//!
//! Eight workers share a pool of four connections. They do some jobs; then the program fetches the
//! page that Prometheus would scrape, prints it and ends. With `LISTEN`, for example
//! `127.0.0.1:9000`, the workers go on and the page is served at `/metrics` until Ctrl-C.
//! `REDIS_URL`, for example `redis://127.0.0.1:6379`; if unset, the program starts a private
//! redis-server.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::{env, io, thread};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use oxhttp::model::header::{CONTENT_TYPE, HeaderValue};
use oxhttp::model::{Body, Request, Response, StatusCode};
use oxhttp::{ListeningServer, Server};
use redigo::testing::TempServer;
use redigo::{Dialer, Pool};

const WORKERS: usize = 8;
const JOBS_PER_WORKER: usize = 250;

/// The upper bounds of the histogram buckets, in seconds. Without them the exporter sends quantiles,
/// which cannot be aggregated over processes.
const BUCKETS: [f64; 11] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

// Unused when a test includes this file.
#[allow(dead_code)]
fn main() -> Result<(), Box<dyn Error>> {
    match env::var("LISTEN") {
        Ok(address) => serve_until_killed(address.parse()?),
        Err(_) => demo().map(|page| println!("{page}")),
    }
}

/// Does some jobs and returns the page for Prometheus.
pub(crate) fn demo() -> Result<String, Box<dyn Error>> {
    let metrics = install_recorder()?;
    // Kept until the end: dropping it stops the server.
    let (pool, _redis) = new_pool()?;
    thread::scope(|scope| {
        let worker = |_| scope.spawn(|| (0..JOBS_PER_WORKER).try_for_each(|_| do_job(&pool)));
        let workers: Vec<_> = (0..WORKERS).map(worker).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker panicked"))
    })?;

    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, redigo::testing::unused_port()?));
    let _serving = serve(pool, metrics, address)?;
    let mut page = ureq::get(format!("http://{address}/metrics")).call()?;
    Ok(page.body_mut().read_to_string()?)
}

fn serve_until_killed(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let metrics = install_recorder()?;
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
    println!("serving http://{address}/metrics; press Ctrl-C to stop");
    Ok(serve(pool, metrics, address)?.join()?)
}

/// Installs the recorder for the whole process.
fn install_recorder() -> Result<PrometheusHandle, Box<dyn Error>> {
    let times = Matcher::Prefix("db.client.connection".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(times, &BUCKETS)?;
    Ok(builder.install_recorder()?)
}

/// Returns the pool, and the private server if there is one.
fn new_pool() -> Result<(Pool, Option<TempServer>), Box<dyn Error>> {
    let mut private_redis = None;
    let redis_url = match env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => private_redis.insert(TempServer::start()?).url(),
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
    metrics: PrometheusHandle,
    address: SocketAddr,
) -> io::Result<ListeningServer> {
    Server::new(move |request| scrape(&pool, &metrics, request)).bind(address).spawn()
}

/// Publishes the pool's current metrics and renders the page.
fn scrape(pool: &Pool, metrics: &PrometheusHandle, request: &mut Request<Body>) -> Response<Body> {
    if request.uri().path() != "/metrics" {
        let mut response = Response::new(Body::from("see /metrics\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    pool.publish_metrics();
    let mut response = Response::new(Body::from(metrics.render()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
