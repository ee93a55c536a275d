//! Certificates for a server with TLS, created with the `openssl` command.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::error::Result;

pub(super) const CA: &str = "ca.pem";

/// Creates an authority, a server certificate `redis.pem` and a client certificate `client.pem`,
/// valid for two days.
pub(super) fn create(dir: &Path) -> Result<()> {
    new_key(dir, "ca")?;
    openssl(dir, "req -x509 -new -key ca.key -subj /CN=redigo-test-authority -days 2 -out ca.pem")?;
    issue(dir, "redis", "subjectAltName=DNS:localhost,IP:127.0.0.1")?;
    issue(dir, "client", "extendedKeyUsage=clientAuth")
}

fn issue(dir: &Path, name: &str, extension: &str) -> Result<()> {
    new_key(dir, name)?;
    fs::write(dir.join(format!("{name}.ext")), extension)?;
    openssl(dir, &format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"))?;
    openssl(
        dir,
        &format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile {name}.ext -out {name}.pem"
        ),
    )
}

fn new_key(dir: &Path, name: &str) -> Result<()> {
    let curve = "ec_paramgen_curve:P-256";
    openssl(dir, &format!("genpkey -algorithm EC -pkeyopt {curve} -out {name}.key"))
}

fn openssl(dir: &Path, arguments: &str) -> Result<()> {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(dir).output();
    let output = output.map_err(|error| {
        let message = format!("creating certificates needs the openssl command: {error}");
        io::Error::new(error.kind(), message)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("openssl {arguments} failed: {text}")).into())
}
