//! Starts redis-servers for tests that run on a system without one: see tests/support/remote_server.rs.
//!
//! Listens on a port of 127.0.0.1 and prints the address. A client ends its server by closing its connection, and all
//! servers end with this program.

#[path = "../support/redis_server.rs"]
mod redis_server;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use redis_server::RedisServer;

fn main() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    for client in listener.incoming() {
        let client = client?;
        thread::spawn(move || serve(client));
    }
    Ok(())
}

/// Serves a client until it closes its connection or asks for something that fails.
fn serve(mut client: TcpStream) -> io::Result<()> {
    let mut server = None;
    for request in BufReader::new(client.try_clone()?).lines() {
        let reply = match perform(&request?, &mut server) {
            Ok(words) => format!("ok\t{words}\n"),
            Err(error) => format!("error\t{}\n", error.to_string().replace('\n', " | ")),
        };
        client.write_all(reply.as_bytes())?;
    }
    Ok(())
}

fn perform(request: &str, server: &mut Option<RedisServer>) -> io::Result<String> {
    let mut words = request.split('\t');
    let verb = words.next().unwrap_or_default();
    if verb == "start" {
        let started = server.insert(RedisServer::builder().args(words).try_start()?);
        let (major, minor, patch) = started.redis_version();
        return Ok(format!("{}\t{major}\t{minor}\t{patch}", started.port()));
    }
    let server = server.as_mut().ok_or_else(|| io::Error::other("not started"))?;
    match verb {
        "kill" => server.kill(),
        "stop" => server.stop(),
        "restart" => server.restart(),
        "freeze" => server.freeze(),
        "thaw" => server.thaw(),
        _ => return Err(io::Error::other(format!("unknown request {verb}"))),
    }
    Ok(String::new())
}
