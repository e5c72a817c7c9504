//! Logs: `--debug`, `--debug-log` for the developer, `--log` for the program that called.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The debug log of this process.
struct DebugLog {
    pattern: Option<PathBuf>,
    file: Mutex<Option<File>>,
}

static DEBUG_LOG: OnceLock<DebugLog> = OnceLock::new();

/// Starts logging for the developer. `pattern` is where to, standard error if none; `verbose` asks for debug messages
/// too.
///
/// # Errors
/// When the file cannot be opened.
pub fn start(pattern: Option<PathBuf>, verbose: bool, command: &str) -> Result<()> {
    let file = pattern.as_deref().map(|pattern| open(pattern, command)).transpose()?;
    let log = DEBUG_LOG.get_or_init(|| DebugLog { pattern, file: Mutex::new(file) });
    let level = if verbose { tracing::Level::DEBUG } else { tracing::Level::INFO };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(|| Writer(lock(log)))
        .finish();
    // A second call finds the first one's subscriber in place, which is as good.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Goes on in a file of `command`'s own; for the process that a command clones.
pub fn reopen(command: &str) {
    let Some((log, pattern)) = DEBUG_LOG.get().and_then(|log| Some((log, log.pattern.as_deref()?))) else {
        return;
    };
    // Where that fails, both write to one.
    if let Ok(file) = open(pattern, command) {
        *lock(log) = Some(file);
    }
}

/// The descriptor of the debug log, for whoever closes all others.
pub fn descriptor() -> Option<RawFd> {
    lock(DEBUG_LOG.get()?).as_ref().map(AsRawFd::as_raw_fd)
}

fn lock(log: &DebugLog) -> MutexGuard<'_, Option<File>> {
    log.file.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer(MutexGuard<'static, Option<File>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.as_mut() {
            Some(file) => file.write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(pattern: &Path, command: &str) -> Result<File> {
    let path = expand(pattern, &timestamp(SystemTime::now()), command);
    if let Some(directory) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("--debug-log: {}", directory.display()))?;
    }
    File::options()
        .append(true)
        .create(true)
        .open(&path)
        .with_context(|| format!("--debug-log: {}", path.display()))
}

/// gVisor: runsc/specutils, `DebugLogFile`: a name that ends in a slash is a directory; `%TIMESTAMP%` and `%COMMAND%` are
/// replaced.
fn expand(pattern: &Path, timestamp: &str, command: &str) -> PathBuf {
    let mut name = pattern.as_os_str().as_bytes().to_vec();
    if name.ends_with(b"/") {
        name.extend_from_slice(b"runsc-rs.log.%TIMESTAMP%.%COMMAND%.txt");
    }
    let name = replace(&name, b"%TIMESTAMP%", timestamp.as_bytes());
    let name = replace(&name, b"%COMMAND%", command.as_bytes());
    PathBuf::from(OsString::from_vec(name))
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// `YYYYMMDD-HHMMSS.micros`, in UTC.
fn timestamp(now: SystemTime) -> String {
    let (year, month, day, seconds, micros) = calendar(now);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}.{micros:06}")
}

/// RFC 3339, in UTC.
fn rfc3339(now: SystemTime) -> String {
    let (year, month, day, seconds, micros) = calendar(now);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month, day, second of the day and microsecond of a time in UTC.
fn calendar(now: SystemTime) -> (u64, u64, u64, u64, u32) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1, seconds, since.subsec_micros())
}

/// How `--log` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line of text.
    Text,
    /// One JSON object a line, with `level`, `msg` and `time`, as containerd and podman read it.
    Json,
}

/// Appends an error to the log of the program that called.
///
/// # Errors
/// When the file cannot be written.
pub fn record_error(path: &Path, format: LogFormat, message: &str) -> io::Result<()> {
    let time = rfc3339(SystemTime::now());
    let line = match format {
        LogFormat::Text => format!("time={time:?} level=error msg={message:?}\n"),
        LogFormat::Json => {
            format!("{}\n", serde_json::json!({"level": "error", "msg": message, "time": time}))
        }
    };
    File::options().append(true).create(true).open(path)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn patterns_are_expanded() {
        let path = |pattern: &str| expand(Path::new(pattern), "T", "do");
        assert_eq!(path("/tmp/logs/"), Path::new("/tmp/logs/runsc-rs.log.T.do.txt"));
        assert_eq!(path("/tmp/%COMMAND%.%TIMESTAMP%"), Path::new("/tmp/do.T"));
        assert_eq!(path("/tmp/100%"), Path::new("/tmp/100%"));
    }

    #[test]
    fn times_are_those_of_date() {
        let at = |seconds| UNIX_EPOCH + Duration::new(seconds, 42_000);
        assert_eq!(rfc3339(at(951_782_400)), "2000-02-29T00:00:00.000042Z");
        assert_eq!(rfc3339(at(1_798_761_599)), "2026-12-31T23:59:59.000042Z");
        assert_eq!(timestamp(at(0)), "19700101-000000.000042");
    }
}
