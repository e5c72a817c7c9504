//! The kernel's own tmpfs, on which files without a name live. Linux: mm/shmem.c, `shm_mnt`.

use crate::Kernel;
use fs_tmpfs::Shmem;
use sentry_uapi::Errno;
use std::sync::Arc;

impl Kernel {
    /// The one of this kernel; made when it is first asked for.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn shmem(&self) -> Result<Arc<Shmem>, Errno> {
        if let Some(shmem) = self.shmem.get() {
            return Ok(shmem.clone());
        }
        let new = Arc::new(Shmem::new(&self.vfs, self.memory.clone(), &self.user_ns)?);
        Ok(self.shmem.get_or_init(|| new).clone())
    }
}
