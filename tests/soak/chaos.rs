//! The faults: of the network, by way of the proxies, and of the server itself; and what an operator
//! does to a pool in use.

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

/// Numbers from a seed: splitmix64.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
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

const BLOWS: [Blow; 13] = [
    Blow::Network,
    Blow::Cut,
    Blow::KillNine,
    Blow::Freeze,
    Blow::KillClients,
    Blow::KillSubscribers,
    Blow::Pause,
    Blow::PauseWrites,
    Blow::MaxClients,
    Blow::ReadOnly,
    Blow::Evict,
    Blow::Resize,
    Blow::Suspend,
];

pub(crate) struct Chaos {
    server: RedisServer,
    /// In the way of everybody but those below.
    pub(crate) proxy: FaultProxy,
    /// In the way of those who ask one thing at a time. Only there are replies repeated: where
    /// several are on their way nobody can tell a repeated one from the next.
    pub(crate) repeater: FaultProxy,
    random: Random,
    /// What is still to come in this round, each blow once in an order of its own.
    deck: Vec<Blow>,
    struck: BTreeMap<Blow, usize>,
}

impl Chaos {
    pub(crate) fn new(server: RedisServer, seed: u64) -> Chaos {
        let (proxy, repeater) =
            (FaultProxy::start(server.addr()), FaultProxy::start(server.addr()));
        let random = Random::new(seed);
        Chaos { server, proxy, repeater, random, deck: Vec::new(), struck: BTreeMap::new() }
    }

    /// How often each blow has been struck at least.
    pub(crate) fn rounds(&self) -> usize {
        BLOWS.iter().map(|blow| self.struck.get(blow).copied().unwrap_or(0)).min().unwrap_or(0)
    }

    /// One blow, and a moment to feel it.
    pub(crate) fn strike(&mut self, site: &Site) {
        if self.deck.is_empty() {
            let mut rest = BLOWS.to_vec();
            while !rest.is_empty() {
                let drawn = self.random.below(rest.len() as u64) as usize;
                self.deck.push(rest.swap_remove(drawn));
            }
        }
        let Some(blow) = self.deck.pop() else { return };
        *self.struck.entry(blow).or_default() += 1;
        let time = self.random.millis(20, 300);
        match blow {
            Blow::Network => self.trouble_the_network(),
            Blow::Cut => {
                self.proxy.cut();
                self.repeater.cut();
            }
            Blow::KillNine => {
                self.server.kill();
                thread::sleep(time);
                self.server.restart();
            }
            Blow::Freeze => {
                self.server.freeze();
                // Beyond the limits of those who wait, now and then.
                thread::sleep(2 * time);
                self.server.thaw();
            }
            Blow::KillClients => self.ask("CLIENT", ("KILL", "TYPE", "normal", "SKIPME", "yes")),
            Blow::KillSubscribers => self.ask("CLIENT", ("KILL", "TYPE", "pubsub")),
            Blow::Pause => self.ask("CLIENT", ("PAUSE", 2 * time.as_millis() as u64, "ALL")),
            Blow::PauseWrites => self.ask("CLIENT", ("PAUSE", time.as_millis() as u64, "WRITE")),
            Blow::MaxClients => {
                let mut admin = self.admin();
                let few = 1 + self.random.below(8);
                admin.call("CONFIG", ("SET", "maxclients", few)).unwrap();
                admin.call("CLIENT", ("KILL", "TYPE", "normal", "SKIPME", "yes")).unwrap();
                thread::sleep(time);
                admin.call("CONFIG", ("SET", "maxclients", 1000)).unwrap();
            }
            Blow::ReadOnly => {
                // A master that is not there: as at the start of a failover.
                self.ask("REPLICAOF", ("127.0.0.1", 1));
                thread::sleep(time);
                self.ask("REPLICAOF", ("NO", "ONE"));
            }
            Blow::Evict => {
                site.pool.evict_all();
                site.echoing.evict_all();
            }
            Blow::Resize => {
                let few = 2 + self.random.below(4) as usize;
                site.pool.resize(few, few).unwrap();
                thread::sleep(time);
                site.pool.resize(MAX_ACTIVE, MAX_ACTIVE).unwrap();
            }
            Blow::Suspend => {
                site.pool.suspend();
                thread::sleep(time);
                site.pool.resume();
            }
        }
        thread::sleep(self.random.millis(10, 150));
    }

    /// Ends all that goes on and says what was done.
    pub(crate) fn calm_down(&mut self) -> String {
        self.ask("CLIENT", "UNPAUSE");
        self.proxy.calm();
        self.repeater.calm();
        let mut text = format!("faults: {} connections troubled by the network", {
            self.proxy.struck() + self.repeater.struck()
        });
        for (blow, count) in &self.struck {
            let _ = write!(text, ", {count} {blow:?}");
        }
        let _ =
            write!(text, "; {} connections made", self.proxy.accepted() + self.repeater.accepted());
        text
    }

    /// Half of the connections from now on have a fault of their own.
    fn trouble_the_network(&mut self) {
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

    /// To the server itself, past the proxies.
    fn admin(&self) -> Conn {
        let dialer = Dialer::unix(self.server.socket_path()).read_timeout(8 * LIMIT);
        let mut found = None;
        wait_until("the server answers", || {
            // It may be full for a moment with those who were just turned away.
            found = dialer.dial().ok();
            found.as_mut().is_some_and(|conn| conn.call("CLIENT", "ID").is_ok())
        });
        found.expect("one that answers")
    }

    fn ask(&self, command: &str, args: impl ToArgs) {
        self.admin().call(command, args).unwrap();
    }
}
