//! A private `redis-server` for tests, benches and examples, on the standard library alone.
//!
//! Each server has a folder of its own under the system's temporary folder, a free TCP port on 127.0.0.1 and a Unix
//! socket. It ends with its [`RedisServer`], and also when this process is killed or leaves it in a `static`.
//!
//! ```ignore
//! #[path = "support/redis_server.rs"]
//! mod redis_server;
//!
//! let server = redis_server::RedisServer::start();
//! let pool = redigo::Pool::builder(redigo::Dialer::url(&server.url())?).build()?;
//! ```

// Included with #[path] by many programs, none of which uses all of it.
#![allow(dead_code)]

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The oldest server that the tests are written for.
const OLDEST: Version = (6, 2, 0);

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Major, minor, patch.
pub(crate) type Version = (u32, u32, u32);

/// A running `redis-server` of our own. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub(crate) struct RedisServer {
    /// None between `kill` or `stop` and `restart`.
    process: Option<Child>,
    folder: Folder,
    program: Program,
    /// 0 when the server listens on its Unix socket only.
    port: u16,
    options: Builder,
}

/// What to start: see [`RedisServer::builder`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Builder {
    arguments: Vec<String>,
    unix_only: bool,
    tls: bool,
}

impl RedisServer {
    /// Starts a server with the defaults: nothing saved, no password, TCP and Unix socket.
    ///
    /// # Panics
    ///
    /// When it cannot be started; the message says why, and how to get a `redis-server` if there is none.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    /// A server shared by all tests of this process, started by the first that asks.
    #[track_caller]
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Options first, then [`Builder::start`].
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// A URL for [`redigo::Dialer::url`], with the password if the server was started with `--requirepass`.
    pub(crate) fn url(&self) -> String {
        let socket = self.socket_path();
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        match (self.unix_only(), self.options.password()) {
            (false, None) => format!("{scheme}://{}", self.addr()),
            (false, Some(password)) => format!("{scheme}://:{password}@{}", self.addr()),
            (true, None) => format!("unix://{}", socket.display()),
            (true, Some(password)) => format!("unix://:{password}@{}", socket.display()),
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn addr(&self) -> String {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port())).to_string()
    }

    /// The TCP port; the same after [`restart`](Self::restart).
    #[track_caller]
    pub(crate) fn port(&self) -> u16 {
        assert!(!self.unix_only(), "this redis-server has no TCP port");
        self.port
    }

    /// The Unix socket, which is there with and without TCP.
    pub(crate) fn socket_path(&self) -> PathBuf {
        self.folder.path.join("redis.sock")
    }

    /// The folder with the server's log, socket and data.
    pub(crate) fn dir(&self) -> &Path {
        &self.folder.path
    }

    /// The server's process.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("redis-server is not running").id()
    }

    /// The program's version, as in `server.redis_version() >= (7, 0, 0)`.
    pub(crate) fn redis_version(&self) -> Version {
        self.program.version
    }

    /// Ends the server at once (SIGKILL), as a crash would. Clients see their connections closed or reset.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            // Before `wait`, after which the process's number may become another's.
            self.folder.watch(None);
            let _ = process.wait();
        }
    }

    /// Ends the server with SHUTDOWN, as its operator would.
    pub(crate) fn stop(&mut self) {
        // Only a SHUTDOWN that fails is answered. Then, or if it takes too long, `kill` does it.
        if !self.ask("SHUTDOWN").is_ok_and(|answer| answer.starts_with('-')) {
            let deadline = Instant::now() + PATIENCE;
            while !self.has_ended() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
        }
        self.kill();
    }

    /// Starts the server again on the same port, with the same folder, options and saved data; stops it first if it
    /// runs. Returns when it answers.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.stop();
        if let Err(error) = self.launch() {
            panic!("{error}");
        }
    }

    /// Halts the process (SIGSTOP): its sockets stay open and nothing answers, as from a machine that hangs.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        send_signal("STOP", self.pid());
    }

    /// Lets a frozen server go on (SIGCONT).
    #[track_caller]
    pub(crate) fn thaw(&self) {
        send_signal("CONT", self.pid());
    }

    fn unix_only(&self) -> bool {
        self.port == 0
    }

    /// Starts the process and waits until it answers.
    fn launch(&mut self) -> io::Result<()> {
        // A socket left by a killed server would look like this one's until it has made its own.
        let _ = fs::remove_file(self.socket_path());
        let process = self.command()?.spawn()?;
        self.folder.watch(Some(process.id()));
        self.process = Some(process);

        let deadline = Instant::now() + PATIENCE;
        loop {
            // The socket lies in our own folder, so whoever answers there is the server just started. It opens its TCP
            // port before that socket, and ends if the port is taken.
            let answer = self.ask("PING").unwrap_or_else(|error| error.to_string());
            // A server with a password that we were not told is ready, too.
            if answer == "+PONG" || answer.starts_with("-NOAUTH") {
                return Ok(());
            }
            if self.has_ended() {
                return Err(self.failure("has ended"));
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("does not answer ({answer})")));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_none_or(|process| matches!(process.try_wait(), Ok(Some(_))))
    }

    fn failure(&mut self, what: &str) -> io::Error {
        self.kill();
        let (program, log) = (self.program.path.display(), self.log_tail());
        io::Error::other(format!("{program} {what}; the end of its log:\n{log}"))
    }

    fn command(&self) -> io::Result<Command> {
        // Mistakes in the options are told on stdout, before the log file is opened.
        let output = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.program.path);
        command.env("LC_ALL", "C").stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        command.arg("--unixsocket").arg(self.socket_path());
        command.arg("--dir").arg(&self.folder.path);
        command.arg("--logfile").arg(self.log_path());
        let port = self.port.to_string();
        let (plain, tls) = if self.options.tls { ("0", &*port) } else { (&*port, "0") };
        if tls != "0" {
            // Not known to a server that was built without TLS.
            command.args(["--tls-port", tls]);
        }
        for option in [
            ["--bind", "127.0.0.1"],
            ["--port", plain],
            ["--daemonize", "no"],
            ["--save", ""],
            ["--appendonly", "no"],
        ] {
            command.args(option);
        }
        if self.program.version >= (7, 0, 0) {
            command.args(["--enable-debug-command", "local"]);
        }
        // The caller's come last, for Redis takes the last of two.
        command.args(&self.options.arguments);
        Ok(command)
    }

    /// Sends an inline command to the Unix socket and returns the last line of what comes back.
    fn ask(&self, command: &str) -> io::Result<String> {
        let mut socket = UnixStream::connect(self.socket_path())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut request = format!("{command}\r\n");
        if let Some(password) = self.options.password() {
            request.insert_str(0, &format!("AUTH {password}\r\n"));
        }
        socket.write_all(request.as_bytes())?;
        socket.shutdown(Shutdown::Write)?;
        let mut replies = String::new();
        socket.read_to_string(&mut replies)?;
        Ok(replies.lines().last().unwrap_or_default().to_owned())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path.join("redis.log")
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Builder {
    /// One option of `redis.conf` or the command line, as `arg("--requirepass", "secret")`.
    pub(crate) fn arg(self, name: &str, value: &str) -> Self {
        self.args([name, value])
    }

    /// Arguments as they are, for options with several values.
    pub(crate) fn args<I: IntoIterator<Item: Into<String>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// No TCP port, only the Unix socket.
    pub(crate) fn unix_only(mut self) -> Self {
        self.unix_only = true;
        self
    }

    /// Its TCP port speaks TLS. The certificates are for the caller to give.
    pub(crate) fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts the server and returns when it answers.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`].
    #[track_caller]
    pub(crate) fn start(self) -> RedisServer {
        match self.try_start() {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`start`](Self::start), for programs that report the error themselves.
    pub(crate) fn try_start(self) -> io::Result<RedisServer> {
        let mut server = RedisServer {
            process: None,
            program: Program::find()?,
            folder: Folder::create()?,
            port: 0,
            options: self,
        };
        let mut tries_left = 10;
        loop {
            server.port = if server.options.unix_only { 0 } else { free_port()? };
            match server.launch() {
                // Somebody took the port between our look and the server's bind.
                Err(_) if tries_left > 0 && server.log_tail().contains("already in use") => {
                    tries_left -= 1;
                    let _ = fs::remove_file(server.log_path());
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
    }

    fn password(&self) -> Option<&str> {
        let option = self.arguments.iter().position(|argument| argument == "--requirepass")?;
        self.arguments.get(option + 1).map(String::as_str)
    }
}

/// The `redis-server` to run.
#[derive(Debug, Clone)]
struct Program {
    path: PathBuf,
    version: Version,
}

impl Program {
    /// `$REDIS_SERVER_BIN` if set, else the first of `redis-server` and `valkey-server` on PATH that is new enough:
    /// the rule of scripts/setup.sh.
    fn find() -> io::Result<Self> {
        let candidates = match std::env::var("REDIS_SERVER_BIN") {
            Ok(path) if !path.is_empty() => vec![path],
            _ => vec!["redis-server".to_owned(), "valkey-server".to_owned()],
        };
        candidates.iter().find_map(|name| Self::probe(name)).ok_or_else(|| {
            let (major, minor, _) = OLDEST;
            let names = candidates.join(", ");
            let how = "run \"make test\" or scripts/setup.sh, which get one";
            let message = format!("no redis-server {major}.{minor} or newer ({names}): {how}");
            io::Error::new(io::ErrorKind::NotFound, message)
        })
    }

    fn probe(path: &str) -> Option<Self> {
        let output = Command::new(path).arg("--version").output().ok()?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        (version >= OLDEST).then(|| Self { path: path.into(), version })
    }
}

/// Reads 7.0.15 from "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64".
fn parse_version(line: &str) -> Option<Version> {
    let text = line.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

/// The builtin of the shell is on every system, a program named `kill` is not.
#[track_caller]
fn send_signal(name: &str, pid: u32) {
    let status = Command::new("sh")
        .args(["-c", r#"kill -"$1" "$2""#, "sh", name])
        .arg(pid.to_string())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "cannot send SIG{name} to process {pid}");
}

/// A private folder, with a watchman who at the end removes it and kills the server in it: when it is dropped, or else
/// when this process is gone.
///
/// `Drop` is not run for a `static`, nor when a test run is killed; without a watchman either would leave a server
/// behind. He is a shell that reads from a pipe which only we hold open: the end of the pipe is our end.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    watchman: Child,
}

impl Folder {
    pub(crate) fn create() -> io::Result<Self> {
        // The path of a Unix socket must fit in 104 bytes (macOS), and some systems' temporary folders are long.
        let mut base = std::env::temp_dir();
        if base.as_os_str().len() > 60 {
            base = PathBuf::from("/tmp");
        }
        loop {
            let path = base.join(format!("redigo-{}-{:08x}", std::process::id(), arbitrary()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Self::guard(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn guard(path: PathBuf) -> io::Result<Self> {
        // Each line is the number of the process to kill, or empty. Ctrl-C in a terminal is sent to the watchman as
        // well, who has his work to do after it.
        let script = r#"
            trap '' INT HUP TERM
            while read -r line; do pid=$line; done
            if [ -n "$pid" ]; then kill -KILL "$pid"; fi
            rm -rf "$1"
        "#;
        let watchman = Command::new("sh")
            .args(["-c", script, "watchman"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { path, watchman })
    }

    /// Names the process to kill along with the folder.
    fn watch(&mut self, process: Option<u32>) {
        let line = process.map_or(String::new(), |pid| pid.to_string());
        if let Some(pipe) = &mut self.watchman.stdin {
            let _ = writeln!(pipe, "{line}");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // `wait` closes the pipe first.
        let _ = self.watchman.wait();
    }
}

/// A port of 127.0.0.1 on which nobody listens at the moment.
///
/// It is taken from below the range that systems use for outgoing connections. A port of that range may become the
/// own port of a client that dials it again and again while the server is down: such a client connects to itself, and
/// the server cannot come back.
pub(crate) fn free_port() -> io::Result<u16> {
    for _ in 0..1000 {
        let port = 20_000 + (arbitrary() % 10_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no free port on 127.0.0.1 between 20000 and 29999"))
}

/// A number that differs between calls, processes and runs; enough for names, with the makers' retries.
fn arbitrary() -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let seed = clock ^ std::process::id().rotate_left(16) ^ CALLS.fetch_add(1, Ordering::Relaxed);
    // Knuth's multiplicative hash: neighbours are spread over the whole range, the high bits best.
    seed.wrapping_mul(2_654_435_769) >> 8
}
