//! The virtual file system, on Linux's own model: dentries, inodes, superblocks, mounts, open files.
//!
//! Linux: fs/. A filesystem implements [`InodeOps`] and [`FileOps`]; everything a path, a descriptor or a mount needs
//! beyond that is here. Nothing here knows a task: what an operation needs of its caller is [`TaskContext`].
//!
//! Blocking: a [`FileOps`] method never sleeps. It returns `EAGAIN` when it cannot go on, and says through
//! [`FileOps::poll`] which queues to wait on; [`File`] puts the two together. So a task that waits holds no lock.
#![forbid(unsafe_code)]

mod atime;
mod attr;
mod block;
mod d_path;
mod dentry;
mod device;
mod dnotify;
mod do_mount;
mod eventfd;
mod eventpoll;
mod extents;
mod fallocate;
mod fd_table;
mod file;
mod filesystem;
mod fown;
mod fs_context;
mod fs_struct;
mod inode;
mod inode_cache;
mod inotify;
mod libfs;
mod locks;
mod mapped_file;
mod mount;
mod mount_api;
mod mount_namespace;
mod mount_tree;
mod namei;
mod namei_ops;
mod notify;
mod notify_change;
mod nsfs;
mod open;
mod path;
mod pipe;
mod poll;
mod posix_acl;
mod posix_acl_xattr;
mod proc_namespace;
mod propagation;
mod protected;
mod rename;
mod security_xattr;
mod select;
mod signalfd;
mod splice;
mod stat;
mod super_block;
mod task_context;
#[cfg(any(test, feature = "test-context"))]
mod test_context;
#[cfg(any(test, feature = "test-context"))]
pub mod testfs;
mod timerfd;
mod umount;
mod vfs;
mod write_access;
mod xattr;

pub use atime::file_accessed;
pub use attr::{Access, Attr, FileType, SetAttr, SetTime};
pub use block::{block_on_file, wait_event};
pub use d_path::{d_absolute_below, d_path, dentry_path, getcwd};
pub use dentry::Dentry;
pub use device::{DeviceKind, DeviceTable, OpenSpecial};
pub use dnotify::{dnotify_flush, fcntl_dirnotify};
pub use do_mount::{MountArgs, do_mount, may_mount, mount_root, ms};
pub use eventfd::{do_eventfd, eventfd_fget, eventfd_signal};
pub use eventpoll::{EpollLimits, do_epoll_create, do_epoll_ctl, do_epoll_wait, epoll_target};
pub use extents::{ExtentAt, Extents};
pub use fallocate::do_fallocate;
pub use fd_table::{FdTable, NR_OPEN};
pub use file::{DirSink, File, FileOps, IoFlags, Written};
pub use filesystem::{FileSystemTable, FileSystemType, FsFlags, MountContext};
pub use fown::{FileOwner, OwnerKind};
pub use fs_context::{
    do_fsmount, do_fsopen, do_fspick, fsconfig_create, fsconfig_reconfigure, fsconfig_set, fspick,
};
pub use fs_struct::{FsStruct, chdir, chroot, fchdir};
pub use inode::{
    Inode, InodeOps, LinkTarget, NewNode, NodeKind, Rename, RenameFlags, XattrFlags, generic_permission,
    inode_generic_permission,
};
pub use inode_cache::InodeCache;
pub use inotify::{
    InotifyLimits, do_inotify_add_watch, do_inotify_init, do_inotify_rm_watch, inotify_check_mask,
};
pub use libfs::{FIRST_ENTRY, dir_emit_dots};
pub use locks::{
    LockClass, LockInfo, LockKind, LockOwner, do_flock, fcntl_getlk, fcntl_setlease, fcntl_setlk,
    locks_remove_posix, locks_show,
};
pub use mount::{AtimePolicy, Mount, MountFlags};
pub use mount_api::{
    MountAttr, do_mount_setattr, do_move_mount, do_open_tree, mount_attr, move_mount, open_tree,
};
pub use mount_namespace::{MountNamespace, MountTable};
pub use namei::{At, LookupFlags, current_chrooted, user_path_at};
pub use namei_ops::{
    do_linkat, do_mkdirat, do_mknodat, do_readlinkat, do_symlinkat, do_unlinkat, mknod_socket,
};
pub use notify::{
    NotifyEvent, NotifyMark, NotifyMask, fsnotify_access, fsnotify_close, fsnotify_dentry, fsnotify_file,
    fsnotify_inode, fsnotify_modify, fsnotify_name, fsnotify_open, fsnotify_path,
};
pub use notify_change::{
    UTIME_NOW, UTIME_OMIT, do_fchmod, do_fchmodat, do_fchown, do_fchownat, do_ftruncate, do_truncate,
    do_utimes_fd, do_utimes_path, file_remove_privs, setfl, vfs_chmod, vfs_chown,
};
pub use nsfs::{Namespace, NsFile, NsKind, ns_get_name, open_related_ns};
pub use open::{
    OpenHow, OpenOp, Resolve, build_open_flags, dentry_open, do_filp_open, do_open_execat, do_sys_open,
};
pub use path::Path;
pub use pipe::{PipeLimits, do_pipe2, open_fifo, pipe_get_size, pipe_set_size};
pub use poll::PollTable;
pub use posix_acl::{AclEntry, AclTag, AclType, NewAcls, PosixAcl};
pub use proc_namespace::{show_mountinfo, show_vfsmnt, show_vfsstat};
pub use propagation::Propagation;
pub use protected::ProtectedNames;
pub use rename::do_renameat2;
pub use select::{PollEntry, PollTarget, SelectEntry, do_poll, do_select};
pub use signalfd::{do_signalfd, signalfd_set_mask};
pub use splice::{do_copy_file_range, do_sendfile, do_splice, do_tee, do_vmsplice_from, do_vmsplice_to};
pub use stat::{
    Kstat, calculate_f_flags, do_faccessat, fd_statfs, user_statfs, vfs_fstat, vfs_getattr, vfs_statx,
};
pub use super_block::{StatFs, SuperBlock, SuperFlags, SuperOps};
pub use task_context::{Resource, Sleep, TaskContext};
#[cfg(any(test, feature = "test-context"))]
pub use test_context::TestContext;
pub use timerfd::{do_timerfd_create, do_timerfd_gettime, do_timerfd_settime, timerfd_clock_was_set};
pub use umount::{do_umount, pivot_root};
pub use vfs::{Pseudo, Vfs};
pub use write_access::DenyWrite;
pub use xattr::{
    XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX, vfs_getxattr, vfs_listxattr, vfs_removexattr,
    vfs_setxattr,
};

#[cfg(test)]
mod tests;
