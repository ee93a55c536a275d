//! Private servers: every form starts, answers and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use redigo::testing::{TempCluster, TempDir, TempServer, unused_port};
use redigo::{Dialer, Error};

#[cfg(feature = "tls")]
use crate::support::redis_server::start_with_tls;
use crate::support::wait::{PATIENCE, wait_until};

/// Whether a process with this id exists and is not a zombie.
fn is_running(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn ping(dialer: Dialer) -> redigo::Result<String> {
    dialer.read_timeout(PATIENCE).dial()?.query("PING", ())
}

#[test]
fn temp_server_ends_with_its_value() {
    let server = TempServer::start().unwrap();
    assert_eq!(ping(server.dialer()).unwrap(), "PONG");
    assert_eq!(ping(Dialer::url(server.url()).unwrap()).unwrap(), "PONG");
    assert_eq!(ping(Dialer::unix(server.socket().unwrap())).unwrap(), "PONG");
    assert!(server.version() >= (6, 2, 0));
    let (pid, dir, port) = (server.pid().unwrap(), server.dir().to_owned(), server.port());
    assert!(is_running(pid) && dir.join("redis.log").exists());
    drop(server);
    assert!(!is_running(pid));
    assert!(!dir.exists());
    assert!(Dialer::tcp(format!("127.0.0.1:{port}")).dial().is_err());
}

#[test]
fn temp_servers_run_in_parallel() {
    let servers: Vec<TempServer> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| TempServer::start().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (number, server) in servers.iter().enumerate() {
        let mut conn = server.conn().unwrap();
        assert_eq!(conn.query::<i64>("DBSIZE", ()).unwrap(), 0);
        conn.call("SET", ("number", number)).unwrap();
    }
    for (number, server) in servers.iter().enumerate() {
        let found: usize = server.conn().unwrap().query("GET", "number").unwrap();
        assert_eq!(found, number);
    }
}

#[test]
fn temp_server_on_a_unix_socket_has_no_port() {
    let server = TempServer::builder().unix_only().password("päss w\"rd").start().unwrap();
    assert_eq!(server.port(), 0);
    assert_eq!(ping(server.dialer()).unwrap(), "PONG");
    assert_eq!(ping(Dialer::url(server.url()).unwrap()).unwrap(), "PONG");
    assert!(ping(Dialer::unix(server.socket().unwrap())).is_err(), "without the password");
}

#[test]
fn temp_server_has_the_options_of_its_builder() {
    let server =
        TempServer::builder().password("secret/@").arg("--databases", "2").start().unwrap();
    assert_eq!(ping(server.dialer().database(1)).unwrap(), "PONG");
    assert!(ping(server.dialer().database(2)).is_err());
    assert_eq!(ping(Dialer::url(server.url()).unwrap()).unwrap(), "PONG");
    assert!(ping(Dialer::tcp(server.addr())).is_err(), "without the password");
    let shown = format!("{server:?} {:?}", TempServer::builder().password("secret/@"));
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn temp_server_restarts_with_its_data() {
    let mut server = TempServer::builder().arg("--appendonly", "yes").start().unwrap();
    let (port, old_pid) = (server.port(), server.pid());
    server.conn().unwrap().call("SET", ("k", "saved")).unwrap();
    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), old_pid);
    assert_eq!(server.conn().unwrap().query::<String>("GET", "k").unwrap(), "saved");

    server.kill();
    assert_eq!(server.pid(), None);
    assert!(server.conn().is_err());
    assert!(server.freeze().is_err());
    server.restart().unwrap();
    assert_eq!(ping(server.dialer()).unwrap(), "PONG");
    server.stop();
    assert_eq!(server.pid(), None);
    server.kill();
}

#[test]
fn frozen_temp_server_answers_after_the_thaw() {
    let server = TempServer::start().unwrap();
    let short = server.dialer().read_timeout(Duration::from_millis(50));
    let mut conn = short.dial().unwrap();
    server.freeze().unwrap();
    assert!(conn.call("PING", ()).unwrap_err().is_timeout());
    server.thaw().unwrap();
    assert_eq!(ping(server.dialer()).unwrap(), "PONG");
    // A frozen server is killed, too.
    server.freeze().unwrap();
    let pid = server.pid().unwrap();
    drop(server);
    assert!(!is_running(pid));
}

#[test]
fn wrong_option_is_an_error_with_the_log() {
    let error = TempServer::builder().arg("--maxmemory", "plenty").start().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("has ended") && text.contains("maxmemory"), "{text}");
}

#[test]
fn missing_redis_server_is_an_error_that_says_what_to_do() {
    let error = TempServer::builder().program("/nowhere/redis-server").start().unwrap_err();
    assert!(
        matches!(&error, Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("/nowhere/redis-server"), "{text}");
    assert!(text.contains("install one, or set REDIS_SERVER_BIN"), "{text}");
    let error = TempServer::builder().program("true").start().unwrap_err().to_string();
    assert!(error.contains("true --version does not print a version"), "{error}");
}

#[cfg(feature = "tls")]
#[test]
fn temp_server_with_tls_creates_its_certificates() {
    let server = start_with_tls(TempServer::builder().tls().password("secret")).unwrap();
    assert_eq!(ping(server.dialer()).unwrap(), "PONG");
    let strict = Dialer::url(server.url()).unwrap();
    assert!(strict.dial().is_err(), "the authority is not trusted");
    let trusting = strict.tls_ca_file(server.ca_file().unwrap());
    assert_eq!(ping(trusting.clone()).unwrap(), "PONG");
    let (cert, key) = (server.dir().join("client.pem"), server.dir().join("client.key"));
    assert_eq!(ping(trusting.tls_client_identity(cert, key)).unwrap(), "PONG");

    // Another server, with the same files.
    let file = |name: &str| server.dir().join(name);
    let other = TempServer::builder()
        .tls_files(file("redis.pem"), file("redis.key"), file("ca.pem"))
        .arg("--tls-auth-clients", "yes");
    let other = start_with_tls(other).unwrap();
    assert!(ping(other.dialer()).is_err(), "without a client certificate");
    let dialer = other.dialer().tls_client_identity(file("client.pem"), file("client.key"));
    assert_eq!(ping(dialer).unwrap(), "PONG");
}

#[test]
fn replica_starts_with_the_data_of_its_primary() {
    let primary = TempServer::builder().password("secret").start().unwrap();
    primary.conn().unwrap().call("SET", ("k", "copied")).unwrap();
    let replica = TempServer::builder().replica_of(&primary).start().unwrap();
    let mut conn = replica.conn().unwrap();
    assert_eq!(conn.query::<String>("GET", "k").unwrap(), "copied");
    let error = conn.call("SET", ("k", 1)).unwrap_err();
    assert_eq!(error.as_server().unwrap().code(), "READONLY");

    let unix_only = TempServer::builder().unix_only().start().unwrap();
    let error = TempServer::builder().replica_of(&unix_only).start().unwrap_err();
    assert!(matches!(error, Error::InvalidConfig(_)), "{error}");
}

#[test]
fn sentinels_promote_a_replica() {
    let mut primary = TempServer::start().unwrap();
    let replica = TempServer::builder().replica_of(&primary).start().unwrap();
    let sentinel = || TempServer::builder().sentinel_of("orders", &primary, 2).start().unwrap();
    let sentinels = [sentinel(), sentinel(), sentinel()];
    let mut conn = sentinels[0].conn().unwrap();
    let mut address = || -> (String, u16) {
        conn.query("SENTINEL", ("get-master-addr-by-name", "orders")).unwrap()
    };
    assert_eq!(address(), ("127.0.0.1".to_owned(), primary.port()));
    let mut conn = sentinels[0].conn().unwrap();
    let mut knows = |subject: &str, count: usize| {
        let found: redigo::Value = conn.query("SENTINEL", (subject, "orders")).unwrap();
        found.as_array().unwrap().len() == count
    };
    wait_until("the sentinels have found each other", || knows("sentinels", 2));
    wait_until("they have found the replica", || knows("replicas", 1));
    primary.kill();
    wait_until("the replica is promoted", || address().1 == replica.port());
}

#[test]
fn temp_cluster_serves_every_slot() {
    let mut cluster = TempCluster::start(3, 1).unwrap();
    assert_eq!(cluster.nodes().len(), 6);
    let (mut served, mut moved) = (0, 0);
    for key in 0..30 {
        for node in &cluster.nodes()[..3] {
            match node.conn().unwrap().call("SET", (key, "x")) {
                Ok(_) => served += 1,
                Err(error) => {
                    assert_eq!(error.as_server().unwrap().code(), "MOVED");
                    moved += 1;
                }
            }
        }
    }
    assert_eq!((served, moved), (30, 60));
    cluster.nodes_mut()[0].kill();
    wait_until("the replica takes over", || {
        let role: redigo::Value = cluster.nodes()[3].conn().unwrap().call("ROLE", ()).unwrap();
        role.as_array().unwrap()[0].as_str() == Some("master")
    });
}

#[test]
fn temp_dir_is_removed_with_its_value() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_owned();
    fs::write(path.join("file"), "x").unwrap();
    drop(dir);
    assert!(!path.exists());
    assert_ne!(unused_port().unwrap(), 0);
}

/// Set in the process that the test kills.
const TO_BE_KILLED: &str = "REDIGO_TEST_TO_BE_KILLED";

/// In its own process, prints the server's id and folder, and waits to be killed.
#[test]
fn process_with_a_server_waits_to_be_killed() {
    if std::env::var_os(TO_BE_KILLED).is_none() {
        return;
    }
    static SERVER: std::sync::OnceLock<TempServer> = std::sync::OnceLock::new();
    let server = SERVER.get_or_init(|| TempServer::start().unwrap());
    println!("\nserver {} {}", server.pid().unwrap(), server.dir().display());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn killed_process_leaves_no_server_behind() {
    use std::io::{BufRead, BufReader};
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "temp_server::process_with_a_server_waits_to_be_killed", "--nocapture"])
        .env(TO_BE_KILLED, "1")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("server ")).unwrap();
    let [_, pid, dir] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let (pid, dir) = (pid.parse().unwrap(), Path::new(dir));
    assert!(is_running(pid) && dir.exists());
    process.kill().unwrap();
    process.wait().unwrap();
    wait_until("the server has ended", || !is_running(pid));
    wait_until("its folder is removed", || !dir.exists());
}
