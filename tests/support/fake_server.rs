//! A TCP server that behaves as the test says, for behavior that no Redis server has.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redigo::Dialer;
use socket2::{Domain, SockAddr, Socket, Type};

/// Listens on 127.0.0.1 until it is dropped.
pub(crate) struct FakeServer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    /// Dropping it ends the connections that last as long as the server.
    _end: Option<Sender<()>>,
}

impl FakeServer {
    /// Serves each connection on a new thread. The connection is closed when `serve` returns.
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> FakeServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let (serve, is_stopped) = (Arc::new(serve), Arc::clone(&stopped));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if is_stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
                thread::spawn(move || serve(stream));
            }
        });
        FakeServer { address, stopped, acceptor: Some(acceptor), _end: None }
    }

    /// Accepts and reads, and never answers.
    pub(crate) fn silent() -> FakeServer {
        FakeServer::start(hold)
    }

    /// Accepts, and neither reads nor writes.
    pub(crate) fn deaf() -> FakeServer {
        let (end, ended) = mpsc::channel::<()>();
        let ended = Mutex::new(ended);
        let mut server = FakeServer::start(move |_stream| {
            let _ = ended.lock().unwrap().recv();
        });
        server._end = Some(end);
        server
    }

    /// Waits for a request, sends the head immediately, and then the piece every 5 ms for more than
    /// an hour.
    pub(crate) fn dripping(head: &'static str, piece: &'static str) -> FakeServer {
        FakeServer::start(move |mut stream| {
            await_request(&mut stream);
            let mut sent = stream.write_all(head.as_bytes());
            for _ in 0..1_000_000 {
                if sent.is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
                sent = stream.write_all(piece.as_bytes());
            }
        })
    }

    /// Waits for a request, answers it with these bytes, and sends nothing more.
    pub(crate) fn saying(answer: impl Into<Vec<u8>>) -> FakeServer {
        let answer = answer.into();
        FakeServer::start(move |mut stream| {
            await_request(&mut stream);
            // The client may close the connection before the end.
            let _ = stream.write_all(&answer);
            hold(stream);
        })
    }

    /// Waits for a request, answers it with these bytes, and closes the connection.
    pub(crate) fn closing_after(answer: impl Into<Vec<u8>>) -> FakeServer {
        let answer = answer.into();
        FakeServer::start(move |mut stream| {
            await_request(&mut stream);
            let _ = stream.write_all(&answer);
        })
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn dialer(&self) -> Dialer {
        Dialer::tcp(self.address())
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

/// Waits until the client has written something.
pub(crate) fn await_request(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 16 * 1024]);
}

/// Keeps the connection open until the client closes it.
pub(crate) fn hold(mut stream: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

/// An address whose queue of connections is full, so that a connect is neither accepted nor
/// refused. It stays full until this is dropped.
pub(crate) struct FullQueue {
    pub(crate) address: SocketAddr,
    _sockets: Vec<Socket>,
}

impl FullQueue {
    pub(crate) fn new() -> FullQueue {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let sockets = fill_queue(Domain::IPV4, &any.into());
        let address = sockets[0].local_addr().unwrap().as_socket().unwrap();
        FullQueue { address, _sockets: sockets }
    }
}

/// A Unix socket whose queue of connections is full.
#[cfg(unix)]
pub(crate) struct FullUnixQueue {
    pub(crate) path: std::path::PathBuf,
    _sockets: Vec<Socket>,
}

#[cfg(unix)]
impl FullUnixQueue {
    pub(crate) fn new() -> FullUnixQueue {
        use std::sync::atomic::AtomicUsize;

        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("redigo-full-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let sockets = fill_queue(Domain::UNIX, &SockAddr::unix(&path).unwrap());
        FullUnixQueue { path, _sockets: sockets }
    }
}

#[cfg(unix)]
impl Drop for FullUnixQueue {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns a listener with a full queue, and the sockets that fill it.
fn fill_queue(domain: Domain, address: &SockAddr) -> Vec<Socket> {
    let socket = || Socket::new(domain, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(address).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    loop {
        let client = socket();
        // It also limits the connect.
        client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        if client.connect(&address).is_err() {
            return sockets;
        }
        sockets.push(client);
        assert!(sockets.len() < 64, "the queue never fills");
    }
}

/// Returns an address without a listener.
pub(crate) fn refused_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
