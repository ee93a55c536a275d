//! Runs a test program for Windows in Wine, and starts the redis-servers that it asks for: see scripts/windows.sh.
//!
//! The arguments are the test program and its arguments. A client sends a line of words with tabs between them to
//! `$REDIS_SERVER_BROKER`, a port of 127.0.0.1:
//!
//! - `run` and arguments: runs the server with them, and answers with its output and its exit code. The end of the
//!   connection kills the server, and so does the end of the tests. The client is tests/windows/redis_server.rs.
//! - `freeze`, `thaw` or `await`, and a port: stops the server with this port, lets it continue, or waits for its end.
//!   The client is a test.
//!
//! Paths of Windows in the arguments become paths in Wine's folder `$WINEPREFIX`.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, thread};

/// The limit for a test program.
const LIMIT: Duration = Duration::from_secs(300);

/// The pause between two checks of a server.
const PAUSE: Duration = Duration::from_millis(5);

/// The process of the server on each port.
static SERVERS: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

fn main() -> io::Result<ExitCode> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || {
                if let Err(error) = serve(client) {
                    eprintln!("tests/windows/runner.rs: {error}");
                }
            });
        }
    });
    let wine = env::var("WINE").expect("$WINE");
    let mut tests =
        Command::new(wine).args(env::args().skip(1)).env("REDIS_SERVER_BROKER", address).spawn()?;
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        match tests.try_wait()? {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                eprintln!("tests/windows/runner.rs: killed after {LIMIT:?}");
                tests.kill()?;
                break tests.wait()?;
            }
            None => thread::sleep(PAUSE),
        }
    };
    // A server in a `static` still runs.
    for server in SERVERS.lock().unwrap().iter().flat_map(HashMap::values) {
        kill("KILL", *server)?;
    }
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn serve(mut client: TcpStream) -> io::Result<()> {
    let mut request = String::new();
    BufReader::new(client.try_clone()?).read_line(&mut request)?;
    let words: Vec<&str> = request.trim_end_matches('\n').split('\t').collect();
    match words[..] {
        ["run", ref arguments @ ..] => run(client, arguments),
        ["freeze", port] => writeln!(client, "{}", signal("STOP", port)?),
        ["thaw", port] => writeln!(client, "{}", signal("CONT", port)?),
        ["await", port] => {
            while SERVERS.lock().unwrap().as_ref().is_some_and(|servers| servers.contains_key(port))
            {
                thread::sleep(PAUSE);
            }
            writeln!(client, "done")
        }
        _ => writeln!(client, "unknown request"),
    }
}

fn run(mut client: TcpStream, arguments: &[&str]) -> io::Result<()> {
    let mut server = Command::new(env::var("REDIS_SERVER").expect("$REDIS_SERVER"))
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
    SERVERS.lock().unwrap().get_or_insert_default().remove(port);
    writeln!(client, "exit\t{}", status.unwrap_or(1))
}

/// Waits for the end of the server, or kills it at the end of the connection.
fn wait(server: &mut Child, client: &TcpStream) -> io::Result<Option<i32>> {
    client.set_read_timeout(Some(PAUSE))?;
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
    Ok(if kill(name, process)? { "done" } else { "the signal failed" })
}

fn kill(name: &str, process: u32) -> io::Result<bool> {
    let script = r#"kill -"$1" "$2""#;
    let process = process.to_string();
    let status = Command::new("sh").args(["-c", script, "sh", name, &process]).status()?;
    Ok(status.success())
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
