//! Programs that live on files: find, tar, git, sqlite.

use super::{Stage, output, sh, text};
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Looks at each file's times, so that the names alone are not enough.
pub(super) fn find(stage: &Stage) -> Result<f64> {
    let script = "find \"$1\" -xdev -type f -newer /bin/sh >/dev/null";
    stage.timed_command(&mut sh(script, &[&stage.amount]))
}

/// Through a pipe: GNU tar reads no file when it finds its archive to be `/dev/null`.
pub(super) fn tar(stage: &Stage) -> Result<f64> {
    stage.timed_command(&mut sh("tar -cf - -C \"$1\" . | cat >/dev/null", &[&stage.amount]))
}

/// A repository of so many files, 50 in a directory and ten directories in one.
pub(super) fn make_repository(directory: &Path, files: &str) -> Result<()> {
    for file in 0..files.parse::<u32>()? {
        let group = file / 50;
        let folder = directory.join(format!("part{}", group / 10)).join(format!("group{group}"));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("file{file}.txt")), format!("{file}\n"))?;
    }
    let commit = "git init -q && git add . && \
        git -c user.name=bench -c user.email=bench@localhost -c commit.gpgsign=false commit -q -m all";
    output(sh(commit, &[]).current_dir(directory))?;
    Ok(())
}

pub(super) fn git_status(stage: &Stage) -> Result<f64> {
    let mut command = Command::new("git");
    // The tree belongs to whoever prepared it, and a sandbox may see that user as another.
    command.args(["-c", "safe.directory=*", "status", "--porcelain"]).current_dir(&stage.prepared);
    stage.timed_command(&mut command)
}

/// So many rows in one transaction.
pub(super) fn make_inserts(directory: &Path, rows: &str) -> Result<()> {
    let script =
        format!("CREATE TABLE t(id INTEGER PRIMARY KEY, word TEXT);\nBEGIN;\n{}COMMIT;\n", inserts(rows)?);
    Ok(fs::write(directory.join("script.sql"), script)?)
}

/// So many transactions of one row.
pub(super) fn make_transactions(directory: &Path, rows: &str) -> Result<()> {
    let script = format!("CREATE TABLE t(id INTEGER PRIMARY KEY, word TEXT);\n{}", inserts(rows)?);
    Ok(fs::write(directory.join("script.sql"), script)?)
}

fn inserts(rows: &str) -> Result<String> {
    let rows = 0..rows.parse::<u32>()?;
    Ok(rows.map(|id| format!("INSERT INTO t VALUES({id}, 'word {}');\n", id % 1009)).collect())
}

/// Runs what was prepared against a new database in `/tmp`: natively that may be a disk, in sandboxes it is memory.
pub(super) fn sqlite(stage: &Stage) -> Result<f64> {
    let mut command = Command::new("sqlite3");
    command.arg(stage.file("db")).arg(format!(".read {}", text(&stage.prepared.join("script.sql"))?));
    command.stdout(Stdio::null());
    stage.timed_command(&mut command)
}
