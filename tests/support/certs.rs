//! Certificates for tests, benches and examples, made anew for each run with the commands of
//! docs/tls.md, and valid for a day.

// Included with #[path] by many programs, none of which uses all of it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::redis_server::Folder;

/// What only tests need, behind the commands of the guide.
const MORE: &str = r#"
issue other "subjectAltName=DNS:other.example"
issue ghost "subjectAltName=DNS:only.by.name"
days=-1
issue expired "subjectAltName=DNS:localhost,IP:127.0.0.1"
issue expired_client "extendedKeyUsage=clientAuth"
days=1
openssl pkcs12 -export -in client.pem -inkey client.key -passout pass:sesame -out client.p12
openssl pkcs8 -topk8 -in client.key -passout pass:sesame -out client.encrypted.key

# Another authority, which nobody trusts.
mkdir strangers
cd strangers
key ca
openssl req -x509 -new -key ca.key -subj "/CN=Strangers" -days 1 -out ca.pem
issue redis "subjectAltName=DNS:localhost,IP:127.0.0.1"
issue client "extendedKeyUsage=clientAuth"
"#;

/// The file of this name: `ca.pem`, `redis.key`, `strangers/client.pem` …
#[track_caller]
pub(crate) fn cert(name: &str) -> PathBuf {
    let path = folder().path.join(name);
    assert!(path.exists(), "no {name} was made");
    path
}

/// A folder for a test's own files.
pub(crate) fn folder() -> &'static Folder {
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Folder::create().expect("a folder for the certificates");
        let script = format!("set -e\n{}{MORE}", commands().replace("days=365", "days=1"));
        let made = Command::new("sh").arg("-c").arg(script).current_dir(&folder.path).output();
        let made = made.expect("a shell");
        let said = String::from_utf8_lossy(&made.stderr);
        let how = "is the openssl tool there? \"make test\" or scripts/setup.sh gets it";
        assert!(made.status.success(), "no certificates ({how}):\n{said}");
        folder
    })
}

/// The first block of commands in docs/tls.md.
fn commands() -> &'static str {
    let guide = include_str!("../../docs/tls.md");
    let (_, block) = guide.split_once("```sh\n").expect("commands in docs/tls.md");
    block.split_once("```").expect("their end").0
}
