//! Network faults between a client and a real server: how connections, pools, muxes and subscribers
//! handle each of them.

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use redigo::{Conn, Dialer, Error, Mux, Pool, PubSubConn, TimeoutKind, Value, check};

use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::redis_server::RedisServer;
use crate::support::wait::{LONG, SHORT, promptly, wait_until};

fn proxy() -> FaultProxy {
    FaultProxy::start(RedisServer::shared().addr())
}

fn dialer(proxy: &FaultProxy) -> Dialer {
    Dialer::tcp(proxy.address()).read_timeout(LONG)
}

fn echo(conn: &mut Conn, text: &str) -> Result<(), Error> {
    let reply: String = conn.query("ECHO", text)?;
    assert_eq!(reply, text, "the reply belongs to another command");
    Ok(())
}

fn is_io(error: &Error, expected: ErrorKind) -> bool {
    matches!(error, Error::Io(error) if error.kind() == expected)
}

/// How long to wait for a reply; short if none will come.
fn patience(fault: Fault) -> Duration {
    match fault {
        Fault::Hang | Fault::Delay(_) | Fault::BlackHole(_) => 2 * SHORT,
        _ => LONG,
    }
}

/// The faults that end a connection, each with the expected error.
fn fatal() -> Vec<(Fault, fn(&Error) -> bool)> {
    let at_end: fn(&Error) -> bool = |error| is_io(error, ErrorKind::UnexpectedEof);
    let reset: fn(&Error) -> bool = |error| is_io(error, ErrorKind::ConnectionReset);
    let late: fn(&Error) -> bool = |error| error.timeout_kind() == Some(TimeoutKind::Read);
    let nonsense: fn(&Error) -> bool = |error| matches!(error, Error::Protocol(_));
    let mut faults: Vec<(Fault, fn(&Error) -> bool)> = vec![
        (Fault::Hang, late),
        (Fault::Delay(20 * SHORT), late),
        (Fault::Garbage(0), nonsense),
        (Fault::Garbage(4), nonsense),
    ];
    // At the start of a reply, in its head, after the head, in its text, before its end.
    for after in [0, 1, 2, 3, 4, 7, 9, 10] {
        faults.push((Fault::Cut(after), at_end));
        faults.push((Fault::HalfClose(after), at_end));
        faults.push((Fault::Reset(after), reset));
        faults.push((Fault::BlackHole(after), late));
    }
    faults
}

#[test]
fn fault_is_a_permanent_error() {
    let proxy = proxy();
    for (fault, is_expected) in fatal() {
        proxy.set(fault);
        let mut conn = dialer(&proxy).read_timeout(patience(fault)).dial().unwrap();
        // `$5\r\nhello\r\n` has 11 bytes.
        let error = promptly("call", || echo(&mut conn, "hello")).unwrap_err();
        assert!(is_expected(&error), "{fault:?}: {error:?}");
        assert!(!conn.is_alive(), "{fault:?}");
        let again = conn.call("PING", ()).unwrap_err();
        assert_eq!(again.to_string(), error.to_string(), "{fault:?}");
    }
    assert_eq!(proxy.struck(), fatal().len());
}

#[test]
fn fault_while_dialing_names_the_step() {
    let proxy = proxy();
    let dialer = dialer(&proxy).client_name("proxied");
    for (fault, _) in fatal() {
        if let Fault::Cut(5..) | Fault::HalfClose(5..) | Fault::Reset(5..) | Fault::BlackHole(5..) =
            fault
        {
            // `+OK\r\n` has five bytes, so these faults strike later.
            continue;
        }
        proxy.set(fault);
        let error = promptly("dial", || dialer.clone().connect_timeout(patience(fault)).dial());
        let error = error.unwrap_err();
        assert!(error.to_string().contains("CLIENT SETNAME"), "{fault:?}: {error}");
    }
    proxy.set(Fault::None);
    dialer.dial().unwrap();
}

#[test]
fn slow_replies_are_replies() {
    let proxy = proxy();
    for fault in [Fault::Drip, Fault::Delay(Duration::from_millis(2)), Fault::None] {
        proxy.set(fault);
        let mut conn = dialer(&proxy).dial().unwrap();
        for number in 0..20 {
            echo(&mut conn, &format!("{number:>100}")).unwrap();
        }
        let replies = conn.pipeline().cmd("ECHO", "a").cmd("PING", ()).cmd("ECHO", "b");
        let expected = (String::from("a"), String::from("PONG"), String::from("b"));
        assert_eq!(replies.query::<(String, String, String)>().unwrap(), expected, "{fault:?}");
        conn.close().unwrap();
    }
}

/// The deadline is for the whole reply: a byte that arrives does not extend it.
#[test]
fn slow_bytes_do_not_extend_the_deadline() {
    let proxy = proxy();
    let mut direct = Dialer::url(RedisServer::shared().url()).unwrap().dial().unwrap();
    direct.call("SET", ("fault_proxy:long", "x".repeat(4 << 20))).unwrap();
    proxy.set(Fault::Drip);
    let mut conn = dialer(&proxy).read_timeout(SHORT).dial().unwrap();
    let error = promptly("call", || conn.call("GET", "fault_proxy:long")).unwrap_err();
    assert_eq!(error.timeout_kind(), Some(TimeoutKind::Read));
}

/// After any fault the slot of the connection is free again, and the next borrower gets the reply
/// to its own command.
#[test]
fn pool_loses_no_slot_and_crosses_no_reply() {
    let proxy = proxy();
    let pool = Pool::builder(dialer(&proxy).read_timeout(4 * SHORT)).max_active(2).build().unwrap();
    let mut faults: Vec<Fault> = fatal().into_iter().map(|(fault, _)| fault).collect();
    faults.extend([Fault::Drip, Fault::Repeat, Fault::Cut(11), Fault::Reset(25)]);
    for fault in faults {
        proxy.set(fault);
        promptly("the time with faults", || {
            for number in 0..3 {
                let mut conn = pool.acquire().unwrap();
                let outcome = echo(&mut conn, &format!("hell{number}"));
                assert_eq!(outcome.is_err(), conn.err().is_some(), "{fault:?}");
                drop(conn);
                assert_eq!(pool.stats().in_use, 0, "{fault:?}");
            }
        });
        proxy.calm();
        // A connection that was returned in order may have been cut since: one error for each.
        promptly("the time without faults", || {
            wait_until("it works again", || {
                let mut conn = pool.acquire().unwrap();
                echo(&mut conn, "again").is_ok()
            });
        });
        let stats = pool.stats();
        assert_eq!(stats.open, stats.idle + stats.in_use + stats.dialing);
        assert!(stats.open <= 2 && stats.in_use == 0, "{fault:?}: {stats:?}");
    }
}

/// A reply that is repeated immediately is detected when its connection is returned.
#[test]
fn repeated_reply_never_reaches_the_next_borrower() {
    let proxy = proxy();
    proxy.set(Fault::Repeat);
    let pool = Pool::builder(dialer(&proxy)).build().unwrap();
    for number in 0..20 {
        let mut conn = pool.acquire().unwrap();
        echo(&mut conn, &number.to_string()).unwrap();
        assert!(!conn.is_alive());
    }
    let stats = pool.stats();
    assert_eq!(
        (stats.dialed.total(), stats.closed.of(redigo::CloseReason::Dirty), stats.idle),
        (20, 20, 0),
        "{stats:?}"
    );
}

#[test]
fn peek_detects_idle_connections_that_were_cut() {
    let proxy = proxy();
    let pool = Pool::builder(dialer(&proxy)).test_on_borrow(check::peek()).build().unwrap();
    for round in 0..5 {
        let mut conn = pool.acquire().unwrap();
        echo(&mut conn, &round.to_string()).unwrap();
        let mut spare = pool.acquire().unwrap();
        echo(&mut spare, "spare").unwrap();
        proxy.cut();
        wait_until("both ends are closed", || !conn.is_alive() && !spare.is_alive());
        // No call has used them since.
        assert!(conn.err().is_none());
        drop((conn, spare));
        assert_eq!(pool.idle_count(), 2);
    }
    assert_eq!(pool.stats().closed.of(redigo::CloseReason::Health), 8);
}

/// A reply that is too late for one call of a mux is not given to the next call.
#[test]
fn mux_crosses_no_reply() {
    let proxy = proxy();
    let faults = [
        Fault::None,
        Fault::Drip,
        Fault::Delay(SHORT),
        Fault::Cut(1000),
        Fault::Reset(1000),
        Fault::BlackHole(1000),
        Fault::HalfClose(1000),
        Fault::Garbage(1000),
    ];
    for fault in faults {
        proxy.set(fault);
        let mux = Mux::new(dialer(&proxy).read_timeout(LONG));
        promptly("the mux", || {
            thread::scope(|scope| {
                for thread in 0..8 {
                    let mux = mux.clone();
                    scope.spawn(move || {
                        for number in 0..20 {
                            let text = format!("{thread}:{number}");
                            // The shortest timeouts pass before the reply, which is then dropped.
                            let patience = SHORT * (number % 3);
                            if let Ok(reply) = mux.call_timeout(patience, "ECHO", &*text) {
                                assert_eq!(reply, Value::from(text), "{fault:?}");
                            }
                        }
                    });
                }
            });
        });
        proxy.calm();
        promptly("the mux afterwards", || {
            wait_until("it works again", || mux.call("ECHO", "again").is_ok());
        });
    }
}

#[test]
fn subscriber_receives_the_fault() {
    let proxy = proxy();
    for (fault, is_expected) in fatal() {
        proxy.set(fault);
        let mut sub = PubSubConn::new(dialer(&proxy).read_timeout(patience(fault)).dial().unwrap());
        sub.subscribe("fault_proxy:channel").unwrap();
        let error = promptly("receive", || {
            loop {
                if let Err(error) = sub.receive() {
                    break error;
                }
            }
        });
        assert!(is_expected(&error), "{fault:?}: {error:?}");
    }
}
