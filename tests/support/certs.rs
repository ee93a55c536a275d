//! Certificates for tests, benches and examples. Each run makes new ones with the commands of
//! docs/tls.md; they are valid for one day.

// Included with #[path] by many programs; none uses all of it.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use redigo::testing::TempDir;

/// Commands for the tests only, run after those of the guide.
const MORE: &str = r#"
issue other "subjectAltName=DNS:other.example"
issue ghost "subjectAltName=DNS:only.by.name"
days=-1
issue expired "subjectAltName=DNS:localhost,IP:127.0.0.1"
issue expired_client "extendedKeyUsage=clientAuth"
days=1
openssl pkcs12 -export -in client.pem -inkey client.key -passout pass:sesame -out client.p12
openssl pkcs8 -topk8 -in client.key -passout pass:sesame -out client.encrypted.key

# Another authority, which no client trusts.
mkdir strangers
cd strangers
key ca
openssl req -x509 -new -key ca.key -subj "/CN=Strangers" -days 1 -out ca.pem
issue redis "subjectAltName=DNS:localhost,IP:127.0.0.1"
issue client "extendedKeyUsage=clientAuth"
"#;

/// Returns the path of a file: `ca.pem`, `redis.key`, `strangers/client.pem` and so on.
#[track_caller]
pub(crate) fn cert(name: &str) -> PathBuf {
    let path = folder().path().join(name);
    assert!(path.exists(), "there is no file {name}");
    path
}

/// Returns the folder of the certificates, where tests can put files too.
pub(crate) fn folder() -> &'static TempDir {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = TempDir::new().expect("a folder for the certificates");
        let script = format!("set -e\n{}{MORE}", commands().replace("days=365", "days=1"));
        let made = Command::new("sh").arg("-c").arg(script).current_dir(folder.path()).output();
        let made = made.expect("a shell");
        let errors = String::from_utf8_lossy(&made.stderr);
        let how = "is the openssl tool there? \"make test\" or scripts/setup.sh gets it";
        assert!(made.status.success(), "no certificates ({how}):\n{errors}");
        folder
    })
}

/// Returns the first block of commands in docs/tls.md.
fn commands() -> &'static str {
    let guide = include_str!("../../docs/tls.md");
    let (_, block) = guide.split_once("```sh\n").expect("commands in docs/tls.md");
    block.split_once("```").expect("their end").0
}
