//! A `redis-server` for Windows: tests/windows/runner.rs, at `$REDIS_SERVER_BROKER`, has started this program.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::{env, iter};

fn main() -> io::Result<ExitCode> {
    let address = env::var("REDIS_SERVER_BROKER").map_err(io::Error::other)?;
    let mut broker = TcpStream::connect(address)?;
    let words: Vec<String> = iter::once("run".to_owned()).chain(env::args().skip(1)).collect();
    writeln!(broker, "{}", words.join("\t"))?;
    for answer in BufReader::new(broker).lines() {
        match answer?.split_once('\t') {
            Some(("line", line)) => println!("{line}"),
            Some(("exit", code)) => return Ok(ExitCode::from(code.parse().unwrap_or(1))),
            _ => break,
        }
    }
    Ok(ExitCode::FAILURE)
}
