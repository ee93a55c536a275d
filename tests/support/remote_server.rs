//! Has the servers started by `tests/windows/broker.rs`, which listens at `$REDIS_SERVER_BROKER`.
//!
//! A connection to the broker is a server: its first line starts the server, its end stops it. A request is a line of
//! words with tabs between them, and so is the reply.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, OnceLock};

use super::Version;

/// A server of the broker. Dropping it kills the server.
#[derive(Debug)]
pub(crate) struct RedisServer {
    broker: Mutex<BufReader<TcpStream>>,
    port: u16,
    version: Version,
    options: Builder,
}

/// The options of a server; see [`RedisServer::builder`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Builder {
    arguments: Vec<String>,
}

impl RedisServer {
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    #[track_caller]
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn url(&self) -> String {
        match self.options.password() {
            None => format!("redis://{}", self.addr()),
            Some(password) => format!("redis://:{password}@{}", self.addr()),
        }
    }

    pub(crate) fn addr(&self) -> String {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn redis_version(&self) -> Version {
        self.version
    }

    pub(crate) fn has(&self, _feature: &str, since: Version) -> bool {
        self.version >= since
    }

    pub(crate) fn kill(&mut self) {
        self.ask("kill");
    }

    pub(crate) fn stop(&mut self) {
        self.ask("stop");
    }

    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.ask("restart");
    }

    #[track_caller]
    pub(crate) fn freeze(&self) {
        self.ask("freeze");
    }

    #[track_caller]
    pub(crate) fn thaw(&self) {
        self.ask("thaw");
    }

    #[track_caller]
    fn ask(&self, request: &str) {
        if let Err(error) = exchange(&mut self.broker.lock().unwrap(), request) {
            panic!("{request}: {error}");
        }
    }
}

impl Builder {
    pub(crate) fn arg(self, name: &str, value: &str) -> Self {
        self.args([name, value])
    }

    pub(crate) fn args<I: IntoIterator<Item: Into<String>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    #[track_caller]
    pub(crate) fn start(self) -> RedisServer {
        match self.try_start() {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn try_start(self) -> io::Result<RedisServer> {
        let Ok(address) = std::env::var("REDIS_SERVER_BROKER") else {
            return Err(io::Error::other("no $REDIS_SERVER_BROKER: run \"make windows\" on Linux"));
        };
        let mut broker = BufReader::new(TcpStream::connect(address)?);
        let request: Vec<_> =
            ["start"].into_iter().chain(self.arguments.iter().map(|word| &**word)).collect();
        let reply = exchange(&mut broker, &request.join("\t"))?;
        let numbers: Vec<_> = reply.split('\t').filter_map(|number| number.parse().ok()).collect();
        let [port, major, minor, patch] = numbers[..] else { return Err(io::Error::other(reply)) };
        let port = u16::try_from(port).map_err(io::Error::other)?;
        Ok(RedisServer {
            broker: Mutex::new(broker),
            port,
            version: (major, minor, patch),
            options: self,
        })
    }

    fn password(&self) -> Option<&str> {
        let option = self.arguments.iter().position(|argument| argument == "--requirepass")?;
        self.arguments.get(option + 1).map(String::as_str)
    }
}

/// Returns the words after "ok".
fn exchange(broker: &mut BufReader<TcpStream>, request: &str) -> io::Result<String> {
    broker.get_mut().write_all(format!("{request}\n").as_bytes())?;
    let mut reply = String::new();
    broker.read_line(&mut reply)?;
    match reply.trim_end().split_once('\t') {
        Some(("ok", words)) => Ok(words.to_owned()),
        _ => Err(io::Error::other(format!("the broker says: {}", reply.trim_end()))),
    }
}
