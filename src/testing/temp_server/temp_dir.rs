//! A temporary folder that is removed at the end, also when the process is killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::{Child, Command, Stdio};

use super::port::arbitrary;
use crate::error::Result;

/// A private temporary folder, removed when the value is dropped.
///
/// On Unix it is also removed when the process ends without dropping the value: because it is in
/// a `static`, or because the process is killed. Only the current user can read it.
///
/// ```
/// let dir = redigo::testing::TempDir::new()?;
/// std::fs::write(dir.path().join("users.acl"), "user default on nopass ~* +@all")?;
/// # Ok::<(), redigo::Error>(())
/// ```
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    socket: PathBuf,
    #[cfg(unix)]
    watchdog: Child,
}

impl TempDir {
    /// Creates a folder with a unique name.
    ///
    /// ```
    /// assert!(redigo::testing::TempDir::new()?.path().is_dir());
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be created.
    pub fn new() -> Result<TempDir> {
        let base = base();
        loop {
            let path = base.join(format!("redigo-{}-{:08x}", std::process::id(), arbitrary()));
            match create(&path) {
                Ok(()) => return TempDir::guard(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the path of the folder.
    ///
    /// ```
    /// let dir = redigo::testing::TempDir::new()?;
    /// let file = dir.path().join("dump.rdb");
    /// # drop(file);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a server's Unix socket.
    pub(super) fn socket(&self) -> Option<&Path> {
        cfg!(unix).then_some(&*self.socket)
    }

    #[cfg(unix)]
    fn guard(path: PathBuf) -> Result<TempDir> {
        // Each line is the id of the process to kill, or empty. The end of the input means that
        // the value is dropped or this process has ended. Signals from a terminal also reach the
        // watchdog, which must still clean up after them. By then another process can have the
        // id, so the watchdog kills only a process that runs in the folder.
        let script = r#"
            trap '' INT HUP TERM
            while read -r line; do pid=$line; done
            if [ -n "$pid" ]; then
                if [ -d /proc/self/cwd ]; then
                    [ "/proc/$pid/cwd" -ef "$1" ] && kill -KILL "$pid"
                else
                    case $(ps -o command= -p "$pid") in *"$1"* | *redis* | *valkey*)
                        kill -KILL "$pid" ;;
                    esac
                fi
            fi
            rm -rf "$1"
        "#;
        let watchdog = Command::new("sh")
            .args(["-c", script, "watchdog"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let socket = path.join("redis.sock");
        Ok(TempDir { path, socket, watchdog })
    }

    #[cfg(not(unix))]
    fn guard(path: PathBuf) -> Result<TempDir> {
        let socket = path.join("redis.sock");
        Ok(TempDir { path, socket })
    }

    /// Sets the process to kill before the folder is removed. It must run in the folder.
    pub(super) fn watch(&mut self, process: Option<u32>) {
        #[cfg(unix)]
        if let Some(pipe) = &mut self.watchdog.stdin {
            let line = process.map_or(String::new(), |pid| pid.to_string());
            let _ = io::Write::write_all(pipe, format!("{line}\n").as_bytes());
        }
        #[cfg(not(unix))]
        let _ = process;
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // `wait` closes the pipe, which makes the watchdog remove the folder.
        #[cfg(unix)]
        let _ = self.watchdog.wait();
        #[cfg(not(unix))]
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The path of a Unix socket must fit in 104 bytes (macOS), and some systems' temporary folders
/// are long.
fn base() -> PathBuf {
    let base = std::env::temp_dir();
    if cfg!(unix) && base.as_os_str().len() > 60 { PathBuf::from("/tmp") } else { base }
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn sleeper(dir: &Path) -> Child {
        Command::new("sleep").arg("60").current_dir(dir).spawn().unwrap()
    }

    #[test]
    fn watchdog_kills_only_a_process_in_its_folder() {
        let mut dir = TempDir::new().unwrap();
        let (mut inside, mut outside) = (sleeper(dir.path()), sleeper(Path::new("/")));
        dir.watch(Some(inside.id()));
        drop(dir);
        assert!(!inside.wait().unwrap().success(), "it was killed");

        let mut dir = TempDir::new().unwrap();
        dir.watch(Some(outside.id()));
        let (path, before) = (dir.path().to_owned(), Instant::now());
        drop(dir);
        assert!(!path.exists() && before.elapsed() < Duration::from_secs(30));
        assert!(outside.try_wait().unwrap().is_none(), "it still runs");
        outside.kill().unwrap();
        outside.wait().unwrap();
    }
}
