//! The passphrase and the key of a client identity.

use std::fs;

use redigo::native_tls::Protocol;
use redigo::{Dialer, Pool};

use crate::capture::{listen, log_so_far};
use crate::support::certs::cert;
use crate::support::errors::shown;
use crate::support::tls_server::strict_server;

#[test]
fn no_secret_is_shown_and_the_warning_comes_once() {
    let _alone = listen();
    let server = strict_server(Protocol::Tlsv13);
    let key = fs::read_to_string(cert("client.key")).unwrap();
    let secret_of_the_key = key.lines().nth(1).unwrap();

    let base = Dialer::url(server.url()).unwrap();
    let good = base.clone().tls_client_identity_pkcs12(cert("client.p12"), "sesame");
    let bad = base.clone().tls_client_identity_pkcs12(cert("client.p12"), "open-barley");
    let pem = base.clone().tls_client_identity(cert("client.pem"), cert("client.key"));
    let swapped = base.clone().tls_client_identity(cert("client.key"), cert("client.pem"));
    let mut texts = String::new();
    for dialer in [good, bad, pem, swapped] {
        for dialer in [dialer.clone().tls_skip_verify(true), dialer] {
            texts += &format!("{dialer:?} {dialer:#?}");
            texts += &shown(&dialer.dial());
            texts += &shown(&Pool::builder(dialer).build().and_then(|pool| pool.acquire()));
        }
    }
    for secret in ["sesame", "open-barley", secret_of_the_key] {
        assert!(!texts.contains(secret), "{secret}: {texts}");
    }

    let before = log_so_far();
    let careless = base.tls_skip_verify(true);
    let careless = careless.tls_client_identity(cert("client.pem"), cert("client.key"));
    for _ in 0..3 {
        careless.clone().dial().unwrap();
    }
    let lines = log_so_far();
    let warnings: Vec<_> = lines.lines().filter(|line| line.starts_with("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("WARN redigo::conn tls_skip_verify is on: "), "{warnings:?}");
    for secret in ["sesame", "open-barley", secret_of_the_key] {
        assert!(!before.contains(secret) && !lines.contains(secret), "{secret}");
    }
}
