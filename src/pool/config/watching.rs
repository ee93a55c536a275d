//! The options for those who want to know who has what, and to have a say.

use std::sync::Arc;
use std::time::Duration;

use super::{PoolBuilder, unless_never};
use crate::conn::conn::Conn;
use crate::error::Result;
use crate::pool::reason::CloseReason;

impl PoolBuilder {
    /// Notes for each connection that is out where in the program it was borrowed, by which thread
    /// and when: for [`Pool::outstanding`](crate::Pool::outstanding), for the errors of those who
    /// get none, and for [`PoolStats::use_time`](crate::PoolStats::use_time). It costs some 50 ns a
    /// checkout.
    pub fn track_borrows(mut self, track: bool) -> PoolBuilder {
        self.track_borrows = track;
        self
    }

    /// A connection that is out for longer than this is reported once in the log, as a warning: where
    /// it was borrowed, by which thread, how long ago. When it comes back after all, that is too.
    /// [Tracks borrows](PoolBuilder::track_borrows). Needs the upkeep thread.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .leak_threshold(Duration::from_secs(30))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "leakDetectionThreshold")]
    pub fn leak_threshold(mut self, out: impl Into<Option<Duration>>) -> PoolBuilder {
        self.leak_threshold = unless_never(out);
        self
    }

    /// Takes a connection back that is out for longer than
    /// [`leak_threshold`](PoolBuilder::leak_threshold): it is shut down, so that whatever its
    /// borrower does with it fails with [`Error::Canceled`](crate::Error::Canceled), and its place is
    /// free for another.
    pub fn reclaim_leaked(mut self, reclaim: bool) -> PoolBuilder {
        self.reclaim_leaked = reclaim;
        self
    }

    /// A thread that holds a connection, asks for another and would wait for ever, because every
    /// connection is held by threads that wait like itself, gets
    /// [`Error::PoolDeadlock`](crate::Error::PoolDeadlock), which names its first borrow. A
    /// connection counts as held by the thread that has borrowed it, wherever it was sent.
    /// [Tracks borrows](PoolBuilder::track_borrows).
    pub fn refuse_deadlock(mut self, refuse: bool) -> PoolBuilder {
        self.refuse_deadlock = refuse;
        self
    }

    /// Runs this on each new connection, after its set-up. When it fails or panics, the dial has
    /// failed.
    ///
    /// ```
    /// use redigo::{Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .on_dial(|conn| conn.call("CLIENT", ("NO-EVICT", "ON")).map(drop))
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "OnConnect")]
    pub fn on_dial(
        mut self,
        hook: impl Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.hooks.dial = Some(Arc::new(hook));
        self
    }

    /// Runs this on each connection that is about to be lent. When it fails or panics, the
    /// connection is closed, and the caller gets another; one that was just dialled is not
    /// replaced, and the caller gets the hook's error. The time limit of the caller covers it.
    #[doc(alias = "OnGet")]
    pub fn on_borrow(
        mut self,
        hook: impl Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.hooks.borrow = Some(Arc::new(hook));
        self
    }

    /// Runs this on each connection that comes back clean, also when it is dropped. When it fails or
    /// panics, the connection is closed.
    #[doc(alias = "OnPut")]
    pub fn on_return(
        mut self,
        hook: impl Fn(&mut Conn) -> Result<()> + Send + Sync + 'static,
    ) -> PoolBuilder {
        self.hooks.give_back = Some(Arc::new(hook));
        self
    }

    /// Runs this whenever the pool closes a connection, with the reason. It may run on any thread
    /// that uses the pool, so it should be quick.
    ///
    /// ```
    /// use redigo::{CloseReason, Dialer, Pool};
    ///
    /// let pool = Pool::builder(Dialer::tcp(":6379"))
    ///     .on_close(|reason| {
    ///         if reason == CloseReason::Leak {
    ///             eprintln!("who has kept a connection?");
    ///         }
    ///     })
    ///     .build()?;
    /// # drop(pool);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    #[doc(alias = "OnRemove")]
    pub fn on_close(mut self, hook: impl Fn(CloseReason) + Send + Sync + 'static) -> PoolBuilder {
        self.hooks.close = Some(Arc::new(hook));
        self
    }
}
