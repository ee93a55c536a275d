//! [`TempServer`] for tests and benches: panics instead of returning errors, and one shared server.

// Included with #[path] by several programs; none uses all of it.
#![allow(dead_code, unused_imports)]

use std::io::{self, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use redigo::testing::{TempServer, TempServerBuilder};

pub(crate) use redigo::testing::unused_port as free_port;

/// A running private `redis-server`. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub(crate) struct RedisServer(TempServer);

/// The options of a server; see [`RedisServer::builder`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Builder {
    arguments: Vec<String>,
    unix_only: bool,
    tls: bool,
}

impl RedisServer {
    /// Starts a server with the defaults.
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

    /// Returns the options of a new server.
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.0.socket().expect("a Unix system").to_owned()
    }

    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.0.pid().expect("a running redis-server")
    }

    pub(crate) fn redis_version(&self) -> (u32, u32, u32) {
        self.0.version()
    }

    /// Is the server at least of this version? If not, the output says what it lacks.
    pub(crate) fn has(&self, feature: &str, since: (u32, u32, u32)) -> bool {
        let (major, minor, _) = self.0.version();
        let has = self.0.version() >= since;
        if !has {
            note(&format!("redis-server {major}.{minor} has no {feature}: tested is its error"));
        }
        has
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill();
        #[cfg(not(unix))]
        ask_broker("await", self.port());
    }

    pub(crate) fn stop(&mut self) {
        self.0.stop();
    }

    #[track_caller]
    pub(crate) fn restart(&mut self) {
        if let Err(error) = self.0.restart() {
            panic!("{error}");
        }
    }

    #[track_caller]
    pub(crate) fn freeze(&self) {
        #[cfg(unix)]
        self.0.freeze().unwrap();
        #[cfg(not(unix))]
        ask_broker("freeze", self.port());
    }

    #[track_caller]
    pub(crate) fn thaw(&self) {
        #[cfg(unix)]
        self.0.thaw().unwrap();
        #[cfg(not(unix))]
        ask_broker("thaw", self.port());
    }
}

impl Deref for RedisServer {
    type Target = TempServer;

    fn deref(&self) -> &TempServer {
        &self.0
    }
}

impl Builder {
    /// Adds an option of the command line.
    pub(crate) fn arg(self, name: &str, value: &str) -> Self {
        self.args([name, value])
    }

    /// Adds arguments unchanged.
    pub(crate) fn args<I: IntoIterator<Item: Into<String>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Opens no TCP port, only the Unix socket.
    pub(crate) fn unix_only(mut self) -> Self {
        self.unix_only = true;
        self
    }

    /// Uses TLS on the TCP port, with the certificates of the options `--tls-cert-file`,
    /// `--tls-key-file` and `--tls-ca-cert-file`, and with Redis's defaults. If the server was
    /// built without TLS, the one on PATH is used, and the output says so.
    pub(crate) fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts the server and returns when it answers.
    #[track_caller]
    pub(crate) fn start(self) -> RedisServer {
        let with_tls = self.tls;
        let server = self.temp_server();
        match if with_tls { start_with_tls(server) } else { server.start() } {
            Ok(server) => RedisServer(server),
            Err(error) => panic!("{error} (\"make test\" and scripts/setup.sh install a server)"),
        }
    }

    fn temp_server(self) -> TempServerBuilder {
        let mut server = TempServer::builder();
        if self.unix_only {
            server = server.unix_only();
        }
        if self.tls {
            let [cert, key, ca] = ["cert", "key", "ca-cert"]
                .map(|name| self.value(&format!("--tls-{name}-file")).to_owned());
            server = server.tls_files(cert, key, ca).arg("--tls-auth-clients", "yes");
        }
        server.args(self.arguments)
    }

    fn value(&self, name: &str) -> &str {
        let option = self.arguments.iter().position(|argument| argument == name);
        option.and_then(|at| self.arguments.get(at + 1)).expect("a file for TLS")
    }
}

/// Starts the server. If it was built without TLS, starts the one on PATH, and the output says so.
pub(crate) fn start_with_tls(options: TempServerBuilder) -> redigo::Result<TempServer> {
    match options.clone().start() {
        Err(error) if lacks_tls(&error.to_string()) => options.program("redis-server").start(),
        started => started,
    }
}

/// Is this the error of a server that was built without TLS? It contains the end of the log.
pub(crate) fn lacks_tls(error: &str) -> bool {
    // Redis 6.2 quotes the unknown option.
    let lacks = error.contains(">>> 'tls-port") || error.contains("Failed finding TLS support");
    if lacks {
        note("this redis-server was built without TLS: tested is the one on PATH");
    }
    lacks
}

/// Sends a request to tests/windows/runner.rs, which started the server.
#[cfg(not(unix))]
#[track_caller]
fn ask_broker(verb: &str, port: u16) {
    let address = std::env::var("REDIS_SERVER_BROKER").expect("$REDIS_SERVER_BROKER");
    let mut broker = std::net::TcpStream::connect(address).unwrap();
    writeln!(broker, "{verb}\t{port}").unwrap();
    assert_eq!(io::read_to_string(broker).unwrap(), "done\n");
}

/// Writes to the output of the test program, which hides that of `eprintln!` if the test passes.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {text}");
}
