//! A TCP proxy between a client and a real server that injects network faults into the replies.
//!
//! Each connection gets a fault when it is accepted. Commands pass unchanged until the fault
//! strikes. The proxy does not parse RESP: it counts bytes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The fault of a connection. A number is how many bytes of the replies pass first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every piece of the replies is delayed by this time.
    Delay(Duration),
    /// Replies pass byte by byte, each in its own packet.
    Drip,
    /// The connection is closed, as when a server stops.
    Cut(usize),
    /// The connection is reset.
    Reset(usize),
    /// Both directions stop without notice.
    BlackHole(usize),
    /// The reply direction is closed; commands are still read.
    HalfClose(usize),
    /// Bytes that are not RESP replace the replies.
    Garbage(usize),
    /// Every piece of the replies is sent twice, in one packet.
    Repeat,
    /// The connection is accepted and never answered.
    Hang,
}

/// Bytes that cannot occur at the start, in the middle or at the end of a reply.
const NOISE: &[u8] = b"\x15\x03\x01\0\x02\x02\x46\xff\n";

/// Listens on 127.0.0.1. Dropping it ends its connections and threads.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

type Plan = Box<dyn FnMut() -> Fault + Send>;

struct Shared {
    upstream: String,
    /// Called once for each connection.
    plan: Mutex<Plan>,
    links: Mutex<Vec<Weak<Link>>>,
    /// Accepted and never answered.
    hung: Mutex<Vec<TcpStream>>,
    is_stopped: AtomicBool,
    /// The number of threads that carry bytes.
    carriers: AtomicUsize,
    accepted: AtomicUsize,
    struck: AtomicUsize,
}

impl FaultProxy {
    /// Starts a proxy to the server at this address, which need not run yet. Without
    /// [`set`](Self::set) or [`plan`](Self::plan) it injects no fault.
    pub(crate) fn start(upstream: impl Into<String>) -> FaultProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.into(),
            plan: Mutex::new(Box::new(|| Fault::None)),
            links: Mutex::default(),
            hung: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            carriers: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            struck: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_stopped.load(SeqCst) {
                    return;
                }
                // Without a free descriptor, the client sees its connection closed.
                if let Ok(client) = client {
                    accepting.serve(client);
                }
            }
        });
        FaultProxy { address, shared, acceptor: Some(acceptor) }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Sets the fault of every connection from now on.
    pub(crate) fn set(&self, fault: Fault) {
        self.plan(move || fault);
    }

    /// Calls `plan` for the fault of each connection from now on.
    pub(crate) fn plan(&self, plan: impl FnMut() -> Fault + Send + 'static) {
        *lock(&self.shared.plan) = Box::new(plan);
    }

    /// Stops injecting faults, and ends the connections that have one.
    pub(crate) fn calm(&self) {
        self.set(Fault::None);
        lock(&self.shared.hung).clear();
        for link in self.shared.links() {
            if link.fault != Fault::None {
                link.end();
            }
        }
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        lock(&self.shared.hung).clear();
        self.shared.links().iter().for_each(|link| link.end());
    }

    /// Returns the number of accepted connections.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// Returns the number of faults that struck.
    pub(crate) fn struck(&self) -> usize {
        self.shared.struck.load(SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, SeqCst);
        // Wakes the acceptor.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
        while self.shared.carriers.load(SeqCst) > 0 {
            self.cut();
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, client: TcpStream) {
        self.accepted.fetch_add(1, SeqCst);
        let fault = (lock(&self.plan))();
        if fault == Fault::Hang {
            self.struck.fetch_add(1, SeqCst);
            lock(&self.hung).push(client);
            return;
        }
        // Without a server, the client's connection is closed.
        let Ok(server) = TcpStream::connect(&self.upstream) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let link = Arc::new(Link { client, server, fault, is_dark: AtomicBool::new(false) });
        {
            let mut links = lock(&self.links);
            links.retain(|link| link.strong_count() > 0);
            links.push(Arc::downgrade(&link));
        }
        self.carry(&link, |link, _| link.carry_commands());
        self.carry(&link, Link::carry_replies);
    }

    fn carry(
        self: &Arc<Self>,
        link: &Arc<Link>,
        work: impl FnOnce(&Link, &Shared) -> io::Result<()> + Send + 'static,
    ) {
        let (link, shared) = (Arc::clone(link), Arc::clone(self));
        shared.carriers.fetch_add(1, SeqCst);
        thread::spawn(move || {
            let _ = work(&link, &shared);
            link.end();
            drop(link);
            shared.carriers.fetch_sub(1, SeqCst);
        });
    }

    fn links(&self) -> Vec<Arc<Link>> {
        lock(&self.links).iter().filter_map(Weak::upgrade).collect()
    }
}

/// A client and its connection to the server.
struct Link {
    client: TcpStream,
    server: TcpStream,
    fault: Fault,
    /// Commands no longer pass.
    is_dark: AtomicBool,
}

impl Link {
    fn carry_commands(&self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match (&self.client).read(&mut buffer)? {
                0 => return Ok(()),
                count if !self.is_dark.load(SeqCst) => {
                    (&self.server).write_all(&buffer[..count])?;
                }
                _ => {}
            }
        }
    }

    fn carry_replies(&self, shared: &Shared) -> io::Result<()> {
        let (mut buffer, mut passed) = ([0; 16 * 1024], 0);
        let strikes_once = |first: bool| {
            if first {
                shared.struck.fetch_add(1, SeqCst);
            }
        };
        loop {
            let count = (&self.server).read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            let (piece, first) = (&buffer[..count], passed == 0);
            passed += count;
            let mut client = &self.client;
            match self.fault {
                Fault::None | Fault::Hang => client.write_all(piece)?,
                Fault::Delay(time) => {
                    strikes_once(first);
                    thread::sleep(time);
                    client.write_all(piece)?;
                }
                Fault::Drip => {
                    strikes_once(first);
                    piece.chunks(1).try_for_each(|byte| client.write_all(byte))?;
                }
                Fault::Repeat => {
                    strikes_once(first);
                    client.write_all(&[piece, piece].concat())?;
                }
                Fault::Cut(after)
                | Fault::Reset(after)
                | Fault::BlackHole(after)
                | Fault::HalfClose(after)
                | Fault::Garbage(after) => {
                    if passed <= after {
                        client.write_all(piece)?;
                        continue;
                    }
                    shared.struck.fetch_add(1, SeqCst);
                    client.write_all(&piece[..after - (passed - count)])?;
                    return self.strike();
                }
            }
        }
    }

    /// Applies a fault that cannot be undone. Returns when the connection must end.
    fn strike(&self) -> io::Result<()> {
        self.is_dark.store(true, SeqCst);
        match self.fault {
            Fault::Reset(_) => {
                // With a linger time of zero, closing sends RST.
                return socket2::SockRef::from(&self.client).set_linger(Some(Duration::ZERO));
            }
            Fault::Garbage(_) => (&self.client).write_all(NOISE)?,
            Fault::HalfClose(_) => self.client.shutdown(Shutdown::Write)?,
            Fault::BlackHole(_) => {}
            _ => return Ok(()),
        }
        // Lasts until the client, the server or the proxy ends it.
        let mut buffer = [0; 16 * 1024];
        while (&self.server).read(&mut buffer)? > 0 {}
        Ok(())
    }

    /// Wakes both carriers. Only reading ends here: the last carrier closes the sockets, so that a
    /// reset is sent as a reset.
    fn end(&self) {
        let _ = self.client.shutdown(Shutdown::Read);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
