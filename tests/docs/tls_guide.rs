//! docs/tls.md: its commands make a server and a pool that work together, its table has every kind
//! of error, and the example runs.

#[path = "../../examples/tls.rs"]
mod example;
#[path = "../support/redis_server.rs"]
mod redis_server;

use example::certs::{cert, folder};
use redigo::testing::TempServer;
use redigo::{Dialer, Error, TlsErrorKind};
use redis_server::{lacks_tls, start_with_tls};

const GUIDE: &str = include_str!("../../docs/tls.md");

#[test]
fn the_example_runs() {
    match example::main() {
        Err(error) if lacks_tls(&error.to_string()) => {}
        outcome => outcome.unwrap(),
    }
}

/// The first block of commands is what makes the certificates of all tests; this is the second.
#[test]
fn the_server_and_the_pool_of_the_guide() {
    let command = GUIDE.split("```sh\n").nth(2).unwrap().split("```").next().unwrap();
    let mut words = command.split_whitespace().filter(|word| *word != "\\");
    assert_eq!(
        [(); 5].map(|()| words.next().unwrap()).join(" "),
        "redis-server --port 0 --tls-port 6380"
    );
    let options: Vec<String> = words
        .map(|word| match word.starts_with("--") {
            true => word.to_owned(),
            false => cert(word).display().to_string(),
        })
        .collect();
    assert_eq!(options.len(), 6);
    // Redis's default.
    let server = TempServer::builder().arg("--tls-auth-clients", "yes");
    let server = server.tls_files(cert("redis.pem"), cert("redis.key"), cert("ca.pem"));
    let server = start_with_tls(server.args(options)).unwrap();

    for option in
        [r#".tls_ca_file("ca.pem")"#, r#".tls_client_identity("client.pem", "client.key")"#]
    {
        assert!(GUIDE.contains(option), "{option}");
    }
    let at = |name: &str| folder().path().join(name);
    let dialer = Dialer::url(format!("rediss://localhost:{}", server.port())).unwrap();
    let dialer = dialer.tls_ca_file(at("ca.pem"));
    let identified = dialer.clone().tls_client_identity(at("client.pem"), at("client.key"));
    identified.dial().unwrap().call("PING", ()).unwrap();
    // "It turns clients without a certificate away."
    let turned_away = dialer.dial().and_then(|mut conn| conn.call("PING", ()));
    let Err(Error::Tls(error)) = turned_away else { panic!("{turned_away:?}") };
    assert_eq!(error.kind(), TlsErrorKind::ClientCertificateRequired);
}

#[test]
fn the_table_has_every_kind() {
    let source = include_str!("../../src/error/tls.rs");
    let kinds =
        source.split("pub enum TlsErrorKind {").nth(1).unwrap().split("\n}").next().unwrap();
    let kinds = kinds.lines().map(str::trim).filter(|line| !line.starts_with('/'));
    let mut count = 0;
    for kind in kinds.filter_map(|line| line.strip_suffix(',')) {
        assert!(GUIDE.contains(&format!("`{kind}`")), "{kind}");
        count += 1;
    }
    assert!(count >= 11, "{count}");
}
