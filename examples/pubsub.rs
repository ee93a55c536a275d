//! A listener that pings the server regularly, and dials and subscribes again after a failure:
//! `cargo run --example pubsub`.
//!
//! Environment: `REDIS_URL`, for example `redis://127.0.0.1:6379`; if unset, the program starts a
//! private redis-server, and restarts it while the listener runs. `HEALTH_CHECK_MS`, the time between
//! two pings: 200 if unset; a service would use a minute. The program ends by itself.

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;
use std::{env, iter, thread};

use redigo::testing::TempServer;
use redigo::{Context, Dialer, PubSubConn, PubSubEvent};

/// How long the server may take to answer a ping.
const GRACE: Duration = Duration::from_secs(10);

struct Listener<'a> {
    dialer: &'a Dialer,
    channels: &'a [&'a str],
    health_check: Duration,
}

impl Listener<'_> {
    /// Listens until the context ends, on as many connections as it takes.
    fn listen(&self, ctx: &Context, mut on_event: impl FnMut(PubSubEvent)) {
        while ctx.err().is_none() {
            match self.listen_once(ctx, &mut on_event) {
                Err(error) if ctx.err().is_none() => println!("lost the server: {error}"),
                _ => return,
            }
            // Pauses before the next attempt, unless the context ends.
            let _ = ctx.done().recv_timeout(Duration::from_millis(100));
        }
    }

    /// Listens until the connection fails or the context ends, which also ends the connection.
    fn listen_once(
        &self,
        ctx: &Context,
        on_event: &mut impl FnMut(PubSubEvent),
    ) -> redigo::Result<()> {
        let mut sub = PubSubConn::new(self.dialer.dial_context(ctx)?);
        sub.subscribe(self.channels)?;
        let mut pinged = false;
        loop {
            let silence = if pinged { GRACE } else { self.health_check };
            match sub.poll_context(ctx, silence)? {
                Some(event) => {
                    pinged = false;
                    on_event(event);
                }
                None if pinged => return Err(redigo::Error::other("no answer to a ping")),
                None => {
                    sub.ping("")?;
                    pinged = true;
                }
            }
        }
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut private_redis = None;
    let redis_url = match env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => private_redis.insert(TempServer::start()?).url(),
    };
    let dialer = &Dialer::url(&redis_url)?;
    let health_check = env::var("HEALTH_CHECK_MS").map_or(Ok(200), |text| text.parse())?;
    let health_check = Duration::from_millis(health_check);
    let (ctx, cancel) = &Context::background().with_cancel();
    let (events, seen) = mpsc::channel();
    let listener = Listener { dialer, channels: &["news", "sport"], health_check };
    let seen = iter::from_fn(|| seen.recv_timeout(health_check + GRACE).ok());
    thread::scope(|scope| {
        scope.spawn(move || listener.listen(ctx, |event| drop(events.send(event))));
        let seen = seen.inspect(|event| println!("{event:?}"));
        let outcome = publish(dialer, private_redis.as_mut(), seen);
        cancel.cancel();
        outcome
    })
}

/// Publishes for the listener, and restarts the server if it is the private one.
fn publish(
    dialer: &Dialer,
    private_redis: Option<&mut TempServer>,
    mut seen: impl Iterator<Item = PubSubEvent>,
) -> Result<(), Box<dyn Error>> {
    let silence = "the listener received nothing";
    let subscribed = |event: &_| matches!(event, PubSubEvent::Subscription { count: 2, .. });
    let message = |event: &_| matches!(event, PubSubEvent::Message { .. });
    let pong = |event: &_| matches!(event, PubSubEvent::Pong { .. });
    seen.find(subscribed).ok_or(silence)?;
    dialer.dial()?.call("PUBLISH", ("news", "hello"))?;
    seen.find(message).ok_or(silence)?;
    seen.find(pong).ok_or(silence)?;
    if let Some(server) = private_redis {
        server.restart()?;
        seen.find(subscribed).ok_or(silence)?;
        dialer.dial()?.call("PUBLISH", ("sport", "hello again"))?;
        seen.find(message).ok_or(silence)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn listener_stops_while_the_server_is_frozen() {
        let server = TempServer::start().unwrap();
        let dialer = &Dialer::url(server.url()).unwrap();
        let (ctx, cancel) = &Context::background().with_cancel();
        let (subscribed, is_subscribed) = mpsc::channel();
        let listener =
            Listener { dialer, channels: &["news"], health_check: Duration::from_millis(20) };
        thread::scope(|scope| {
            let listening =
                scope.spawn(move || listener.listen(ctx, |event| drop(subscribed.send(event))));
            is_subscribed.recv_timeout(GRACE).unwrap();
            server.freeze().unwrap();
            // Until the listener waits for the answer to a ping.
            thread::sleep(Duration::from_millis(100));
            let canceled = Instant::now();
            cancel.cancel();
            listening.join().unwrap();
            server.thaw().unwrap();
            assert!(canceled.elapsed() < GRACE / 2, "{:?}", canceled.elapsed());
        });
    }
}
