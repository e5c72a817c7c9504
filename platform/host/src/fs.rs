//! Files of the host, reached from a directory descriptor one name at a time. Nothing here follows a symbolic link or
//! leaves the directory it is given.

use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EIO, ENAMETOOLONG};
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::slice;

/// What statx(2) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStat {
    /// Device the file is on.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Number of names.
    pub nlink: u32,
    /// Owner, as the sentry's user namespace sees it.
    pub uid: u32,
    /// Group, as the sentry's user namespace sees it.
    pub gid: u32,
    /// Device a special file stands for: major and minor.
    pub rdev: (u32, u32),
    /// Size in bytes.
    pub size: u64,
    /// Preferred I/O size.
    pub blksize: u32,
    /// 512-byte blocks.
    pub blocks: u64,
    /// Last access: seconds and nanoseconds.
    pub atime: (i64, u32),
    /// Last change of contents.
    pub mtime: (i64, u32),
    /// Last change of attributes.
    pub ctime: (i64, u32),
    /// Birth, where the filesystem knows it.
    pub btime: Option<(i64, u32)>,
    /// The mount it was found through; 0 where the host does not tell.
    pub mnt_id: u64,
}

/// What fstatfs(2) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStatFs {
    /// Magic number.
    pub magic: u64,
    /// Size of a block.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free for others than root.
    pub blocks_free: u64,
    /// Inodes in all.
    pub files: u64,
    /// Inodes free.
    pub files_free: u64,
}

/// A time to set: none leaves it, `Now` takes the host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostTime {
    /// As it is.
    Keep,
    /// The present.
    Now,
    /// Seconds and nanoseconds.
    To(i64, i64),
}

fn errno() -> Errno {
    Errno::from_raw(nix::errno::Errno::last_raw())
}

fn check(ret: i32) -> Result<(), Errno> {
    if ret < 0 { Err(errno()) } else { Ok(()) }
}

fn check_len(ret: isize) -> Result<usize, Errno> {
    usize::try_from(ret).map_err(|_| errno())
}

/// Longest name of one component. Linux: include/uapi/linux/limits.h.
const NAME_MAX: usize = 255;

/// One component as the host takes it: never empty, never a path. It lies on the stack, since every lookup needs one.
struct Component([u8; NAME_MAX + 1]);

impl Deref for Component {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

fn component(name: &[u8]) -> Result<Component, Errno> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return Err(EINVAL);
    }
    let mut component = Component([0; NAME_MAX + 1]);
    let (room, _) = component.0.split_at_mut(NAME_MAX);
    room.get_mut(..name.len()).ok_or(ENAMETOOLONG)?.copy_from_slice(name);
    Ok(component)
}

fn owned(ret: i64) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(ret).ok().filter(|fd| *fd >= 0).ok_or_else(errno)?;
    // SAFETY: a descriptor the host has just given us, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens `name` in `dir` with openat2(2), beneath it and through no link of any kind. `O_CLOEXEC` and `O_NOFOLLOW` are
/// added; with `O_PATH` a symbolic link is opened as itself.
pub fn open_beneath(dir: BorrowedFd<'_>, name: &[u8], flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    open_how(dir, &component(name)?, flags, mode)
}

/// Opens the directory `dir` itself anew: `O_PATH` descriptors can be walked from but not read.
pub fn reopen_dir(dir: BorrowedFd<'_>, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    open_how(dir, c".", flags, mode)
}

fn open_how(dir: BorrowedFd<'_>, name: &CStr, flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: all-zero is a valid open_how.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC | libc::O_NOFOLLOW).cast_unsigned());
    let makes = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
    how.mode = if makes { u64::from(mode) } else { 0 };
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the name is a C string and the structure is passed with its size.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            name.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    owned(ret)
}

fn time(t: libc::statx_timestamp) -> (i64, u32) {
    (t.tv_sec, t.tv_nsec)
}

fn statx(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<HostStat, Errno> {
    // SAFETY: all-zero is a valid statx.
    let mut st: libc::statx = unsafe { std::mem::zeroed() };
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_MNT_ID;
    // SAFETY: the name is a C string; the structure is written by the call.
    check(unsafe {
        libc::statx(dir.as_raw_fd(), name.as_ptr(), flags | libc::AT_SYMLINK_NOFOLLOW, mask, &raw mut st)
    })?;
    Ok(HostStat {
        dev: libc::makedev(st.stx_dev_major, st.stx_dev_minor),
        ino: st.stx_ino,
        mode: u32::from(st.stx_mode),
        nlink: st.stx_nlink,
        uid: st.stx_uid,
        gid: st.stx_gid,
        rdev: (st.stx_rdev_major, st.stx_rdev_minor),
        size: st.stx_size,
        blksize: st.stx_blksize,
        blocks: st.stx_blocks,
        atime: time(st.stx_atime),
        mtime: time(st.stx_mtime),
        ctime: time(st.stx_ctime),
        btime: (st.stx_mask & libc::STATX_BTIME != 0).then(|| time(st.stx_btime)),
        mnt_id: if st.stx_mask & libc::STATX_MNT_ID != 0 { st.stx_mnt_id } else { 0 },
    })
}

/// Attributes of `name` in `dir`; of a symbolic link itself.
pub fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<HostStat, Errno> {
    statx(dir, &component(name)?, libc::AT_NO_AUTOMOUNT)
}

/// Attributes of an open file, `O_PATH` included.
pub fn stat(fd: BorrowedFd<'_>) -> Result<HostStat, Errno> {
    statx(fd, c"", libc::AT_EMPTY_PATH)
}

/// Usage of the filesystem an open file is on.
pub fn statfs(fd: BorrowedFd<'_>) -> Result<HostStatFs, Errno> {
    // SAFETY: all-zero is a valid statfs.
    let mut st: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is written by the call.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut st) })?;
    Ok(HostStatFs {
        magic: u64::try_from(st.f_type).unwrap_or(0),
        block_size: u64::try_from(st.f_bsize).unwrap_or(4096),
        blocks: st.f_blocks,
        blocks_free: st.f_bavail,
        files: st.f_files,
        files_free: st.f_ffree,
    })
}

/// Target of an open (`O_PATH`) symbolic link.
pub fn readlink(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    read_link(fd, c"")
}

/// Target of the symbolic link `name` in `dir`.
pub fn readlink_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    read_link(dir, &component(name)?)
}

fn read_link(fd: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0u8; 4096];
    // SAFETY: the name is a C string and the buffer as long as said.
    let n = check_len(unsafe {
        libc::readlinkat(fd.as_raw_fd(), name.as_ptr(), buf.as_mut_ptr().cast(), buf.len())
    })?;
    buf.truncate(n);
    Ok(buf)
}

/// One entry of getdents64(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostDirent<'a> {
    /// Inode number.
    pub ino: u64,
    /// Position behind it.
    pub next: u64,
    /// `DT_*`.
    pub dtype: u8,
    /// Name.
    pub name: &'a [u8],
}

/// Bytes of entries asked of the host at once.
const DIRENTS: usize = 32 * 1024;

/// Appends directory entries from the descriptor's position on, as the host lays them out; returns how many bytes: none
/// at the end. [`first_dirent`] takes them apart. They pass through the stack: a heap that gives so large a piece back
/// each time gives it back to the host.
pub fn getdents(fd: BorrowedFd<'_>, out: &mut Vec<u8>) -> Result<usize, Errno> {
    let mut buf = MaybeUninit::<[u8; DIRENTS]>::uninit();
    // SAFETY: the buffer is as long as said.
    let ret = unsafe { libc::syscall(libc::SYS_getdents64, fd.as_raw_fd(), buf.as_mut_ptr(), DIRENTS) };
    let n = usize::try_from(ret).map_err(|_| errno())?;
    if n > DIRENTS {
        return Err(EIO);
    }
    // SAFETY: the host has written these bytes, which are no more than there are.
    out.extend_from_slice(unsafe { slice::from_raw_parts(buf.as_ptr().cast::<u8>(), n) });
    Ok(n)
}

/// The first record of what [`getdents`] gave, and what follows it; none where there is none, or none that makes sense.
/// Linux: `struct linux_dirent64`.
pub fn first_dirent(buf: &[u8]) -> Option<(HostDirent<'_>, &[u8])> {
    let (ino, rest) = buf.split_first_chunk::<8>()?;
    let (next, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (dtype, _) = rest.split_first()?;
    let len = usize::from(u16::from_ne_bytes(*len));
    let name = buf.get(19..len)?;
    let end = name.iter().position(|b| *b == 0)?;
    let entry = HostDirent {
        ino: u64::from_ne_bytes(*ino),
        next: u64::from_ne_bytes(*next),
        dtype: *dtype,
        name: name.get(..end)?,
    };
    Some((entry, buf.get(len..)?))
}

/// lseek(2) with SEEK_SET (0), SEEK_DATA (3) or SEEK_HOLE (4).
pub fn seek(fd: BorrowedFd<'_>, pos: u64, whence: i32) -> Result<u64, Errno> {
    // SAFETY: no memory is involved. Directory positions use all 64 bits, so the sign is only reinterpreted.
    let ret = unsafe { libc::lseek(fd.as_raw_fd(), pos.cast_signed(), whence) };
    if ret == -1 { Err(errno()) } else { Ok(ret.cast_unsigned()) }
}

/// Makes a directory.
pub fn mkdir_at(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<(), Errno> {
    let name = component(name)?;
    // SAFETY: the name is a C string.
    check(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) })
}

/// Makes a symbolic link.
pub fn symlink_at(dir: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> Result<(), Errno> {
    let name = component(name)?;
    let target = CString::new(target).map_err(|_| EINVAL)?;
    // SAFETY: both are C strings.
    check(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) })
}

/// Makes a special file: `mode` holds the type. Device nodes stand for nothing in the sentry; they are not made.
pub fn mknod_at(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<(), Errno> {
    let name = component(name)?;
    // SAFETY: the name is a C string.
    check(unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, 0) })
}

/// Gives a file another name.
pub fn link_at(
    old_dir: BorrowedFd<'_>,
    old: &[u8],
    new_dir: BorrowedFd<'_>,
    new: &[u8],
) -> Result<(), Errno> {
    let (old, new) = (component(old)?, component(new)?);
    // SAFETY: both are C strings.
    check(unsafe { libc::linkat(old_dir.as_raw_fd(), old.as_ptr(), new_dir.as_raw_fd(), new.as_ptr(), 0) })
}

/// Gives an open file that has no name one. Linux lets only the capable do this.
pub fn link_fd(fd: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let name = component(name)?;
    // SAFETY: both are C strings.
    check(unsafe {
        libc::linkat(fd.as_raw_fd(), c"".as_ptr(), dir.as_raw_fd(), name.as_ptr(), libc::AT_EMPTY_PATH)
    })
}

/// Removes a name: of a directory if `is_dir`.
pub fn unlink_at(dir: BorrowedFd<'_>, name: &[u8], is_dir: bool) -> Result<(), Errno> {
    let name = component(name)?;
    let flags = if is_dir { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: the name is a C string.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) })
}

/// Renames, with the flags of renameat2(2).
pub fn rename_at(
    old_dir: BorrowedFd<'_>,
    old: &[u8],
    new_dir: BorrowedFd<'_>,
    new: &[u8],
    flags: u32,
) -> Result<(), Errno> {
    let (old, new) = (component(old)?, component(new)?);
    // Without flags the C library would make the older call, which the sentry's filter does not know.
    // SAFETY: both are C strings.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            old_dir.as_raw_fd(),
            old.as_ptr(),
            new_dir.as_raw_fd(),
            new.as_ptr(),
            flags,
        )
    };
    check(i32::try_from(result).unwrap_or(-1))
}

/// Changes the size.
pub fn truncate(fd: BorrowedFd<'_>, size: u64) -> Result<(), Errno> {
    let size = i64::try_from(size).map_err(|_| sentry_uapi::errno::EFBIG)?;
    // SAFETY: no memory is involved.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), size) })
}

/// Changes the permission bits of a file that is open for more than its path.
pub fn chmod(fd: BorrowedFd<'_>, perm: u32) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::fchmod(fd.as_raw_fd(), perm) })
}

/// Changes owner and group of an open file, `O_PATH` included; `u32::MAX` leaves one as it is.
pub fn chown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
    // SAFETY: the empty string is a C string.
    check(unsafe {
        libc::fchownat(
            fd.as_raw_fd(),
            c"".as_ptr(),
            uid,
            gid,
            libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW,
        )
    })
}

/// Sets the times of an open file, `O_PATH` included.
pub fn set_times(fd: BorrowedFd<'_>, atime: HostTime, mtime: HostTime) -> Result<(), Errno> {
    let convert = |t| match t {
        HostTime::Keep => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
        HostTime::Now => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW },
        HostTime::To(tv_sec, tv_nsec) => libc::timespec { tv_sec, tv_nsec },
    };
    let times = [convert(atime), convert(mtime)];
    // SAFETY: the empty string is a C string; the array has the two elements the call reads.
    check(unsafe { libc::utimensat(fd.as_raw_fd(), c"".as_ptr(), times.as_ptr(), libc::AT_EMPTY_PATH) })
}

/// fallocate(2).
pub fn fallocate(fd: BorrowedFd<'_>, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return Err(EINVAL) };
    // SAFETY: no memory is involved.
    check(unsafe { libc::fallocate(fd.as_raw_fd(), mode.cast_signed(), offset, len) })
}

/// fsync(2), or fdatasync(2).
pub fn sync(fd: BorrowedFd<'_>, data_only: bool) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { if data_only { libc::fdatasync(fd.as_raw_fd()) } else { libc::fsync(fd.as_raw_fd()) } })
}

/// Writes at the end of a file, whatever others write meanwhile. Linux: `RWF_APPEND`.
pub fn append(fd: BorrowedFd<'_>, segs: &[crate::io::HostSeg]) -> Result<usize, Errno> {
    let count = i32::try_from(segs.len().min(crate::io::MAX_SEGS)).map_err(|_| EINVAL)?;
    // SAFETY: `HostSeg` has the layout of `struct iovec`; the segments were vouched for when they were made.
    check_len(unsafe { libc::pwritev2(fd.as_raw_fd(), segs.as_ptr().cast(), count, 0, libc::RWF_APPEND) })
}

/// Value of an extended attribute of a file that is open for more than its path.
pub fn getxattr(fd: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let name = CString::new(name).map_err(|_| EINVAL)?;
    let mut buf = vec![0u8; 65536];
    // SAFETY: the name is a C string and the buffer as long as said.
    let n = check_len(unsafe {
        libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), buf.as_mut_ptr().cast(), buf.len())
    })?;
    buf.truncate(n);
    Ok(buf)
}

/// Sets an extended attribute; `flags` as for fsetxattr(2).
pub fn setxattr(fd: BorrowedFd<'_>, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| EINVAL)?;
    // SAFETY: the name is a C string and the value as long as said.
    check(unsafe {
        libc::fsetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags.cast_signed(),
        )
    })
}

/// Removes an extended attribute.
pub fn removexattr(fd: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| EINVAL)?;
    // SAFETY: the name is a C string.
    check(unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) })
}

/// Names of the extended attributes.
pub fn listxattr(fd: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut buf = vec![0u8; 65536];
    // SAFETY: the buffer is as long as said.
    let n = check_len(unsafe { libc::flistxattr(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) })?;
    buf.truncate(n);
    Ok(buf.split(|b| *b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_name_is_never_a_path() {
        for bad in [b"".as_slice(), b".", b"..", b"a/b", b"/", b"a\0b", &[b'x'; 256]] {
            assert!(component(bad).is_err(), "{bad:?}");
        }
        assert!(component(b"...").is_ok());
    }

    #[test]
    fn entries_are_parsed_and_cut_ones_refused() {
        let mut record = Vec::new();
        record.extend(7u64.to_ne_bytes());
        record.extend(99u64.to_ne_bytes());
        record.extend(24u16.to_ne_bytes());
        record.extend([4]);
        record.extend(b"name\0");
        let expected = HostDirent { ino: 7, next: 99, dtype: 4, name: b"name".as_slice() };
        assert_eq!(first_dirent(&record), Some((expected, &[][..])));
        for len in 0..24 {
            assert_eq!(first_dirent(&record[..len]), None);
        }
    }

    #[test]
    fn entries_are_appended_until_the_end() -> Result<(), Errno> {
        let dir: OwnedFd = std::fs::File::open("/proc/self").map_err(|_| EIO)?.into();
        let mut all = b"kept".to_vec();
        while getdents(dir.as_fd(), &mut all)? > 0 {}
        assert_eq!(all.get(..4), Some(b"kept".as_slice()));
        let mut rest = all.get(4..).ok_or(EIO)?;
        let mut names = Vec::new();
        while let Some((entry, after)) = first_dirent(rest) {
            names.push(entry.name.to_vec());
            rest = after;
        }
        assert!(rest.is_empty() && names.iter().any(|name| name == b"maps"));
        Ok(())
    }

    #[test]
    fn links_are_opened_as_themselves_or_not_at_all() -> Result<(), Errno> {
        let proc: OwnedFd = std::fs::File::open("/proc").map_err(|_| EIO)?.into();
        let link = open_beneath(proc.as_fd(), b"self", libc::O_PATH, 0)?;
        assert_eq!(stat(link.as_fd())?.mode & libc::S_IFMT, libc::S_IFLNK);
        assert_eq!(readlink(link.as_fd())?, readlink_at(proc.as_fd(), b"self")?);
        let followed = open_beneath(proc.as_fd(), b"self", libc::O_RDONLY, 0);
        assert_eq!(followed.err(), Some(sentry_uapi::errno::ELOOP));
        Ok(())
    }
}
