//! A TCP proxy between a client and a real server that does to the replies what networks do.
//!
//! Each connection gets a fault when it is accepted; what the client sends goes through unharmed
//! until the fault says otherwise. The proxy knows no RESP: it counts bytes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What happens to a connection. A number is how many bytes of the replies come through first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every piece of the replies is late by this.
    Delay(Duration),
    /// A byte at a time, each in a packet of its own.
    Drip,
    /// The connection is closed, as by a server that ends.
    Cut(usize),
    /// The connection is reset.
    Reset(usize),
    /// Nothing comes through any more in either direction, and nobody is told.
    BlackHole(usize),
    /// The end of the replies is told; what the client sends is still read.
    HalfClose(usize),
    /// Bytes that are no RESP instead of the replies.
    Garbage(usize),
    /// Every piece of the replies comes twice, in one packet.
    Repeat,
    /// The connection is accepted, and nobody is behind it.
    Hang,
}

/// What no reply begins with, no part of one is, and no line ends with.
const NOISE: &[u8] = b"\x15\x03\x01\0\x02\x02\x46\xff\n";

/// Listens on 127.0.0.1 until it is dropped, which ends its connections and its threads.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

type Plan = Box<dyn FnMut() -> Fault + Send>;

struct Shared {
    upstream: String,
    /// Asked once for each connection.
    plan: Mutex<Plan>,
    links: Mutex<Vec<Weak<Link>>>,
    /// Accepted and left alone.
    hung: Mutex<Vec<TcpStream>>,
    is_stopped: AtomicBool,
    /// Threads that carry bytes.
    carriers: AtomicUsize,
    accepted: AtomicUsize,
    struck: AtomicUsize,
}

impl FaultProxy {
    /// In front of the server at this address, which need not be there yet. It does no harm until
    /// it is told to.
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
                // Without a descriptor to be had, the client finds out by itself.
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

    /// The fault of every connection from now on.
    pub(crate) fn set(&self, fault: Fault) {
        self.plan(move || fault);
    }

    /// Asks this for the fault of each connection from now on.
    pub(crate) fn plan(&self, plan: impl FnMut() -> Fault + Send + 'static) {
        *lock(&self.shared.plan) = Box::new(plan);
    }

    /// No more faults, and the connections that have one end.
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

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// How many faults have come about.
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
        // No server: the client is turned away.
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

/// One client and the connection to the server that was made for it.
struct Link {
    client: TcpStream,
    server: TcpStream,
    fault: Fault,
    /// Nothing comes through any more.
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

    /// Does what is irrevocable. Returns when the connection is to end.
    fn strike(&self) -> io::Result<()> {
        self.is_dark.store(true, SeqCst);
        match self.fault {
            Fault::Reset(_) => {
                // No time to linger: closing it sends RST.
                return socket2::SockRef::from(&self.client).set_linger(Some(Duration::ZERO));
            }
            Fault::Garbage(_) => (&self.client).write_all(NOISE)?,
            Fault::HalfClose(_) => self.client.shutdown(Shutdown::Write)?,
            Fault::BlackHole(_) => {}
            _ => return Ok(()),
        }
        // Until one of the others ends it: the client, the server, or the proxy.
        let mut buffer = [0; 16 * 1024];
        while (&self.server).read(&mut buffer)? > 0 {}
        Ok(())
    }

    /// Wakes both carriers. Only reading ends here; the last of them closes the sockets, so that a
    /// reset is a reset.
    fn end(&self) {
        let _ = self.client.shutdown(Shutdown::Read);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
