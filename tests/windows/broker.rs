//! Starts redis-servers for tests that run on Windows, which has none. Runs on Unix: see scripts/windows.sh.
//!
//! Listens on a port of 127.0.0.1 and prints the address. A client sends a line of words with tabs between them:
//!
//! - `run` and arguments: runs the server with them, and answers with its output and its exit code. The end of the
//!   connection kills the server, as the end of this program does. The client is tests/windows/redis_server.rs.
//! - `freeze` or `thaw` and a port: stops the server with this port, or lets it continue. The client is a test.
//!
//! Paths of Windows in the arguments become paths in Wine's folder `$WINEPREFIX`.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use std::{env, thread};

/// The process of the server on each port.
static SERVERS: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

fn main() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    for client in listener.incoming() {
        let client = client?;
        thread::spawn(move || {
            if let Err(error) = serve(client) {
                eprintln!("broker: {error}");
            }
        });
    }
    Ok(())
}

fn serve(mut client: TcpStream) -> io::Result<()> {
    let mut request = String::new();
    BufReader::new(client.try_clone()?).read_line(&mut request)?;
    let words: Vec<&str> = request.trim_end_matches('\n').split('\t').collect();
    match words[..] {
        ["run", ref arguments @ ..] => run(client, arguments),
        ["freeze", port] => writeln!(client, "{}", signal("STOP", port)?),
        ["thaw", port] => writeln!(client, "{}", signal("CONT", port)?),
        _ => writeln!(client, "unknown request"),
    }
}

fn run(mut client: TcpStream, arguments: &[&str]) -> io::Result<()> {
    let program = env::var("REDIS_SERVER_BIN").ok().filter(|program| !program.is_empty());
    let mut server = Command::new(program.as_deref().unwrap_or("redis-server"))
        .args(arguments.iter().map(|argument| unix_path(argument)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let port = arguments.windows(2).rfind(|pair| pair[0] == "--port").map_or("", |pair| pair[1]);
    SERVERS.lock().unwrap().get_or_insert_default().insert(port.to_owned(), server.id());

    let mut output = server.stdout.take().expect("a pipe");
    let mut lines = client.try_clone()?;
    let copier = thread::spawn(move || {
        for line in BufReader::new(&mut output).lines().map_while(Result::ok) {
            let _ = writeln!(lines, "line\t{line}");
        }
    });
    let status = wait(&mut server, &client)?;
    let _ = copier.join();
    writeln!(client, "exit\t{}", status.unwrap_or(1))
}

/// Waits for the end of the server, or kills it at the end of the connection.
fn wait(server: &mut Child, client: &TcpStream) -> io::Result<Option<i32>> {
    client.set_read_timeout(Some(Duration::from_millis(5)))?;
    loop {
        if let Some(status) = server.try_wait()? {
            return Ok(status.code());
        }
        match (&*client).read(&mut [0]) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            _ => {
                server.kill()?;
                return Ok(server.wait()?.code());
            }
        }
    }
}

fn signal(name: &str, port: &str) -> io::Result<&'static str> {
    let process = SERVERS.lock().unwrap().as_ref().and_then(|servers| servers.get(port).copied());
    let Some(process) = process else { return Ok("no server has this port") };
    let script = r#"kill -"$1" "$2""#;
    let status =
        Command::new("sh").args(["-c", script, "sh", name, &process.to_string()]).status()?;
    Ok(if status.success() { "done" } else { "the signal failed" })
}

/// Changes `C:\folder\file` to the path of Wine's link to the drive.
fn unix_path(argument: &str) -> String {
    let (drive, rest) = match argument.as_bytes() {
        [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic() => argument.split_at(2),
        _ => return argument.to_owned(),
    };
    let prefix = env::var("WINEPREFIX").expect("$WINEPREFIX");
    format!("{prefix}/dosdevices/{}{}", drive.to_ascii_lowercase(), rest.replace('\\', "/"))
}
