//! Where the lines of `--strace` go.

use crate::sandbox::strace::StraceLog;
use sentry_kernel::SyscallTracer;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use syscalls::strace::{Strace, TraceSink};

struct Files {
    log: StraceLog,
    open: Mutex<HashMap<u32, File>>,
}

impl TraceSink for Files {
    fn line(&self, tgid: u32, line: &str) {
        // One file for all needs no table of them.
        let key = if matches!(self.log, StraceLog::Stderr(_)) { 0 } else { tgid };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match open.entry(key) {
            std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => match self.log.open(tgid) {
                Ok(file) => place.insert(file),
                Err(e) => {
                    tracing::warn!("strace of {tgid}: {e:#}");
                    return;
                }
            },
        };
        // A trace that cannot be written is no reason to stop the guest.
        let _ = file.write_all(line.as_bytes());
    }
}

/// A tracer that writes to `log`.
pub(super) fn new(log: StraceLog) -> Arc<dyn SyscallTracer> {
    Arc::new(Strace::new(Box::new(Files { log, open: Mutex::default() })))
}
