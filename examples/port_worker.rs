//! A worker with BLPOP and a transaction: the second of the ports in docs/porting-from-go.md.
//!
//! ```text
//! cargo run --example port_worker
//! ```
//!
//! Environment: `REDIS_URL`, for example `redis://127.0.0.1:6379`; if unset, the program starts a private
//! redis-server. It queues a few transfers between accounts, lets the worker process them, and ends.

use std::env;
use std::error::Error;
use std::thread;
use std::time::Duration;

use redigo::testing::TempServer;
use redigo::{Conn, Context, Dialer, Pool};

/// Takes transfers such as "alice bob 30" off a queue until the context ends.
fn work(ctx: &Context, pool: &Pool) -> redigo::Result<()> {
    while ctx.err().is_none() {
        let mut conn = pool.acquire()?;
        // The server blocks for 1 s; its reply has one more second to arrive.
        let reply = conn.call_timeout(Duration::from_secs(2), "BLPOP", ("transfers", 1));
        let Some((_, job)): Option<(String, String)> = reply?.convert()? else { continue };
        match transfer(&mut conn, &job) {
            Ok(true) => println!("done: {job}"),
            Ok(false) => println!("not enough money: {job}"),
            Err(error) => println!("failed: {job}: {error}"),
        }
    }
    Ok(())
}

/// Moves money between two accounts, all or nothing. Returns false if there is too little.
fn transfer(conn: &mut Conn, job: &str) -> redigo::Result<bool> {
    let mut words = job.split_whitespace();
    let (Some(from), Some(to), Some(amount)) = (words.next(), words.next(), words.next()) else {
        return Err(redigo::Error::other("not a transfer"));
    };
    let amount: i64 = amount.parse().map_err(redigo::Error::other)?;

    // WATCH, the body, MULTI and EXEC; repeated if another client changed a key meanwhile.
    conn.transaction((from, to), |mut tx| {
        let balance: Option<i64> = tx.query("GET", from)?;
        if balance.unwrap_or(0) < amount {
            return Ok(false);
        }
        tx.cmd("DECRBY", (from, amount)).cmd("INCRBY", (to, amount)).exec::<()>()?;
        Ok(true)
    })
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    // Kept until the end of the program: dropping it stops the server.
    let mut private_redis = None;
    let redis_url = match env::var("REDIS_URL") {
        Ok(url) => url,
        Err(_) => private_redis.insert(TempServer::start()?).url(),
    };
    let pool = Pool::builder(Dialer::url(redis_url)?).max_active(4).wait(true).build()?;
    let mut conn = pool.acquire()?;
    conn.call("MSET", ("alice", 50, "bob", 0))?;
    conn.call("RPUSH", ("transfers", ["alice bob 30", "alice bob 30", "alice bob"]))?;

    let (ctx, cancel) = Context::background().with_cancel();
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(&ctx, &pool));
        // When the queue is empty, the last job can still be running. The worker finishes it first.
        let mut jobs = || conn.query::<i64>("LLEN", "transfers");
        while !worker.is_finished() && jobs().is_ok_and(|jobs| jobs > 0) {
            thread::sleep(Duration::from_millis(10));
        }
        cancel.cancel();
        worker.join().expect("the worker panicked")
    })?;
    let balances: (i64, i64) = conn.query("MGET", ["alice", "bob"])?;
    println!("alice has {}, bob has {}", balances.0, balances.1);
    assert_eq!(balances, (20, 30));
    conn.call("DEL", ["alice", "bob"])?;
    Ok(())
}
