//! A private cluster for a test.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::TempServer;
use super::launch::PAUSE;
use crate::args::Args;
use crate::error::Result;

/// The limit for the nodes to agree.
const LIMIT: Duration = Duration::from_secs(30);
const SLOTS: usize = 16_384;

/// A private Redis Cluster that runs as long as this value; see [`TempServer`].
///
/// All nodes listen on 127.0.0.1. A node counts as failed after 2 seconds without an answer.
///
/// ```no_run
/// use redigo::testing::TempCluster;
///
/// let cluster = TempCluster::start(3, 1)?; // three primaries with one replica each
/// assert_eq!(cluster.nodes().len(), 6);
/// let info: String = cluster.nodes()[0].conn()?.query("CLUSTER", "INFO")?;
/// assert!(info.contains("cluster_state:ok"));
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug)]
pub struct TempCluster {
    nodes: Vec<TempServer>,
}

impl TempCluster {
    /// Starts a cluster whose slots are spread evenly over `primaries` nodes, with `replicas`
    /// replicas for each. Returns when all nodes agree that the cluster works.
    ///
    /// ```no_run
    /// let cluster = redigo::testing::TempCluster::start(2, 0)?;
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`TempServer::start`]. [`Error::Io`](crate::Error::Io) if the nodes do not agree
    /// within 30 seconds.
    pub fn start(primaries: usize, replicas: usize) -> Result<TempCluster> {
        let primaries = primaries.max(1);
        let count = primaries * (1 + replicas);
        let nodes: Result<Vec<TempServer>> =
            (0..count).map(|_| TempServer::builder().cluster_node().start()).collect();
        let cluster = TempCluster { nodes: nodes? };
        cluster.assign_slots(primaries)?;
        cluster.meet()?;
        cluster.assign_replicas(primaries)?;
        cluster.wait_until("every node sees a working cluster", |node| {
            let info: String = node.conn()?.query("CLUSTER", "INFO")?;
            Ok(info.contains("cluster_state:ok")
                && info.contains(&format!("cluster_slots_ok:{SLOTS}"))
                && info.contains(&format!("cluster_known_nodes:{count}")))
        })?;
        Ok(cluster)
    }

    /// Returns the nodes: first the primaries in the order of their slots, then their replicas in
    /// the same order, repeated if there are several for each.
    ///
    /// ```no_run
    /// let cluster = redigo::testing::TempCluster::start(3, 0)?;
    /// let dialers: Vec<_> = cluster.nodes().iter().map(|node| node.dialer()).collect();
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn nodes(&self) -> &[TempServer] {
        &self.nodes
    }

    /// Returns the nodes, to kill or restart them.
    ///
    /// ```no_run
    /// let mut cluster = redigo::testing::TempCluster::start(3, 1)?;
    /// cluster.nodes_mut()[0].kill(); // its replica takes over
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn nodes_mut(&mut self) -> &mut [TempServer] {
        &mut self.nodes
    }

    fn assign_slots(&self, primaries: usize) -> Result<()> {
        for (index, node) in self.nodes[..primaries].iter().enumerate() {
            let (first, end) = (index * SLOTS / primaries, (index + 1) * SLOTS / primaries);
            let mut conn = node.conn()?;
            if node.version() >= (7, 0, 0) {
                conn.call("CLUSTER", ("ADDSLOTSRANGE", first, end - 1))?;
            } else {
                let slots: Vec<usize> = (first..end).collect();
                conn.call("CLUSTER", Args::new().arg("ADDSLOTS").args(slots))?;
            }
        }
        Ok(())
    }

    fn meet(&self) -> Result<()> {
        for (index, node) in self.nodes.iter().enumerate() {
            node.conn()?.call("CLUSTER", ("SET-CONFIG-EPOCH", index + 1))?;
        }
        let mut first = self.nodes[0].conn()?;
        for node in &self.nodes[1..] {
            first.call("CLUSTER", ("MEET", "127.0.0.1", node.port()))?;
        }
        let count = self.nodes.len();
        self.wait_until("every node knows all others", |node| {
            let nodes: String = node.conn()?.query("CLUSTER", "NODES")?;
            Ok(nodes.lines().count() == count && !nodes.contains("handshake"))
        })
    }

    fn assign_replicas(&self, primaries: usize) -> Result<()> {
        let ids: Result<Vec<String>> = self.nodes[..primaries]
            .iter()
            .map(|node| node.conn()?.query("CLUSTER", "MYID"))
            .collect();
        for (replica, id) in self.nodes[primaries..].iter().zip(ids?.iter().cycle()) {
            replica.conn()?.call("CLUSTER", ("REPLICATE", id))?;
        }
        if self.nodes.len() == primaries {
            return Ok(());
        }
        self.wait_until("every replica has its primary's data", |node| {
            let info: String = node.conn()?.query("INFO", "replication")?;
            Ok(info.contains("role:master") || info.contains("master_link_status:up"))
        })
    }

    /// Waits until the condition holds on every node.
    fn wait_until(&self, what: &str, holds: impl Fn(&TempServer) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        for node in &self.nodes {
            while !holds(node)? {
                if Instant::now() > deadline {
                    let message = format!("timed out waiting until {what}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message).into());
                }
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}
