//! Starting the process of a private server, and ending it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
#[cfg(not(unix))]
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::TempServer;
use super::builder::{Role, TempServerBuilder, Tls};
use super::certs;
use super::port::{unused_cluster_port, unused_port};
use super::program::Program;
use super::temp_dir::TempDir;
use crate::error::{Error, Result};

/// The limit for a server to start or to stop.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// The pause between two checks of a server.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

impl TempServerBuilder {
    /// Starts the server and returns when it answers.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::builder().arg("--appendonly", "yes").start()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`TempServer::start`]. [`Error::InvalidConfig`] for options that contradict each
    /// other. [`Error::Io`] if the certificates cannot be created.
    pub fn start(self) -> Result<TempServer> {
        if let Role::Invalid(why) = self.role {
            return Err(Error::InvalidConfig(why.into()));
        }
        if self.unix_only && cfg!(not(unix)) {
            return Err(Error::Unsupported("Unix sockets on this system".into()));
        }
        TempServer::launch_new(self)
    }
}

impl TempServer {
    fn launch_new(options: TempServerBuilder) -> Result<TempServer> {
        let program = Program::find(options.program.as_deref())?;
        let dir = TempDir::new()?;
        if let Tls::Generated = options.tls {
            certs::create(dir.path())?;
        }
        let mut server = TempServer { process: None, program, dir, port: 0, options };
        let mut attempts_left = 10;
        loop {
            server.port = match server.options.role {
                _ if server.options.unix_only => 0,
                Role::ClusterNode => unused_cluster_port()?,
                _ => unused_port()?,
            };
            match server.launch() {
                // Another process took the port between the check and the server's bind.
                Err(_) if attempts_left > 0 && server.log_end().contains("already in use") => {
                    attempts_left -= 1;
                    let _ = fs::remove_file(server.log_path());
                    let _ = fs::remove_file(server.config_path());
                }
                launched => return launched.map(|()| server),
            }
        }
    }

    /// Kills the server immediately, like a crash. Clients see their connections closed or reset.
    ///
    /// ```no_run
    /// let mut server = redigo::testing::TempServer::start()?;
    /// let mut conn = server.conn()?;
    /// server.kill();
    /// assert!(conn.call("PING", ()).is_err());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            // Before `wait`, after which another process can get this id.
            self.dir.watch(None);
            let _ = process.wait();
        }
    }

    /// Stops the server with `SHUTDOWN`, as an operator does, and kills it if it does not end
    /// within 10 seconds.
    ///
    /// ```no_run
    /// let mut server = redigo::testing::TempServer::builder().arg("--save", "60 1").start()?;
    /// server.conn()?.call("SET", ("k", 1))?;
    /// server.stop(); // saves the data
    /// assert!(server.dir().join("dump.rdb").exists());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn stop(&mut self) {
        // The server answers SHUTDOWN only if it fails.
        if !self.ask("SHUTDOWN").is_ok_and(|answer| answer.starts_with('-')) {
            let deadline = Instant::now() + LIMIT;
            while !self.has_ended() && Instant::now() < deadline {
                thread::sleep(PAUSE);
            }
        }
        self.kill();
    }

    /// Starts the server again on the same port, with the same options, folder and saved data.
    /// Stops it first if it runs.
    ///
    /// ```no_run
    /// let mut server = redigo::testing::TempServer::start()?;
    /// server.kill();
    /// // … the outage that the test is about …
    /// server.restart()?;
    /// server.conn()?.call("PING", ())?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) with the end of the server's log if it does not answer
    /// within 10 seconds, for example because another process has taken its port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        self.launch()
    }

    /// Stops the process with SIGSTOP: its sockets stay open and it answers nothing, like a
    /// machine that hangs.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let server = redigo::testing::TempServer::start()?;
    /// let mut conn = server.dialer().read_timeout(Duration::from_millis(100)).dial()?;
    /// server.freeze()?;
    /// assert!(conn.call("PING", ()).unwrap_err().is_timeout());
    /// server.thaw()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the server is stopped.
    #[cfg(unix)]
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Continues a server that [`freeze`](TempServer::freeze) stopped.
    ///
    /// ```no_run
    /// let server = redigo::testing::TempServer::start()?;
    /// server.freeze()?;
    /// server.thaw()?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the server is stopped.
    #[cfg(unix)]
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) -> Result<()> {
        let Some(pid) = self.pid() else {
            return Err(io::Error::other("the private server is not running").into());
        };
        // The shell's builtin, because some systems have no program `kill`.
        let script = r#"kill -"$1" "$2""#;
        let status =
            Command::new("sh").args(["-c", script, "sh", name, &pid.to_string()]).status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("cannot send SIG{name} to process {pid}")).into())
    }

    /// Starts the process and waits until it answers.
    fn launch(&mut self) -> Result<()> {
        if let Some(socket) = self.socket() {
            // A killed server leaves its socket, which would look like the new server's.
            let _ = fs::remove_file(socket);
        }
        let process = self.command()?.spawn()?;
        self.dir.watch(Some(process.id()));
        self.process = Some(process);
        self.wait_until("does not answer", |server| match server.ask("PING") {
            // A server whose password is set in a file is ready too.
            Ok(answer) => answer == "+PONG" || answer.starts_with("-NOAUTH"),
            Err(_) => false,
        })?;
        match self.options.role {
            Role::Replica => self.wait_until("does not replicate its primary", |server| {
                let info = server.ask_all("INFO replication").unwrap_or_default();
                info.contains("master_link_status:up")
            }),
            _ => Ok(()),
        }
    }

    fn wait_until(&mut self, failure: &str, ready: impl Fn(&TempServer) -> bool) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while !ready(self) {
            if self.has_ended() {
                return Err(self.failure("has ended").into());
            }
            if Instant::now() > deadline {
                return Err(self.failure(failure).into());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_none_or(|process| matches!(process.try_wait(), Ok(Some(_))))
    }

    fn failure(&mut self, what: &str) -> io::Error {
        self.kill();
        let (program, log) = (self.program.path.display(), self.log_end());
        io::Error::other(format!("{program} {what}; the end of its log:\n{log}"))
    }

    fn command(&self) -> Result<Command> {
        let dir = self.dir();
        // The server reports wrong options on stdout, before it opens the log file.
        let output = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.program.path);
        command.env("LC_ALL", "C").current_dir(dir).stdin(Stdio::null());
        command.stderr(output.try_clone()?).stdout(output);
        if let Role::Sentinel(lines) = &self.options.role {
            self.write_sentinel_config(lines)?;
            command.arg(self.config_path()).arg("--sentinel");
        } else {
            self.add_server_options(&mut command);
        }
        if let Some(socket) = self.socket() {
            command.arg("--unixsocket").arg(socket);
        }
        command.arg("--dir").arg(dir).arg("--logfile").arg(self.log_path());
        let port = self.port.to_string();
        let (plain, tls) = if self.options.uses_tls() { ("0", &*port) } else { (&*port, "0") };
        if tls != "0" {
            // A server built without TLS does not know this option.
            command.args(["--tls-port", tls]);
        }
        command.args(["--bind", "127.0.0.1", "--port", plain, "--daemonize", "no"]);
        self.add_certificates(&mut command);
        // The caller's options come last: of two equal options, Redis uses the last.
        command.args(&self.options.arguments);
        Ok(command)
    }

    fn add_server_options(&self, command: &mut Command) {
        command.args(["--save", "", "--appendonly", "no"]);
        // Otherwise a replica waits 5 seconds for its first data.
        command.args(["--repl-diskless-sync-delay", "0"]);
        if self.program.version >= (7, 0, 0) {
            command.args(["--enable-debug-command", "local"]);
        }
        if let Role::ClusterNode = self.options.role {
            command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        }
    }

    fn add_certificates(&self, command: &mut Command) {
        let (cert, key, ca) = match &self.options.tls {
            Tls::Off => return,
            Tls::Generated => {
                let file = |name: &str| self.dir().join(name);
                (file("redis.pem"), file("redis.key"), file(certs::CA))
            }
            Tls::Files { cert, key, ca } => (absolute(cert), absolute(key), absolute(ca)),
        };
        command.args(["--tls-auth-clients", "optional"]);
        command.arg("--tls-cert-file").arg(cert);
        command.arg("--tls-key-file").arg(key);
        command.arg("--tls-ca-cert-file").arg(ca);
    }

    /// A sentinel rewrites its file, which a restart must keep.
    fn write_sentinel_config(&self, lines: &[String]) -> Result<()> {
        if !self.config_path().exists() {
            fs::write(self.config_path(), lines.join("\n") + "\n")?;
        }
        Ok(())
    }

    /// Sends an inline command and returns the last line of the reply.
    fn ask(&self, command: &str) -> io::Result<String> {
        let reply = self.ask_all(command)?;
        Ok(reply.lines().last().unwrap_or_default().to_owned())
    }

    /// Sends an inline command and returns the reply.
    ///
    /// On Unix it uses the socket in the private folder, where only this server can answer. The
    /// server opens its TCP port before that socket, and ends if the port is taken.
    fn ask_all(&self, command: &str) -> io::Result<String> {
        #[cfg(unix)]
        let mut stream = UnixStream::connect(self.socket().unwrap_or(Path::new("")))?;
        #[cfg(not(unix))]
        let mut stream = TcpStream::connect(self.addr())?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut request = format!("{command}\r\n");
        if let Some(password) = self.options.find("--requirepass") {
            request.insert_str(0, &format!("AUTH {}\r\n", quoted(password)));
        }
        stream.write_all(request.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    }

    fn log_path(&self) -> PathBuf {
        self.dir().join("redis.log")
    }

    fn config_path(&self) -> PathBuf {
        self.dir().join("sentinel.conf")
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// The process runs in another folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Quotes an argument of an inline command.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted + "\""
}
