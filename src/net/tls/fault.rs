//! Classifies the error messages of the TLS library.
//!
//! native-tls reports reasons only as messages of the underlying library. This module knows those
//! of the OpenSSL versions in use. Other messages become [`TlsErrorKind::Other`], unabridged.

use std::io;

use crate::error::{TlsError, TlsErrorKind};

/// The peer of a session, as errors name it.
pub(super) struct Peer {
    /// The name in its certificate.
    pub(super) name: String,
    pub(super) address: String,
}

impl Peer {
    pub(super) fn error(&self, kind: TlsErrorKind) -> TlsError {
        let mut error = TlsError::new(kind).with_name(&self.name);
        error.set_address(&self.address);
        error
    }
}

/// Classifies a failed handshake in which the client sent `flights` messages.
pub(super) fn of_handshake(error: native_tls::Error, peer: &Peer, flights: usize) -> TlsError {
    let kind = match classify(&error.to_string()) {
        // TLS 1.2 has no alert for a missing certificate, only a general one. It refers to the
        // message before it, and the client's second message is its certificate.
        Reason::Refused if flights > 1 => TlsErrorKind::ClientCertificateRequired,
        Reason::NotTls => TlsErrorKind::NotTls,
        Reason::Refused | Reason::Unknown => TlsErrorKind::Other,
        Reason::Kind(kind) => kind,
    };
    peer.error(kind).caused_by(error)
}

/// Classifies the error that ended a session, as an error of its stream.
pub(super) fn of_session(error: io::Error, peer: &Peer) -> io::Error {
    let kind = match classify(&error.to_string()) {
        Reason::Kind(kind) => kind,
        Reason::NotTls | Reason::Refused | Reason::Unknown => TlsErrorKind::Other,
    };
    io::Error::other(peer.error(kind).caused_by(error))
}

/// Returns true for the errors of [`of_session`].
pub(super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TlsError>())
}

/// Returns an error if the first bytes of the peer are not a TLS handshake or alert.
pub(super) fn of_greeting(answer: &[u8], peer: &Peer) -> Option<TlsError> {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    /// Enough to identify the peer's protocol.
    const SHOWN: usize = 60;
    if matches!(answer.first(), None | Some(&(ALERT | HANDSHAKE))) {
        return None;
    }
    let answer = answer[..answer.len().min(SHOWN)].escape_ascii();
    let cause = io::Error::new(io::ErrorKind::InvalidData, format!("it sent \"{answer}\""));
    Some(peer.error(TlsErrorKind::NotTls).caused_by(cause))
}

#[derive(Debug, PartialEq)]
enum Reason {
    Kind(TlsErrorKind),
    /// The alert "handshake failure", which has many possible reasons.
    Refused,
    /// The bytes are not a TLS record.
    NotTls,
    Unknown,
}

fn classify(message: &str) -> Reason {
    let message = message.to_ascii_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| message.contains(needle));
    if let Some(number) = alert(&message) {
        // The numbers of RFC 8446, section 6.2.
        return match number {
            40 => Reason::Refused,
            42..=46 | 48 | 49 => Reason::Kind(TlsErrorKind::ClientCertificateRejected),
            70 => Reason::Kind(TlsErrorKind::Version),
            116 => Reason::Kind(TlsErrorKind::ClientCertificateRequired),
            _ => Reason::Unknown,
        };
    }
    if has(&["certificate verify failed"]) {
        return Reason::Kind(if has(&["has expired"]) {
            TlsErrorKind::Expired
        } else if has(&["not yet valid"]) {
            TlsErrorKind::NotYetValid
        } else if has(&["hostname mismatch", "ip address mismatch"]) {
            TlsErrorKind::WrongHost
        } else if has(&["issuer certificate", "self-signed", "self signed", "first certificate"]) {
            TlsErrorKind::UnknownAuthority
        } else {
            TlsErrorKind::InvalidCertificate
        });
    }
    if has(&["unsupported protocol", "no protocols available"]) {
        return Reason::Kind(TlsErrorKind::Version);
    }
    if has(&["wrong version number"]) { Reason::NotTls } else { Reason::Unknown }
}

/// Returns the number of the peer's alert, if it sent one.
fn alert(message: &str) -> Option<u8> {
    let (_, rest) = message.split_once("ssl alert number ")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn messages_of_openssl_are_classified() {
        use TlsErrorKind::*;
        let verify = |why: &str| {
            format!(
                "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate \
                 verify failed:../ssl/statem/statem_clnt.c:1889: ({why})"
            )
        };
        let alert = |why: &str, number: u8| {
            format!(
                "error:0A00045C:SSL routines:ssl3_read_bytes:{why}:../ssl/record/rec_layer_s3.c:\
                 1605:SSL alert number {number}"
            )
        };
        for (message, kind) in [
            (verify("unable to get local issuer certificate"), UnknownAuthority),
            (verify("unable to get issuer certificate"), UnknownAuthority),
            (verify("self signed certificate"), UnknownAuthority),
            (verify("self-signed certificate in certificate chain"), UnknownAuthority),
            (verify("unable to verify the first certificate"), UnknownAuthority),
            (verify("certificate has expired"), Expired),
            (verify("certificate is not yet valid"), NotYetValid),
            (verify("Hostname mismatch"), WrongHost),
            (verify("IP address mismatch"), WrongHost),
            (verify("EE certificate key too weak"), InvalidCertificate),
            (alert("tlsv13 alert certificate required", 116), ClientCertificateRequired),
            (alert("tlsv1 alert unknown ca", 48), ClientCertificateRejected),
            (alert("ssl/tls alert bad certificate", 42), ClientCertificateRejected),
            (alert("tlsv1 alert protocol version", 70), Version),
            (
                "error:0A000102:SSL routines:ssl_choose_client_version:unsupported protocol".into(),
                Version,
            ),
        ] {
            assert_eq!(classify(&message), Reason::Kind(kind), "{message}");
        }
        let refused = alert("sslv3 alert handshake failure", 40);
        assert_eq!(classify(&refused), Reason::Refused);
        assert_eq!(classify("error:0A00010B:SSL routines::wrong version number"), Reason::NotTls);
        for unknown in [&alert("tlsv1 alert internal error", 80), "", "ssl alert number x"] {
            assert_eq!(classify(unknown), Reason::Unknown, "{unknown}");
        }
    }

    #[test]
    fn an_unknown_message_is_shown_in_full() {
        let peer = Peer { name: "redis.internal".into(), address: "10.0.0.7:6380".into() };
        let error = of_session(io::Error::other("bad record mac"), &peer);
        assert!(is_of_tls(&error));
        let error = crate::error::Error::from(error);
        assert_eq!(
            error.to_string(),
            "10.0.0.7:6380: TLS with redis.internal: failed: bad record mac"
        );
        assert!(error.source().is_none() && error.is_fatal());
    }

    #[test]
    fn a_plaintext_greeting_is_quoted() {
        let peer = Peer { name: "h".into(), address: "h:1".into() };
        for record in [&[][..], &[21, 3], &[22, 3, 3]] {
            assert!(of_greeting(record, &peer).is_none());
        }
        let error = of_greeting(b"-ERR unknown command\r\n", &peer).unwrap();
        let expected =
            "h:1: TLS: the peer does not speak TLS: it sent \"-ERR unknown command\\r\\n\"";
        assert_eq!(error.to_string(), expected);
        assert!(error.source().is_none());
    }
}
