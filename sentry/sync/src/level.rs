//! The lock order of the sentry, outermost first. A lock may be taken while only locks of *lower* number are held.
//!
//! Guest memory is copied with no lock held, or through a pinned view that needs none; so a filesystem may hold its own
//! locks while it copies, and `MM` stands above (is taken before) the filesystem's locks.

/// Serialises whole renames and mount-tree changes.
pub const NAMESPACE: u16 = 100;
/// An open file's position. Reading or listing a file of procfs, which looks at tasks, runs under it.
pub const FILE_POS: u16 = 105;
/// The task tree: parents, children, process groups, sessions, pid tables.
pub const TASKLIST: u16 = 110;
/// State of one thread group.
pub const THREAD_GROUP: u16 = 120;
/// Signal handlers and pending signals of a thread group.
pub const SIGHAND: u16 = 130;
/// Mutable state of one task.
pub const TASK: u16 = 140;
/// POSIX timers and itimers of a process.
pub const TIMERS: u16 = 150;
/// Id maps of all user namespaces, and their counters.
pub const USER_NS: u16 = 160;
/// Links between keyrings, while they change.
pub const KEYRINGS: u16 = 165;
/// A descriptor table.
pub const FD_TABLE: u16 = 200;
/// Root and working directory of a task.
pub const FS_STRUCT: u16 = 210;
/// The mount tree of a mount namespace.
pub const MOUNT: u16 = 220;
/// Terminals and their line disciplines.
pub const TTY: u16 = 230;
/// An epoll instance.
pub const EPOLL: u16 = 240;
/// A directory's entries while one is made, removed or renamed (Linux: `i_rwsem` of a directory).
pub const DIRECTORY: u16 = 260;
/// Directories taken as the second of a pair, and everything below the first.
pub const DIRECTORY_CHILD: u16 = 270;
/// The children of a dentry.
pub const DENTRY: u16 = 280;
/// An address space's mappings.
pub const MM: u16 = 300;
/// A futex hash bucket. A futex value is read under it.
pub const FUTEX: u16 = 290;
/// Attributes and contents of an inode in an overlay, which calls into the layers below.
pub const OVERLAY: u16 = 310;
/// Attributes and contents of an inode.
pub const INODE: u16 = 320;
/// The names under which files of a host tree are found, while they change. Held over host calls.
pub const HOST_NAMES: u16 = 325;
/// A page cache or another table of frames.
pub const PAGE_CACHE: u16 = 330;
/// What guest code is shown in place of a file's pages.
pub const CALL_SITES: u16 = 332;
/// System V IPC objects of a namespace. Taken when a mapping of shared memory comes or goes.
pub const IPC: u16 = 335;
/// Tables of a socket family: bound addresses, ports.
pub const NET_TABLE: u16 = 340;
/// A socket's state.
pub const SOCKET: u16 = 350;
/// The second of two sockets, a socket's queue, a pipe's buffer.
pub const BUFFER: u16 = 360;
/// The other end's buffer when both are held.
pub const BUFFER_PEER: u16 = 370;
/// The queue of pending timers.
pub const TIMER_QUEUE: u16 = 380;
/// File locks and leases of an inode.
pub const FILE_LOCKS: u16 = 315;
/// inotify and other notification queues.
pub const NOTIFY: u16 = 390;
/// The frame allocator of the memory file.
pub const MEMORY_FILE: u16 = 400;
/// Waiters of a wait queue. Wakers run under it and may take no lock of a level.
pub const WAIT_QUEUE: u16 = 500;
/// Leaf locks that guard a few words and call nothing.
pub const LEAF: u16 = 600;
/// Replacing the parameters of the clocks, which may be read under any other lock.
pub const CLOCK: u16 = 700;
