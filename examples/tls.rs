//! A pool with mutual TLS, and the errors of a wrong configuration:
//! `cargo run --features tls --example tls`.
//!
//! Environment: `REDIS_URL`, for example `rediss://redis.internal:6380`, and `TLS_CA_FILE`,
//! `TLS_CERT_FILE` and `TLS_KEY_FILE` if the server needs them. Without `REDIS_URL` the example
//! starts a redis-server that requires client certificates, made with the openssl tool.

#[path = "../tests/support/certs.rs"]
pub(crate) mod certs;

use std::env;
use std::error::Error;
use std::thread;
use std::time::Duration;

use certs::cert;
use redigo::testing::TempServer;
use redigo::{Dialer, Pool, check};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    if let Ok(url) = env::var("REDIS_URL") {
        return work(configured(&url)?);
    }
    let server = private_server()?;
    let without_identity = Dialer::url(server.url())?.tls_ca_file(cert("ca.pem"));
    work(without_identity.clone().tls_client_identity(cert("client.pem"), cert("client.key")))?;

    // In TLS 1.3 a dial without a command can succeed: the server's refusal comes after it.
    let ping = |dialer: Dialer| dialer.dial().and_then(|mut conn| conn.call("PING", ()));
    for (case, dialer) in [
        ("without a certificate", without_identity.clone()),
        ("trusting another authority", without_identity.tls_ca_file(cert("strangers/ca.pem"))),
    ] {
        match ping(dialer) {
            Err(redigo::Error::Tls(error)) => println!("{case}: {:?}: {error}", error.kind()),
            other => return Err(format!("{case}: {other:?}").into()),
        }
    }
    Ok(())
}

/// Runs commands on more threads than connections, like a service.
fn work(dialer: Dialer) -> Result<(), Box<dyn Error>> {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 100;
    let dialer = dialer.read_timeout(Duration::from_secs(5));
    let pool = Pool::builder(dialer)
        .max_active(4)
        .wait_timeout(Duration::from_secs(5))
        .test_on_borrow(check::peek())
        .build()?;
    let key = format!("redigo:example:tls:{}", std::process::id());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| -> redigo::Result<()> {
                    for _ in 0..ROUNDS {
                        pool.acquire()?.call("INCR", &key)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker"))
    })?;
    let mut conn = pool.acquire()?;
    let count: u64 = conn.query("GET", &key)?;
    conn.call("DEL", &key)?;
    println!("{count} commands over TLS, on {} connections", pool.active_count());
    Ok(())
}

fn configured(url: &str) -> redigo::Result<Dialer> {
    let mut dialer = Dialer::url(url)?;
    if let Some(authorities) = env::var_os("TLS_CA_FILE") {
        dialer = dialer.tls_ca_file(authorities);
    }
    if let (Some(cert), Some(key)) = (env::var_os("TLS_CERT_FILE"), env::var_os("TLS_KEY_FILE")) {
        dialer = dialer.tls_client_identity(cert, key);
    }
    Ok(dialer)
}

fn private_server() -> redigo::Result<TempServer> {
    TempServer::builder()
        .tls_files(cert("redis.pem"), cert("redis.key"), cert("ca.pem"))
        .arg("--tls-auth-clients", "yes")
        .start()
}
