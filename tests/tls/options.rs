//! TLS options that contradict each other, and invalid files.

use std::fs;
use std::path::PathBuf;

use redigo::native_tls::{Protocol, TlsConnector};
use redigo::{Dialer, Error};

use crate::support::certs::{cert, folder};
use crate::support::fake_server::FakeServer;
use crate::support::tls_server::{dialer, strict_server};

/// Returns the reason for which the options are refused before a connect.
#[track_caller]
fn refused(dialer: &Dialer) -> String {
    let dialer = dialer.clone().connector(|_, _| panic!("dialed"));
    match dialer.dial().unwrap_err() {
        Error::InvalidConfig(why) => why.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn contradicting_options_fail_before_dialing() {
    let connector = || TlsConnector::new().unwrap();
    let tls = || Dialer::url("rediss://h").unwrap();
    let plain = || Dialer::url("redis://h").unwrap();
    let without =
        |name: &str| format!("{name} without TLS: add use_tls(true), or use a rediss:// URL");
    let beside =
        |name: &str| format!("{name} with tls_connector: the connector already decides it");
    type Set = fn(Dialer) -> Dialer;
    let connector_options: [(&str, Set); 5] = [
        ("tls_skip_verify", |dialer| dialer.tls_skip_verify(true)),
        ("tls_ca_file", |dialer| dialer.tls_ca_file("ca.pem")),
        ("tls_client_identity", |dialer| dialer.tls_client_identity("c.pem", "c.key")),
        ("tls_client_identity_pkcs12", |dialer| dialer.tls_client_identity_pkcs12("c.p12", "x")),
        ("tls_min_version", |dialer| dialer.tls_min_version(Protocol::Tlsv12)),
    ];
    for (name, set) in connector_options {
        assert_eq!(refused(&set(plain())), without(name));
        assert_eq!(refused(&set(tls()).use_tls(false)), without(name));
        assert_eq!(refused(&set(tls().tls_connector(connector()))), beside(name));
        assert_eq!(refused(&set(tls()).tls_connector(connector())), beside(name));
    }
    assert_eq!(refused(&plain().tls_connector(connector())), without("tls_connector"));
    assert_eq!(refused(&plain().tls_server_name("x")), without("tls_server_name"));
    assert_eq!(
        refused(&tls().tls_ca_file("ca.pem").tls_skip_verify(true)),
        "tls_ca_file with tls_skip_verify, which verifies nothing"
    );
    assert_eq!(
        refused(&tls().tls_client_identity("a", "b").tls_client_identity_pkcs12("c", "d")),
        "tls_client_identity and tls_client_identity_pkcs12: set only one of them"
    );
    let unix = Dialer::unix("/run/redis.sock").use_tls(true);
    assert_eq!(refused(&unix), "TLS over a Unix socket needs a tls_server_name");
}

#[test]
fn a_disabled_option_contradicts_nothing() {
    let server = FakeServer::closing_after("");
    let dialer = server.dialer().tls_skip_verify(true).tls_skip_verify(false);
    dialer.tls_server_name("").dial().unwrap();
    let dialer = server.dialer().use_tls(true).tls_skip_verify(true).tls_skip_verify(false);
    let error = dialer.tls_ca_file(cert("ca.pem")).dial().unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
}

/// The error names the option and the file, and the remedy if there is one.
#[test]
fn an_invalid_file_is_named_with_its_option() {
    let file = |name: &str, content: &[u8]| {
        let path = folder().path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let none = PathBuf::from("/nonexistent/file.pem");
    let empty = file("empty", b"");
    let prose = file("prose", b"This is not a certificate.\n");
    let cut = file("cut", &fs::read(cert("ca.pem")).unwrap()[..200]);
    let broken_key =
        file("broken.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let old_key =
        file("old.key", b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n");
    let (pem, key) = (cert("client.pem"), cert("client.key"));
    let tls = || Dialer::url("rediss://h").unwrap();
    let pkcs8 = "openssl pkcs8 -topk8 -nocrypt";
    let cases: [(Dialer, &PathBuf, &str, &str); 14] = [
        (tls().tls_ca_file(&none), &none, "tls_ca_file", "No such file"),
        (tls().tls_ca_file(&empty), &empty, "tls_ca_file", "the file has no certificate"),
        (tls().tls_ca_file(&prose), &prose, "tls_ca_file", "the file has no certificate"),
        (tls().tls_ca_file(&cut), &cut, "tls_ca_file", ""),
        (tls().tls_client_identity(&none, &key), &none, "tls_client_identity", "No such file"),
        (tls().tls_client_identity(&pem, &none), &none, "tls_client_identity", "No such file"),
        (tls().tls_client_identity(&empty, &key), &empty, "tls_client_identity", ""),
        (tls().tls_client_identity(&pem, &empty), &empty, "tls_client_identity", pkcs8),
        (tls().tls_client_identity(&pem, &old_key), &old_key, "tls_client_identity", pkcs8),
        (
            tls().tls_client_identity(&pem, cert("client.encrypted.key")),
            &cert("client.encrypted.key"),
            "tls_client_identity",
            pkcs8,
        ),
        (tls().tls_client_identity(&pem, &broken_key), &broken_key, "tls_client_identity", ""),
        (
            tls().tls_client_identity_pkcs12(&none, "sesame"),
            &none,
            "tls_client_identity_pkcs12",
            "No such file",
        ),
        (
            tls().tls_client_identity_pkcs12(&prose, "sesame"),
            &prose,
            "tls_client_identity_pkcs12",
            "",
        ),
        (
            tls().tls_client_identity_pkcs12(cert("client.p12"), "wrong"),
            &cert("client.p12"),
            "tls_client_identity_pkcs12",
            "mac verify failure",
        ),
    ];
    for (dialer, path, option, why) in cases {
        let text = refused(&dialer);
        assert!(text.starts_with(&format!("{option} ")), "{text}");
        assert!(text.contains(path.to_str().unwrap()) && text.contains(why), "{text}");
        assert!(!text.ends_with(": "), "{text}");
    }
    // Each file is valid, but the key does not belong to the certificate.
    let others = tls().tls_client_identity(cert("client.pem"), cert("redis.key"));
    let (certificate, key) = (cert("client.pem"), cert("redis.key"));
    let files = format!("{} and {}", certificate.display(), key.display());
    let why = "the key does not belong to the certificate";
    assert_eq!(refused(&others), format!("tls_client_identity {files}: {why}"));
}

/// A missing file can exist at the next dial.
#[test]
fn the_next_dial_reads_missing_files_again() {
    let late = folder().path().join("late.pem");
    let dialer =
        dialer(strict_server(Protocol::Tlsv13)).tls_client_identity(&late, cert("client.key"));
    assert!(matches!(dialer.dial(), Err(Error::InvalidConfig(_))));
    fs::copy(cert("client.pem"), &late).unwrap();
    dialer.dial().unwrap().call("PING", ()).unwrap();
}
