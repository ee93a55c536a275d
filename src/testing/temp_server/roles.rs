//! Replicas and sentinels of a private server.

use super::TempServer;
use super::builder::{Role, TempServerBuilder};

/// Other roles than that of a primary.
impl TempServerBuilder {
    /// Makes the server a replica. [`start`](TempServerBuilder::start) then returns when it has
    /// the primary's data.
    ///
    /// The primary must have a TCP port and must not use TLS.
    ///
    /// ```no_run
    /// use redigo::testing::TempServer;
    ///
    /// let primary = TempServer::start()?;
    /// let replica = TempServer::builder().replica_of(&primary).start()?;
    /// primary.conn()?.call("SET", ("k", 1))?;
    /// primary.conn()?.call("WAIT", (1, 1000))?;
    /// assert_eq!(replica.conn()?.query::<i64>("GET", "k")?, 1);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn replica_of(mut self, primary: &TempServer) -> TempServerBuilder {
        self.role = match check_primary(primary) {
            Ok(()) => Role::Replica,
            Err(why) => Role::Invalid(why),
        };
        if let Some(password) = primary.options.find("--requirepass") {
            self = self.arg("--masterauth", password);
        }
        self.args(["--replicaof", "127.0.0.1", &primary.port.to_string()])
    }

    /// Makes the server a sentinel that watches `primary` under the name `name`.
    ///
    /// `quorum` is the number of sentinels that must agree that the primary is down. Sentinels of
    /// the same primary find each other. A primary counts as down after 500 ms without an answer,
    /// unless `SENTINEL SET` changes that.
    ///
    /// ```no_run
    /// use redigo::testing::TempServer;
    ///
    /// let primary = TempServer::start()?;
    /// let replica = TempServer::builder().replica_of(&primary).start()?;
    /// let sentinel = TempServer::builder().sentinel_of("orders", &primary, 1).start()?;
    /// let address: (String, u16) =
    ///     sentinel.conn()?.query("SENTINEL", ("get-master-addr-by-name", "orders"))?;
    /// assert_eq!(address.1, primary.port());
    /// # drop(replica);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn sentinel_of(
        mut self,
        name: &str,
        primary: &TempServer,
        quorum: usize,
    ) -> TempServerBuilder {
        let port = primary.port;
        let mut lines = vec![
            format!("sentinel monitor {name} 127.0.0.1 {port} {quorum}"),
            format!("sentinel down-after-milliseconds {name} 500"),
            format!("sentinel failover-timeout {name} 5000"),
        ];
        if let Some(password) = primary.options.find("--requirepass") {
            lines.push(format!("sentinel auth-pass {name} {password}"));
        }
        self.role = match check_primary(primary) {
            Ok(()) => Role::Sentinel(lines),
            Err(why) => Role::Invalid(why),
        };
        self
    }
}

fn check_primary(primary: &TempServer) -> std::result::Result<(), &'static str> {
    if primary.port == 0 {
        return Err("the primary of a replica or sentinel has no TCP port");
    }
    if primary.options.uses_tls() {
        return Err("the primary of a replica or sentinel uses TLS");
    }
    Ok(())
}
