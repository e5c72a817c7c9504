//! Files in memory without a name in any tree: memfd_create(2), shared anonymous mappings, System V shared memory.
//! Linux: mm/memfd.c; mm/shmem.c, `shmem_file_setup`, `shmem_zero_setup`.

use crate::file::RegularFile;
use crate::inode::get_inode;
use crate::options::TmpfsOptions;
use crate::shmem::{FaultAround, ShmemFile};
use crate::super_block::{TmpfsParams, new_super};
use fs_vfs::{Dentry, File, Mount, NewNode, NodeKind, Path, SuperFlags, Vfs};
use sentry_auth::{Cred, UserNamespace};
use sentry_mm::MemoryFile;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::memfd::{
    F_SEAL_EXEC, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE,
};
use sentry_uapi::stat::S_IXUGO;
use std::sync::Arc;

/// Longest name of a memfd. Linux: `MFD_NAME_MAX_LEN`.
pub const MFD_NAME_MAX: usize = 249;

bitflags::bitflags! {
    /// What may not be done to a file any more. Linux: include/uapi/linux/fcntl.h, `F_SEAL_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Seals: u32 {
        /// Adding seals.
        const SEAL = F_SEAL_SEAL;
        /// Shrinking.
        const SHRINK = F_SEAL_SHRINK;
        /// Growing.
        const GROW = F_SEAL_GROW;
        /// Writing, by whatever way.
        const WRITE = F_SEAL_WRITE;
        /// Writing, but through mappings that exist.
        const FUTURE_WRITE = F_SEAL_FUTURE_WRITE;
        /// Changing the execute bits.
        const EXEC = F_SEAL_EXEC;
    }
}

/// The kernel's own tmpfs, on which files without a name live. Linux: `shm_mnt`.
pub struct Shmem {
    mount: Arc<Mount>,
}

impl Shmem {
    /// The one of a kernel. It has no limits of its own.
    pub fn new(vfs: &Vfs, memory: Arc<MemoryFile>, user_ns: &Arc<UserNamespace>) -> Result<Shmem, Errno> {
        let root = new_super(TmpfsParams {
            fs_type: "tmpfs",
            dev: vfs.alloc_dev(),
            user_ns: user_ns.clone(),
            clocks: vfs.clocks.clone(),
            memory,
            flags: SuperFlags::NOUSER,
            source: b"tmpfs".to_vec(),
            options: TmpfsOptions::with_memory(0),
        })?;
        Ok(Shmem { mount: vfs.kern_mount(root) })
    }

    fn file(
        &self,
        name: &str,
        perm: u32,
        size: u64,
        around: FaultAround,
        cred: Arc<Cred>,
    ) -> Result<(Arc<File>, Arc<ShmemFile>), Errno> {
        let node = NewNode::new(NodeKind::Regular, perm, cred.fsuid, cred.fsgid);
        let inode = get_inode(&self.mount.sb, node, 0, around)?;
        let data = crate::inode::tmpfs_inode(&inode)?.regular()?.clone();
        data.truncate(size)?;
        let name = format!("/{name} (deleted)");
        let path = Path { mnt: self.mount.clone(), dentry: Dentry::new_root(inode.clone(), name.as_bytes()) };
        let flags = OpenFlags::RDWR | OpenFlags::LARGEFILE;
        let ops = Box::new(RegularFile::new(data.clone()));
        Ok((File::new(path, inode, ops, flags, cred), data))
    }

    /// A file for memory that is shared by mapping it: `dev/zero` for shared anonymous mappings, `SYSV%08x` for System V
    /// segments. Linux: `shmem_kernel_file_setup`.
    pub fn new_file(&self, name: &str, size: u64, cred: Arc<Cred>) -> Result<Arc<File>, Errno> {
        Ok(self.file(name, 0o777, size, FaultAround::All, cred)?.0)
    }

    /// A file for memfd_create(2), open for reading and writing. With `sealable` seals may be added; with `noexec` the
    /// execute bits are off, sealed to stay off, and seals may be added. `name` has been checked to be at most
    /// [`MFD_NAME_MAX`] bytes.
    pub fn new_memfd(
        &self,
        name: &str,
        sealable: bool,
        noexec: bool,
        cred: Arc<Cred>,
    ) -> Result<Arc<File>, Errno> {
        let perm = if noexec { 0o666 } else { 0o777 };
        let (file, data) = self.file(&format!("memfd:{name}"), perm, 0, FaultAround::Cluster, cred)?;
        if noexec {
            data.set_seals(Seals::EXEC);
        } else if sealable {
            data.set_seals(Seals::empty());
        }
        Ok(file)
    }
}

fn data_of(file: &File) -> Result<&Arc<ShmemFile>, Errno> {
    file.downcast::<RegularFile>().map(RegularFile::data).ok_or(EINVAL)
}

/// fcntl(F_GET_SEALS). Linux: `memfd_get_seals`.
///
/// # Errors
/// `EINVAL` for a file that is not in memory.
pub fn get_seals(file: &File) -> Result<Seals, Errno> {
    Ok(data_of(file)?.seals())
}

/// fcntl(F_ADD_SEALS). Linux: `memfd_add_seals`.
///
/// # Errors
/// In Linux's order: `EPERM` for a file that is not open for writing; `EINVAL` for an unknown seal or a file that is not
/// in memory; `EPERM` when sealed against it; `EBUSY` for the write seal while a mapping may write.
pub fn add_seals(file: &File, seals: u32) -> Result<(), Errno> {
    if !file.writable() {
        return Err(EPERM);
    }
    let mut seals = Seals::from_bits(seals).ok_or(EINVAL)?;
    let data = data_of(file)?;
    if seals.contains(Seals::EXEC) && file.inode().getattr()?.perm & S_IXUGO != 0 {
        // A file that may be executed must not change any more.
        seals |= Seals::SHRINK | Seals::GROW | Seals::WRITE | Seals::FUTURE_WRITE;
    }
    data.add_seals(seals)
}
