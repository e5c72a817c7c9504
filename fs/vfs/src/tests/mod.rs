//! Tests of the VFS on a small filesystem in memory.

mod fd_table;
mod mounts;
mod namei;
mod notify;
mod ops;
mod races;

use crate::testfs::{TestFs, root_context};
use crate::*;
use sentry_auth::{Cred, GroupInfo, Kgid, Kuid};
use sentry_uapi::Errno;
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A task with short names for the calls the tests make, all from the working directory.
pub(crate) struct Task(pub(crate) TestContext);

impl Task {
    pub(crate) fn new() -> Task {
        let ctx = root_context();
        ctx.fs.set_umask(0);
        assert_eq!(ctx.vfs.filesystems().register(testfs::TestNode::fs_type()), Ok(()));
        Task(ctx)
    }

    /// An unprivileged task of the same kernel.
    pub(crate) fn user(&self, uid: u32) -> Task {
        let (kuid, kgid) = (Kuid::from_global(uid), Kgid::from_global(uid));
        let cred = Cred::user(self.0.cred.user_ns.clone(), kuid, kgid, GroupInfo::default());
        Task(self.0.sibling(uid, cred))
    }

    pub(crate) fn lookup(&self, name: &str, flags: LookupFlags) -> Result<Path, Errno> {
        user_path_at(&self.0, &At::Cwd, name.as_bytes(), flags)
    }

    pub(crate) fn path(&self, name: &str) -> Path {
        match self.lookup(name, LookupFlags::FOLLOW) {
            Ok(path) => path,
            Err(e) => unreachable!("{name}: {e}"),
        }
    }

    /// What `stat` fails with.
    pub(crate) fn fails(&self, name: &str) -> Errno {
        match self.stat(name) {
            Err(e) => e,
            Ok(_) => unreachable!("{name} can be looked up"),
        }
    }

    pub(crate) fn stat(&self, name: &str) -> Result<Kstat, Errno> {
        vfs_statx(&self.0, &At::Cwd, name.as_bytes(), 0)
    }

    pub(crate) fn ino(&self, name: &str) -> u64 {
        self.stat(name).map_or(0, |s| s.attr.ino)
    }

    pub(crate) fn mkdir(&self, name: &str) -> Result<(), Errno> {
        do_mkdirat(&self.0, &At::Cwd, name.as_bytes(), 0o755)
    }

    pub(crate) fn symlink(&self, target: &str, name: &str) -> Result<(), Errno> {
        do_symlinkat(&self.0, target.as_bytes(), &At::Cwd, name.as_bytes())
    }

    pub(crate) fn unlink(&self, name: &str) -> Result<(), Errno> {
        do_unlinkat(&self.0, &At::Cwd, name.as_bytes(), 0)
    }

    pub(crate) fn rmdir(&self, name: &str) -> Result<(), Errno> {
        do_unlinkat(&self.0, &At::Cwd, name.as_bytes(), sentry_uapi::fcntl::AT_REMOVEDIR)
    }

    pub(crate) fn link(&self, old: &str, new: &str) -> Result<(), Errno> {
        do_linkat(&self.0, &At::Cwd, old.as_bytes(), &At::Cwd, new.as_bytes(), 0)
    }

    pub(crate) fn rename(&self, old: &str, new: &str, flags: u32) -> Result<(), Errno> {
        do_renameat2(&self.0, &At::Cwd, old.as_bytes(), &At::Cwd, new.as_bytes(), flags)
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) -> Result<(), Errno> {
        do_fchmodat(&self.0, &At::Cwd, name.as_bytes(), mode, 0)
    }

    pub(crate) fn chown(&self, name: &str, uid: u32, gid: u32) -> Result<(), Errno> {
        do_fchownat(&self.0, &At::Cwd, name.as_bytes(), uid, gid, 0)
    }

    pub(crate) fn open(&self, name: &str, flags: OpenFlags) -> Result<Arc<File>, Errno> {
        self.open_mode(name, flags, 0o644)
    }

    pub(crate) fn open_mode(&self, name: &str, flags: OpenFlags, mode: u32) -> Result<Arc<File>, Errno> {
        let op = build_open_flags(&OpenHow::for_open(flags.bits(), mode))?;
        do_filp_open(&self.0, &At::Cwd, name.as_bytes(), &op)
    }

    pub(crate) fn openat2(&self, name: &str, flags: OpenFlags, resolve: Resolve) -> Result<Arc<File>, Errno> {
        let how = OpenHow { flags: flags.bits().into(), mode: 0, resolve: resolve.bits() };
        do_filp_open(&self.0, &At::Cwd, name.as_bytes(), &build_open_flags(&how)?)
    }

    pub(crate) fn create(&self, name: &str) {
        let made = self.open(name, OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::WRONLY);
        assert!(made.is_ok(), "{name}: {:?}", made.err());
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<usize, Errno> {
        let file = self.open(name, OpenFlags::WRONLY)?;
        file.write(&self.0, &mut sentry_mm::IoSrc::from_slice(text.as_bytes()), IoFlags::empty())
    }

    pub(crate) fn mount(&self, target: &str) -> Result<(), Errno> {
        let args = MountArgs { fs_type: Some(b"testfs"), ..MountArgs::default() };
        do_mount(&self.0, target.as_bytes(), &args)
    }

    pub(crate) fn bind(&self, source: &str, target: &str, flags: u64) -> Result<(), Errno> {
        let flags = flags | ms::BIND;
        let args = MountArgs { source: Some(source.as_bytes()), flags, ..MountArgs::default() };
        do_mount(&self.0, target.as_bytes(), &args)
    }

    /// mount(2) with flags alone.
    pub(crate) fn change(&self, target: &str, flags: u64) -> Result<(), Errno> {
        do_mount(&self.0, target.as_bytes(), &MountArgs { flags, ..MountArgs::default() })
    }

    pub(crate) fn move_mount(&self, source: &str, target: &str) -> Result<(), Errno> {
        let args = MountArgs { source: Some(source.as_bytes()), flags: ms::MOVE, ..MountArgs::default() };
        do_mount(&self.0, target.as_bytes(), &args)
    }

    pub(crate) fn umount(&self, target: &str, flags: u32) -> Result<(), Errno> {
        do_umount(&self.0, target.as_bytes(), flags)
    }

    /// Where things are mounted, in the order of mountinfo.
    pub(crate) fn mountpoints(&self) -> Vec<String> {
        let root = self.0.fs.root();
        let below =
            |m: &Arc<Mount>| d_absolute_below(&Path { mnt: m.clone(), dentry: m.root.clone() }, &root);
        let all = self.0.mnt_ns.mounts();
        all.iter().filter_map(below).map(|p| String::from_utf8_lossy(&p).into_owned()).collect()
    }

    pub(crate) fn mountinfo(&self) -> String {
        let root = self.0.fs.root();
        let lines =
            self.0.mnt_ns.mounts().iter().filter_map(|m| show_mountinfo(m, &root)).collect::<Vec<_>>();
        String::from_utf8_lossy(&lines.concat()).into_owned()
    }

    /// A task in a copy of the mount namespace, which `cred`'s user namespace owns.
    pub(crate) fn unshare(&self, cred: Cred) -> Task {
        let user_ns = cred.user_ns.clone();
        let mut ctx = self.0.sibling(2, cred);
        let copy = ctx.mnt_ns.copy_mnt_ns(&ctx.vfs, &user_ns, ctx.cred.euid, Some(&ctx.fs));
        let Ok(ns) = copy else { unreachable!("it can be copied") };
        ctx.mnt_ns = ns;
        Task(ctx)
    }

    pub(crate) fn chdir(&self, name: &str) {
        assert_eq!(chdir(&self.0, name.as_bytes()), Ok(()), "{name}");
    }

    pub(crate) fn cwd(&self) -> Result<String, Errno> {
        getcwd(&self.0).map(|p| String::from_utf8_lossy(&p).into_owned())
    }

    /// Calls of the root filesystem's `lookup` so far.
    pub(crate) fn lookups(&self) -> usize {
        let sb = self.0.fs.root().dentry.sb().clone();
        sb.downcast::<TestFs>().map_or(0, |fs| fs.lookups.load(Ordering::Relaxed))
    }
}

/// The error of a result whose value cannot be shown.
pub(crate) fn err<T>(result: Result<T, Errno>) -> Option<Errno> {
    result.err()
}
