//! Starts the servers as processes of this machine.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::{Version, arbitrary, free_port};

/// The oldest server version that the tests support.
const OLDEST: Version = (6, 2, 0);

/// The names of a server on PATH.
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// The limit for a server to start or to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running private `redis-server`. Dropping it kills the process and removes its folder.
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

/// The options of a server; see [`RedisServer::builder`].
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
    /// If it cannot be started. The message gives the reason, and how to get a `redis-server` if it is missing.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    /// Returns the server that all tests of this process share. The first call starts it.
    #[track_caller]
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Returns the options of a new server, to be started with [`Builder::start`].
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// Returns a URL for [`redigo::Dialer::url`], with the password if the server was started with `--requirepass`.
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

    /// Returns `127.0.0.1:PORT`.
    pub(crate) fn addr(&self) -> String {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port())).to_string()
    }

    /// Returns the TCP port, which stays the same after [`restart`](Self::restart).
    #[track_caller]
    pub(crate) fn port(&self) -> u16 {
        assert!(!self.unix_only(), "this redis-server has no TCP port");
        self.port
    }

    /// Returns the path of the Unix socket, which exists with and without TCP.
    pub(crate) fn socket_path(&self) -> PathBuf {
        self.folder.path.join("redis.sock")
    }

    /// Returns the folder with the server's log, socket and data.
    pub(crate) fn dir(&self) -> &Path {
        &self.folder.path
    }

    /// Returns the id of the server's process.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("redis-server is not running").id()
    }

    /// Returns the program's version, as in `server.redis_version() >= (7, 0, 0)`.
    pub(crate) fn redis_version(&self) -> Version {
        self.program.version
    }

    /// Is the server at least of this version? If not, the test's output says which feature it lacks.
    pub(crate) fn has(&self, feature: &str, since: Version) -> bool {
        let has = self.program.version >= since;
        if !has {
            let (major, minor, _) = self.program.version;
            note(&format!(
                "this redis-server {major}.{minor} has no {feature}: only its error is checked"
            ));
        }
        has
    }

    /// Kills the server immediately (SIGKILL), like a crash. Clients see their connections closed or reset.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            // Before `wait`, after which another process can get this id.
            self.folder.watch(None);
            let _ = process.wait();
        }
    }

    /// Stops the server with SHUTDOWN, as an operator does.
    pub(crate) fn stop(&mut self) {
        // The server answers SHUTDOWN only if it fails. Then, or if it takes too long, `kill` ends it.
        if !self.ask("SHUTDOWN").is_ok_and(|answer| answer.starts_with('-')) {
            let deadline = Instant::now() + PATIENCE;
            while !self.has_ended() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
        }
        self.kill();
    }

    /// Restarts the server on the same port, with the same folder, options and saved data. Stops it first if it
    /// runs, and returns when it answers.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.stop();
        if let Err(error) = self.launch() {
            panic!("{error}");
        }
    }

    /// Stops the process with SIGSTOP: its sockets stay open and nothing answers, like a machine that hangs.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        send_signal("STOP", self.pid());
    }

    /// Continues a frozen server (SIGCONT).
    #[track_caller]
    pub(crate) fn thaw(&self) {
        send_signal("CONT", self.pid());
    }

    fn unix_only(&self) -> bool {
        self.port == 0
    }

    /// Starts the process and waits until it answers.
    fn launch(&mut self) -> io::Result<()> {
        // The socket of a killed server would look like the new server's until that creates its own.
        let _ = fs::remove_file(self.socket_path());
        let process = self.command()?.spawn()?;
        self.folder.watch(Some(process.id()));
        self.process = Some(process);

        let deadline = Instant::now() + PATIENCE;
        loop {
            // Only the new server can answer on the socket in its private folder. It opens its TCP port before the
            // socket, and ends if the port is taken.
            let answer = self.ask("PING").unwrap_or_else(|error| error.to_string());
            // A server whose password is set in a file is ready too.
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
        // The server reports wrong options on stdout, before it opens the log file.
        let output = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.program.path);
        command.env("LC_ALL", "C").stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        command.arg("--unixsocket").arg(self.socket_path());
        command.arg("--dir").arg(&self.folder.path);
        command.arg("--logfile").arg(self.log_path());
        let port = self.port.to_string();
        let (plain, tls) = if self.options.tls { ("0", &*port) } else { (&*port, "0") };
        if tls != "0" {
            // A server built without TLS does not know this option.
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
        // The caller's options come last: of two equal options, Redis uses the last.
        command.args(&self.options.arguments);
        Ok(command)
    }

    /// Sends an inline command to the Unix socket and returns the last line of the reply.
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

    /// Did the server end because it was built without TLS?
    fn lacks_tls(&self) -> bool {
        let log = self.log_tail();
        // Redis 6.2 quotes the unknown option.
        log.contains(">>> 'tls-port") || log.contains("Failed finding TLS support")
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
    /// Adds an option of `redis.conf` or the command line, as in `arg("--requirepass", "secret")`.
    pub(crate) fn arg(self, name: &str, value: &str) -> Self {
        self.args([name, value])
    }

    /// Adds arguments unchanged, for options with several values.
    pub(crate) fn args<I: IntoIterator<Item: Into<String>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Opens no TCP port, only the Unix socket.
    pub(crate) fn unix_only(mut self) -> Self {
        self.unix_only = true;
        self
    }

    /// Uses TLS on the TCP port. The caller sets the certificates with [`args`](Self::args).
    ///
    /// If `$REDIS_SERVER_BIN` was built without TLS, the server is the one on PATH, and the output says so.
    pub(crate) fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts the server and returns when it answers.
    ///
    /// # Panics
    ///
    /// Like [`RedisServer::start`].
    #[track_caller]
    pub(crate) fn start(self) -> RedisServer {
        match self.try_start() {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`start`](Self::start), but returns the error.
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
                // Another process took the port between the check and the server's bind.
                Err(_) if tries_left > 0 && server.log_tail().contains("already in use") => {
                    tries_left -= 1;
                    let _ = fs::remove_file(server.log_path());
                }
                Err(error) if server.lacks_tls() => {
                    let other =
                        Program::on_path().filter(|other| other.path != server.program.path);
                    server.program = other.ok_or(error)?;
                    note(
                        "REDIS_SERVER_BIN was built without TLS: the TLS server is the one on PATH",
                    );
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
        let named = std::env::var("REDIS_SERVER_BIN").ok().filter(|path| !path.is_empty());
        let found = match &named {
            Some(path) => Self::probe(path),
            None => Self::on_path(),
        };
        found.ok_or_else(|| {
            let (major, minor, _) = OLDEST;
            let names = named.unwrap_or_else(|| NAMES.join(", "));
            let how = "run \"make test\" or scripts/setup.sh, which get one";
            let message = format!("no redis-server {major}.{minor} or newer ({names}): {how}");
            io::Error::new(io::ErrorKind::NotFound, message)
        })
    }

    fn on_path() -> Option<Self> {
        NAMES.iter().find_map(|name| Self::probe(name))
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

/// Writes to the output of the test program. Rust's test harness hides the output of `eprintln!` if the test passes.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {text}");
}

/// Uses the shell's builtin, because some systems have no program `kill`.
#[track_caller]
fn send_signal(name: &str, pid: u32) {
    let status = Command::new("sh")
        .args(["-c", r#"kill -"$1" "$2""#, "sh", name])
        .arg(pid.to_string())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "cannot send SIG{name} to process {pid}");
}

/// A private folder, and a watchdog that kills the server in it and removes it, either when it is dropped or when
/// this process ends.
///
/// `Drop` does not run for a `static`, nor when a test run is killed. The watchdog is a shell that reads from a pipe
/// which only this process holds open: the end of the pipe means the end of this process.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    watchdog: Child,
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
        // Each line is the id of the process to kill, or empty. Ctrl-C in a terminal also reaches the watchdog, which
        // must still clean up after it.
        let script = r#"
            trap '' INT HUP TERM
            while read -r line; do pid=$line; done
            if [ -n "$pid" ]; then kill -KILL "$pid"; fi
            rm -rf "$1"
        "#;
        let watchdog = Command::new("sh")
            .args(["-c", script, "watchdog"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { path, watchdog })
    }

    /// Sets the process to kill before the folder is removed.
    fn watch(&mut self, process: Option<u32>) {
        let line = process.map_or(String::new(), |pid| pid.to_string());
        if let Some(pipe) = &mut self.watchdog.stdin {
            let _ = writeln!(pipe, "{line}");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // `wait` closes the pipe first.
        let _ = self.watchdog.wait();
    }
}
