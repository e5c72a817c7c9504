//! The state directory: `ROOT/ID` for every container that `run` started, gone when it has ended.
//!
//! The directory is locked for as long as its container's command lives. One that can be locked belonged to a command
//! that was killed, and may be taken over.

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde_json::json;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Longest id, so that a file name can hold it.
const MAX_ID: usize = 255;

/// The directory of one container; removed when dropped.
#[derive(Debug)]
pub struct StateDir {
    id: String,
    path: PathBuf,
    lock: Option<Flock<File>>,
}

/// Checks an id. runc: libcontainer/factory_linux.go, `validateID`.
///
/// # Errors
/// Says what is wrong with it.
pub fn validate_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if id.is_empty() || id.len() > MAX_ID || id == "." || id == ".." || !id.chars().all(allowed) {
        bail!("container id {id:?}: expected 1 to {MAX_ID} of the characters A-Z a-z 0-9 _ + - .");
    }
    Ok(())
}

impl StateDir {
    /// Makes the directory of container `id` below `root`.
    ///
    /// # Errors
    /// For a bad id, one that is in use, or a root directory that cannot be written.
    pub fn create(root: &Path, id: &str) -> Result<StateDir> {
        validate_id(id)?;
        let mut builder = DirBuilder::new();
        builder.mode(0o711).recursive(true);
        builder.create(root).with_context(|| format!("--root: {}", root.display()))?;
        let path = root.join(id);
        loop {
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e).with_context(|| path.display().to_string()),
            }
            let Some(lock) = lock(&path)? else { bail!("container with id {id:?} exists already") };
            // Its previous owner may have removed it between the two steps.
            if is_still(&lock, &path) {
                return Ok(StateDir { id: id.to_owned(), path, lock: Some(lock) });
            }
        }
    }

    /// Writes `state.json`. runtime-spec: runtime.md, "State".
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, status: &str, pid: i32, bundle: &Path) -> Result<()> {
        let bundle = std::path::absolute(bundle)?;
        let state = json!({
            "ociVersion": oci_spec::runtime::VERSION,
            "id": self.id,
            "status": status,
            "pid": pid,
            "bundle": bundle.to_string_lossy(),
        });
        write_whole(&self.path.join("state.json"), state.to_string().as_bytes())
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // What cannot be removed is taken over by the next container of that id.
        let _ = fs::remove_dir_all(&self.path);
        self.lock = None;
    }
}

fn lock(path: &Path) -> Result<Option<Flock<File>>> {
    let directory = match File::open(path) {
        Ok(directory) => directory,
        // Removed in the meantime; somebody else was using it.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, e)) => Err(e).with_context(|| path.display().to_string()),
    }
}

fn is_still(lock: &File, path: &Path) -> bool {
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (lock.metadata(), fs::metadata(path)) {
        (Ok(locked), Ok(found)) => inode(locked) == inode(found),
        _ => false,
    }
}

/// Writes a file so that a reader finds all of it or nothing.
///
/// # Errors
/// When the file cannot be written.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let temporary = path.with_file_name(name);
    fs::write(&temporary, contents)
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("runsc-rs-state-{name}-{}", std::process::id()))
    }

    #[test]
    fn ids_are_file_names_and_nothing_else() {
        for id in ["a", "web-1.2_x+y", &"x".repeat(255)] {
            validate_id(id).unwrap();
        }
        for id in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(256)] {
            assert!(validate_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn an_id_is_used_once_at_a_time() {
        let root = root("once");
        let first = StateDir::create(&root, "c").unwrap();
        first.write("running", 1, Path::new("/bundle")).unwrap();
        assert_eq!(
            StateDir::create(&root, "c").unwrap_err().to_string(),
            "container with id \"c\" exists already"
        );
        drop(first);
        assert!(!root.join("c").exists());
        drop(StateDir::create(&root, "c").unwrap());
        fs::remove_dir(&root).unwrap();
    }

    #[test]
    fn what_a_killed_command_left_is_taken_over() {
        let root = root("stale");
        fs::create_dir_all(root.join("c")).unwrap();
        fs::write(root.join("c/state.json"), "{}").unwrap();
        drop(StateDir::create(&root, "c").unwrap());
        fs::remove_dir(&root).unwrap();
    }
}
