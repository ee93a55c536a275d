//! A blocking web service on a pool of Redis connections.
//!
//! ```text
//! cargo run --example web
//! curl -X PUT localhost:8080/users/ada -d '{"name": "Ada", "email": "ada@example.org"}'
//! curl localhost:8080/users/ada
//! ```
//!
//! Environment: `REDIS_URL`, for example `redis://127.0.0.1:6379`; if unset, the program starts a private redis-server
//! whose data are lost at the end. `LISTEN`: `127.0.0.1:8080` if unset. The routes are in `support/service.rs`.

#[path = "support/service.rs"]
mod service;

use std::env;
use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use redigo::testing::TempServer;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("web: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let address = listen_address()?;
    // Kept until the end of the program: dropping it stops the server.
    let private_redis;
    let redis_url = match env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => {
            private_redis = TempServer::start()?;
            println!(
                "REDIS_URL is not set: started a private redis-server on {}",
                private_redis.addr()
            );
            private_redis.url()
        }
    };
    let pool = service::pool(&redis_url).map_err(|error| format!("REDIS_URL: {error}"))?;
    let server = service::serve(pool, address)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("serving http://{address} (/users/ID, /healthz, /stats); press Ctrl-C to stop");
    server.join()?;
    Ok(())
}

fn listen_address() -> Result<SocketAddr, String> {
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let addresses =
        listen.to_socket_addrs().map_err(|error| format!("LISTEN={listen}: {error}"))?;
    addresses.into_iter().next().ok_or_else(|| format!("LISTEN={listen}: resolves to no address"))
}
