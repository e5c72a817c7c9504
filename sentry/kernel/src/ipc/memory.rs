//! What IPC objects take of the kernel's own memory. Linux charges it to a memory control group (`GFP_KERNEL_ACCOUNT`).

use sentry_uapi::Errno;
use sentry_uapi::errno::ENOMEM;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes all IPC objects of a kernel may take: as much as a namespace's message queues may hold by their limits.
const MAX: u64 = 512 << 20;

/// The memory of all IPC namespaces of a kernel.
#[derive(Clone, Default)]
pub(crate) struct IpcMemory {
    used: Arc<AtomicU64>,
}

/// Some of it, given back when dropped.
pub(crate) struct IpcCharge {
    memory: IpcMemory,
    bytes: u64,
}

impl IpcMemory {
    /// Takes `bytes`.
    ///
    /// # Errors
    /// `ENOMEM` if there are not so many left.
    pub(crate) fn charge(&self, bytes: usize) -> Result<IpcCharge, Errno> {
        let bytes = u64::try_from(bytes).map_err(|_| ENOMEM)?;
        let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= MAX);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| ENOMEM)?;
        Ok(IpcCharge { memory: self.clone(), bytes })
    }
}

impl Drop for IpcCharge {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let memory = IpcMemory::default();
        let most = usize::try_from(MAX).unwrap_or(usize::MAX);
        let all = memory.charge(most);
        assert!(all.is_ok());
        assert!(memory.charge(1).is_err());
        drop(all);
        assert!(memory.charge(most).is_ok());
    }
}
