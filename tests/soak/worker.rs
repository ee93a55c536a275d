//! One of the threads: it uses every way to send commands, and knows the correct replies.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use redigo::{Conn, Context, Error, Mux, Pool, PooledConn, PubSubConn, PubSubEvent, Result, Value};

use crate::LIMIT;
use crate::chaos::Random;
use crate::tally::Tally;

/// Shared by the threads.
pub(crate) struct Site {
    pub(crate) pool: Pool,
    /// Behind the proxy that repeats replies. Each checkout sends one command.
    pub(crate) echoing: Pool,
    pub(crate) mux: Mux,
    pub(crate) tally: Tally,
    pub(crate) is_over: AtomicBool,
}

pub(crate) struct Worker {
    number: u64,
    random: Random,
    /// The number of the last nonce.
    sequence: u64,
    /// Published messages without a reply. The server may deliver them later, to a new subscriber.
    unconfirmed: HashSet<String>,
    site: Arc<Site>,
}

type Operation = fn(&mut Worker) -> Result<()>;

/// Operations that must succeed without faults.
const USUAL: [Operation; 9] = [
    Worker::echo,
    Worker::echo,
    Worker::echo_alone,
    Worker::echo_shared,
    Worker::echo_shared,
    Worker::pipeline,
    Worker::own_key,
    Worker::transaction,
    Worker::subscribe,
];
/// Operations that can fail without faults.
const UNUSUAL: [Operation; 4] =
    [Worker::leave_dirty, Worker::panic_with_it, Worker::give_up_waiting, Worker::give_up_call];

impl Worker {
    pub(crate) fn new(number: u64, seed: u64, site: Arc<Site>) -> Worker {
        let random = Random::new(seed ^ (number + 1).wrapping_mul(0x9e37_79b9));
        Worker { number, random, sequence: 0, unconfirmed: HashSet::new(), site }
    }

    pub(crate) fn run(&mut self) {
        while !self.site.is_over.load(SeqCst) {
            let began = Instant::now();
            let chosen = self.random.below(12) as usize;
            match USUAL.get(chosen) {
                Some(operation) => {
                    let outcome = operation(self);
                    self.site.tally.ended_or_failed(began, outcome);
                }
                None => {
                    let chosen = self.random.below(UNUSUAL.len() as u64) as usize;
                    let outcome = UNUSUAL[chosen](self);
                    self.site.tally.ended(began, outcome);
                }
            }
        }
    }

    /// Returns a unique text, which is seldom long.
    fn nonce(&mut self) -> String {
        self.sequence += 1;
        let length = match self.random.below(200) {
            0 => 40_000,
            n => n as usize,
        };
        let (number, sequence) = (self.number, self.sequence);
        format!("{number}:{sequence}:{:x}:{}", self.random.next(), "x".repeat(length))
    }

    fn borrow(&self) -> Result<PooledConn> {
        self.site.pool.get_timeout(2 * LIMIT)
    }

    fn check(&self, what: &str, reply: &Value, expected: &str) {
        if reply.as_bytes() == Some(expected.as_bytes()) {
            self.site.tally.checked(1);
        } else {
            let shown: String = format!("{reply:?}").chars().take(200).collect();
            let expected: String = expected.chars().take(60).collect();
            self.site.tally.mismatch(format!("{what}: {shown} instead of {expected}"));
        }
    }

    fn echo_on(&mut self, what: &str, conn: &mut Conn) -> Result<()> {
        let nonce = self.nonce();
        let reply = conn.call("ECHO", &*nonce)?;
        self.check(what, &reply, &nonce);
        Ok(())
    }

    fn echo(&mut self) -> Result<()> {
        let mut conn = self.borrow()?;
        for _ in 0..=self.random.below(4) {
            self.echo_on("echo", &mut conn)?;
        }
        conn.close()
    }

    fn echo_alone(&mut self) -> Result<()> {
        let mut conn = self.site.echoing.get_timeout(2 * LIMIT)?;
        self.sequence += 1;
        // Short, so that a repeated reply is in the same packet as the first.
        let nonce = format!("{}:{}", self.number, self.sequence);
        let reply = conn.call("ECHO", &*nonce)?;
        self.check("echo alone", &reply, &nonce);
        Ok(())
    }

    fn echo_shared(&mut self) -> Result<()> {
        let nonce = self.nonce();
        let reply = self.site.mux.call("ECHO", &*nonce)?;
        self.check("echo through the mux", &reply, &nonce);
        Ok(())
    }

    fn pipeline(&mut self) -> Result<()> {
        let mut conn = self.borrow()?;
        let nonces: Vec<String> = (0..1 + self.random.below(10)).map(|_| self.nonce()).collect();
        let mut pipeline = conn.pipeline();
        nonces.iter().for_each(|nonce| pipeline.push("ECHO", &**nonce));
        for (reply, nonce) in pipeline.run()?.into_iter().zip(&nonces) {
            self.check("pipeline", &reply?, nonce);
        }
        Ok(())
    }

    /// Checks that the worker's own key holds a value that the worker set, or nothing if the server
    /// lost it.
    fn own_key(&mut self) -> Result<()> {
        let mut conn = self.borrow()?;
        let key = format!("soak:{}", self.number);
        match conn.call("GET", &*key)? {
            Value::Nil => {}
            reply => {
                let text = reply.as_str().unwrap_or_default();
                let mut parts = text.splitn(3, ':').map(str::parse::<u64>);
                let is_own = parts.next() == Some(Ok(self.number))
                    && parts.next().is_some_and(|at| at.is_ok_and(|at| at <= self.sequence));
                match is_own {
                    true => self.site.tally.checked(1),
                    false => self.site.tally.mismatch(format!("{key} holds {text:.80}")),
                }
            }
        }
        let nonce = self.nonce();
        match conn.call("SET", (&*key, &*nonce))? {
            reply if reply == Value::simple("OK") => self.site.tally.checked(1),
            reply => self.site.tally.mismatch(format!("SET: {reply:?}")),
        }
        conn.close()
    }

    fn transaction(&mut self) -> Result<()> {
        let mut conn = self.borrow()?;
        let (key, first, second) = (format!("soak:tx:{}", self.number), self.nonce(), self.nonce());
        let replies = conn.transaction(&*key, |tx| {
            tx.cmd("ECHO", &*first).cmd("SET", (&*key, &*second)).cmd("GET", &*key).exec::<(
                Value,
                Value,
                Value,
            )>()
        })?;
        self.check("transaction", &replies.0, &first);
        self.check("transaction", &replies.1, "OK");
        self.check("transaction", &replies.2, &second);
        Ok(())
    }

    /// Receives its own messages in the order of publishing, and nothing else.
    fn subscribe(&mut self) -> Result<()> {
        let channel = format!("soak:channel:{}", self.number);
        let mut sub = PubSubConn::new(self.borrow()?);
        sub.subscribe(&*channel)?;
        self.expect_event(&mut sub, |event| {
            matches!(event, PubSubEvent::Subscription { count: 1, .. })
        })?;
        for _ in 0..3 {
            let nonce = self.nonce();
            self.publish(&channel, &nonce)?;
            self.expect_event(&mut sub, |event| {
                matches!(event, PubSubEvent::Message { channel: heard, data, pattern: None }
                    if heard == channel.as_bytes() && data == nonce.as_bytes())
            })?;
        }
        // A message may still be on its way when the connection is returned.
        let nonce = self.nonce();
        self.publish(&channel, &nonce)?;
        sub.close()
    }

    fn publish(&mut self, channel: &str, nonce: &str) -> Result<()> {
        let published = self.site.mux.call("PUBLISH", (channel, nonce));
        if published.is_err() {
            self.unconfirmed.insert(nonce.to_owned());
        }
        published.map(drop)
    }

    fn expect_event(
        &mut self,
        sub: &mut PubSubConn<PooledConn>,
        is_right: impl Fn(&PubSubEvent) -> bool,
    ) -> Result<()> {
        loop {
            let event = sub.receive()?;
            if let PubSubEvent::Message { data, .. } = &event {
                if self.unconfirmed.remove(&*String::from_utf8_lossy(data)) {
                    continue;
                }
            }
            match is_right(&event) {
                true => self.site.tally.checked(1),
                false => self.site.tally.mismatch(format!("heard {event:.200?}")),
            }
            return Ok(());
        }
    }

    /// Returns a connection with state that the next borrower must not see.
    fn leave_dirty(&mut self) -> Result<()> {
        let mut conn = self.borrow()?;
        match self.random.below(6) {
            0 => conn.call("SELECT", 3).map(drop)?,
            1 => conn.call("MULTI", ()).map(drop)?,
            2 => conn.call("WATCH", "soak:watched").map(drop)?,
            3 => conn.send("ECHO", "never received")?,
            4 => {
                conn.send("SUBSCRIBE", "soak:unheard")?;
                conn.flush()?;
            }
            _ => {
                conn.send("ECHO", "first")?;
                conn.send("ECHO", "second")?;
                conn.flush()?;
                conn.receive()?;
            }
        }
        match self.random.below(3) {
            0 => drop(conn),
            1 => conn.discard(),
            _ => conn.close()?,
        }
        Ok(())
    }

    fn panic_with_it(&mut self) -> Result<()> {
        let mut conn = self.borrow()?;
        let outcome = catch_unwind(AssertUnwindSafe(move || {
            let _ = conn.send("ECHO", "never received");
            // Unlike `panic!`, this prints no message.
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(outcome.is_err());
        self.site.tally.panicked();
        Ok(())
    }

    /// Cancels or times out a checkout, before or after it gets a connection.
    fn give_up_waiting(&mut self) -> Result<()> {
        let patience = Duration::from_micros(self.random.below(500));
        let (ctx, cancel) = Context::background().with_timeout(patience).with_cancel();
        if self.random.below(2) == 0 {
            cancel.cancel();
        }
        match self.site.pool.get_context(&ctx) {
            Ok(mut conn) => self.echo_on("echo after a short wait", &mut conn),
            Err(Error::Canceled) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives up a call before its reply, which no caller may get.
    fn give_up_call(&mut self) -> Result<()> {
        let patience = Duration::from_micros(self.random.below(300));
        let nonce = self.nonce();
        let reply = match self.random.below(2) {
            0 => self.site.mux.call_timeout(patience, "ECHO", &*nonce)?,
            _ => self.borrow()?.call_timeout(patience, "ECHO", &*nonce)?,
        };
        self.check("a call with a short timeout", &reply, &nonce);
        Ok(())
    }
}
