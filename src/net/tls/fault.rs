//! The words of a TLS library, sorted into what a user can act on.
//!
//! native-tls gives no reasons but in words, and these are the library's own. OpenSSL's are known
//! here, over the versions in use; what is not known is [`TlsErrorKind::Other`], in full.

use std::io;

use crate::error::{TlsError, TlsErrorKind};

/// Why a handshake failed, in which we had spoken this many times.
pub(super) fn of_handshake(error: native_tls::Error, peer: &str, flights: usize) -> TlsError {
    let kind = match classify(&error.to_string()) {
        // Before TLS 1.3 there is no alert for a missing certificate. The general one is about
        // what we had sent: a greeting the first time, a certificate and its proof the second.
        Reason::Refused if flights > 1 => TlsErrorKind::ClientCertificateRequired,
        Reason::NotTls => TlsErrorKind::NotTls,
        Reason::Refused | Reason::Unknown => TlsErrorKind::Other,
        Reason::Kind(kind) => kind,
    };
    TlsError::new(kind).with_peer(peer).caused_by(error)
}

/// Why a session ended, as an error of its stream.
pub(super) fn of_session(error: io::Error, peer: &str) -> io::Error {
    let kind = match classify(&error.to_string()) {
        Reason::Kind(kind) => kind,
        Reason::NotTls | Reason::Refused | Reason::Unknown => TlsErrorKind::Other,
    };
    io::Error::other(TlsError::new(kind).with_peer(peer).caused_by(error))
}

/// True for what [`of_session`] has made.
pub(super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TlsError>())
}

/// An error for a first answer that does not begin a TLS record: a handshake or an alert.
pub(super) fn of_greeting(answer: &[u8], peer: &str) -> Option<TlsError> {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    /// So much of it tells who it is.
    const SHOWN: usize = 60;
    if matches!(answer.first(), None | Some(&(ALERT | HANDSHAKE))) {
        return None;
    }
    let answer = answer[..answer.len().min(SHOWN)].escape_ascii();
    let cause = io::Error::new(io::ErrorKind::InvalidData, format!("it says \"{answer}\""));
    Some(TlsError::new(TlsErrorKind::NotTls).with_peer(peer).caused_by(cause))
}

#[derive(Debug, PartialEq)]
enum Reason {
    Kind(TlsErrorKind),
    /// The peer's alert "handshake failure", which can mean anything.
    Refused,
    /// Bytes that are no TLS record.
    NotTls,
    Unknown,
}

fn classify(words: &str) -> Reason {
    let words = words.to_ascii_lowercase();
    let say = |needles: &[&str]| needles.iter().any(|needle| words.contains(needle));
    if let Some(number) = alert(&words) {
        // The numbers of RFC 8446, section 6.2.
        return match number {
            40 => Reason::Refused,
            42..=46 | 48 | 49 => Reason::Kind(TlsErrorKind::ClientCertificateRejected),
            70 => Reason::Kind(TlsErrorKind::Version),
            116 => Reason::Kind(TlsErrorKind::ClientCertificateRequired),
            _ => Reason::Unknown,
        };
    }
    if say(&["certificate verify failed"]) {
        return Reason::Kind(if say(&["has expired"]) {
            TlsErrorKind::Expired
        } else if say(&["not yet valid"]) {
            TlsErrorKind::NotYetValid
        } else if say(&["hostname mismatch", "ip address mismatch"]) {
            TlsErrorKind::WrongHost
        } else if say(&["issuer certificate", "self-signed", "self signed", "first certificate"]) {
            TlsErrorKind::UnknownAuthority
        } else {
            TlsErrorKind::InvalidCertificate
        });
    }
    if say(&["unsupported protocol", "no protocols available"]) {
        return Reason::Kind(TlsErrorKind::Version);
    }
    if say(&["wrong version number"]) { Reason::NotTls } else { Reason::Unknown }
}

/// The number of the alert that the peer sent, if it sent one.
fn alert(words: &str) -> Option<u8> {
    let (_, rest) = words.split_once("ssl alert number ")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn the_words_of_openssl() {
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
        for (words, kind) in [
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
            assert_eq!(classify(&words), Reason::Kind(kind), "{words}");
        }
        let refused = alert("sslv3 alert handshake failure", 40);
        assert_eq!(classify(&refused), Reason::Refused);
        assert_eq!(classify("error:0A00010B:SSL routines::wrong version number"), Reason::NotTls);
        for unknown in [&alert("tlsv1 alert internal error", 80), "", "ssl alert number x"] {
            assert_eq!(classify(unknown), Reason::Unknown, "{unknown}");
        }
    }

    #[test]
    fn what_is_not_known_is_told_in_full() {
        let error = of_session(io::Error::other("bad record mac"), "redis.internal");
        assert!(is_of_tls(&error));
        let error = crate::error::Error::from(error);
        assert_eq!(error.to_string(), "TLS with redis.internal: failed: bad record mac");
        assert!(error.source().is_none() && error.is_fatal());
    }

    #[test]
    fn a_greeting_in_plain_text() {
        for record in [&[][..], &[21, 3], &[22, 3, 3]] {
            assert!(of_greeting(record, "h").is_none());
        }
        let error = of_greeting(b"-ERR unknown command\r\n", "h").unwrap();
        assert_eq!(error.to_string(), "TLS with h: the peer does not speak TLS");
        let cause = error.source().unwrap().to_string();
        assert_eq!(cause, "it says \"-ERR unknown command\\r\\n\"");
    }
}
