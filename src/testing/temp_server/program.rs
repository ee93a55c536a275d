//! The `redis-server` program.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Result;

/// The oldest version that the crate supports.
const OLDEST: (u32, u32, u32) = (6, 2, 0);

#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) version: (u32, u32, u32),
}

impl Program {
    /// Finds the program: the given one, or `$REDIS_SERVER_BIN`, or the first of the usual names.
    pub(super) fn find(chosen: Option<&Path>) -> Result<Program> {
        let from_env = || env::var_os("REDIS_SERVER_BIN").filter(|path| !path.is_empty());
        let candidates = match chosen.map(Path::to_owned).or_else(|| from_env().map(PathBuf::from))
        {
            Some(path) => vec![path],
            None => vec![PathBuf::from("redis-server"), PathBuf::from("valkey-server")],
        };
        let mut reasons = Vec::new();
        for path in candidates {
            match Program::probe(path) {
                Ok(program) => return Ok(program),
                Err(reason) => reasons.push(reason),
            }
        }
        let message = format!(
            "no Redis or Valkey server {}.{} or newer: {}; install one, or set REDIS_SERVER_BIN to \
             its path",
            OLDEST.0,
            OLDEST.1,
            reasons.join(", "),
        );
        Err(io::Error::new(io::ErrorKind::NotFound, message).into())
    }

    fn probe(path: PathBuf) -> std::result::Result<Program, String> {
        let name = path.display();
        let output = Command::new(&path)
            .arg("--version")
            .output()
            .map_err(|error| format!("{name} does not start ({error})"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        match parse_version(&text) {
            Some(version) if version >= OLDEST => Ok(Program { path, version }),
            Some((major, minor, patch)) => Err(format!("{name} is {major}.{minor}.{patch}")),
            None => Err(format!("{name} --version does not print a version")),
        }
    }
}

/// Parses 7.0.15 from "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64".
fn parse_version(line: &str) -> Option<(u32, u32, u32)> {
    let text = line.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_parsed() {
        let line = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(parse_version(line), Some((7, 0, 15)));
        assert_eq!(parse_version("Valkey server v=9.1 sha=0"), Some((9, 1, 0)));
        assert_eq!(parse_version("no version"), None);
    }

    #[test]
    fn missing_program_is_an_error_that_names_it() {
        let error = Program::find(Some(Path::new("/nowhere/redis-server"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/redis-server does not start"), "{error}");
        assert!(error.to_string().contains("REDIS_SERVER_BIN"), "{error}");
    }
}
