//! The faults: network faults injected by the proxies, server faults, and an operator's changes to a
//! pool in use.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use redigo::{Conn, Dialer, ToArgs};

use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::redis_server::RedisServer;
use crate::support::wait::wait_until;
use crate::worker::Site;
use crate::{LIMIT, MAX_ACTIVE};

/// A random number generator: splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// One event that disturbs the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Disturbance {
    Network,
    Cut,
    KillNine,
    Freeze,
    KillClients,
    KillSubscribers,
    Pause,
    PauseWrites,
    MaxClients,
    ReadOnly,
    Evict,
    Resize,
    Suspend,
}

const DISTURBANCES: [Disturbance; 13] = [
    Disturbance::Network,
    Disturbance::Cut,
    Disturbance::KillNine,
    Disturbance::Freeze,
    Disturbance::KillClients,
    Disturbance::KillSubscribers,
    Disturbance::Pause,
    Disturbance::PauseWrites,
    Disturbance::MaxClients,
    Disturbance::ReadOnly,
    Disturbance::Evict,
    Disturbance::Resize,
    Disturbance::Suspend,
];

pub(crate) struct Chaos {
    server: RedisServer,
    /// Between the server and all workers except those of `repeater`.
    pub(crate) proxy: FaultProxy,
    /// Between the server and the workers that send one command at a time. Only this proxy repeats
    /// replies: with several pending, a repeated reply looks like the next one.
    pub(crate) repeater: FaultProxy,
    random: Random,
    /// The rest of this round: each event once, in random order.
    deck: Vec<Disturbance>,
    struck: BTreeMap<Disturbance, usize>,
}

impl Chaos {
    pub(crate) fn new(server: RedisServer, seed: u64) -> Chaos {
        let (proxy, repeater) =
            (FaultProxy::start(server.addr()), FaultProxy::start(server.addr()));
        let random = Random::new(seed);
        Chaos { server, proxy, repeater, random, deck: Vec::new(), struck: BTreeMap::new() }
    }

    /// Returns how often every event has happened at least.
    pub(crate) fn rounds(&self) -> usize {
        DISTURBANCES
            .iter()
            .map(|event| self.struck.get(event).copied().unwrap_or(0))
            .min()
            .unwrap_or(0)
    }

    /// Triggers one event and waits a moment.
    pub(crate) fn strike(&mut self, site: &Site) {
        if self.deck.is_empty() {
            let mut rest = DISTURBANCES.to_vec();
            while !rest.is_empty() {
                let drawn = self.random.below(rest.len() as u64) as usize;
                self.deck.push(rest.swap_remove(drawn));
            }
        }
        let Some(event) = self.deck.pop() else { return };
        *self.struck.entry(event).or_default() += 1;
        let time = self.random.millis(20, 300);
        match event {
            Disturbance::Network => self.disturb_the_network(),
            Disturbance::Cut => {
                self.proxy.cut();
                self.repeater.cut();
            }
            Disturbance::KillNine => {
                self.server.kill();
                thread::sleep(time);
                self.server.restart();
            }
            Disturbance::Freeze => {
                self.server.freeze();
                // Sometimes longer than the workers' timeouts.
                thread::sleep(2 * time);
                self.server.thaw();
            }
            Disturbance::KillClients => {
                self.ask("CLIENT", ("KILL", "TYPE", "normal", "SKIPME", "yes"))
            }
            Disturbance::KillSubscribers => self.ask("CLIENT", ("KILL", "TYPE", "pubsub")),
            Disturbance::Pause => self.ask("CLIENT", ("PAUSE", 2 * time.as_millis() as u64, "ALL")),
            Disturbance::PauseWrites => {
                self.ask("CLIENT", ("PAUSE", time.as_millis() as u64, "WRITE"))
            }
            Disturbance::MaxClients => {
                let mut admin = self.admin();
                let few = 1 + self.random.below(8);
                admin.call("CONFIG", ("SET", "maxclients", few)).unwrap();
                admin.call("CLIENT", ("KILL", "TYPE", "normal", "SKIPME", "yes")).unwrap();
                thread::sleep(time);
                admin.call("CONFIG", ("SET", "maxclients", 1000)).unwrap();
            }
            Disturbance::ReadOnly => {
                // Follows a master that does not exist, as at the start of a failover.
                self.ask("REPLICAOF", ("127.0.0.1", 1));
                thread::sleep(time);
                self.ask("REPLICAOF", ("NO", "ONE"));
            }
            Disturbance::Evict => {
                site.pool.evict_all();
                site.echoing.evict_all();
            }
            Disturbance::Resize => {
                let few = 2 + self.random.below(4) as usize;
                site.pool.resize(few, few).unwrap();
                thread::sleep(time);
                site.pool.resize(MAX_ACTIVE, MAX_ACTIVE).unwrap();
            }
            Disturbance::Suspend => {
                site.pool.suspend();
                thread::sleep(time);
                site.pool.resume();
            }
        }
        thread::sleep(self.random.millis(10, 150));
    }

    /// Ends all faults and returns a summary of them.
    pub(crate) fn calm_down(&mut self) -> String {
        self.ask("CLIENT", "UNPAUSE");
        self.proxy.calm();
        self.repeater.calm();
        let mut text = format!("faults: {} connections with network faults", {
            self.proxy.struck() + self.repeater.struck()
        });
        for (event, count) in &self.struck {
            let _ = write!(text, ", {count} {event:?}");
        }
        let _ =
            write!(text, "; {} connections made", self.proxy.accepted() + self.repeater.accepted());
        text
    }

    /// Gives about half of the connections from now on a random fault.
    fn disturb_the_network(&mut self) {
        for (proxy, repeats) in [(&self.proxy, false), (&self.repeater, true)] {
            let mut random = Random::new(self.random.next());
            proxy.plan(move || {
                let after = random.below(3000) as usize;
                match random.below(20) {
                    0 => Fault::Delay(random.millis(1, 2 * LIMIT.as_millis() as u64)),
                    1 => Fault::Drip,
                    2 => Fault::Cut(after),
                    3 => Fault::Reset(after),
                    4 => Fault::BlackHole(after),
                    5 => Fault::HalfClose(after),
                    6 => Fault::Garbage(after),
                    7 => Fault::Hang,
                    8 | 9 if repeats => Fault::Repeat,
                    _ => Fault::None,
                }
            });
        }
    }

    /// Connects to the server directly.
    fn admin(&self) -> Conn {
        let dialer = match self.server.socket() {
            Some(path) => Dialer::unix(path),
            None => Dialer::tcp(self.server.addr()),
        };
        let dialer = dialer.read_timeout(8 * LIMIT);
        let mut found = None;
        wait_until("the server answers", || {
            // The server can be full for a moment with connections that it has just refused.
            found = dialer.dial().ok();
            found.as_mut().is_some_and(|conn| conn.call("CLIENT", "ID").is_ok())
        });
        found.expect("a connection that answers")
    }

    fn ask(&self, command: &str, args: impl ToArgs) {
        self.admin().call(command, args).unwrap();
    }
}
