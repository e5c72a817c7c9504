//! Linux: fs/readdir.c. One call fills at most 128 KiB, however long the buffer.

use super::user::get_file;
use crate::arg::{BufOut, Fd};
use fs_vfs::DirSink;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::dirent::{LinuxDirent, LinuxDirent64};
use sentry_uapi::errno::EINVAL;
use zerocopy::IntoBytes;

/// Most bytes of entries of one call.
const MAX_DIRENTS: usize = 128 << 10;

/// Room to begin with: what most directories need.
const FIRST_ROOM: usize = 4 << 10;

/// The layouts of entries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `struct linux_dirent`.
    Old,
    /// `struct linux_dirent64`.
    Wide,
}

/// Entries as the guest will see them. Linux: `struct getdents_callback`.
struct Dirents {
    layout: Layout,
    out: Vec<u8>,
    room: usize,
    /// An entry did not fit.
    full: bool,
}

impl DirSink for Dirents {
    fn entry(&mut self, name: &[u8], ino: u64, dtype: u8, next: u64) -> bool {
        let head = match self.layout {
            // The type and the name's terminating zero.
            Layout::Old => size_of::<LinuxDirent>() + 1,
            Layout::Wide => size_of::<LinuxDirent64>(),
        };
        let len = (head + name.len() + 1).next_multiple_of(8);
        let Ok(d_reclen) = u16::try_from(len) else { return false };
        if len > self.room - self.out.len() {
            self.full = true;
            return false;
        }
        let end = self.out.len() + len;
        match self.layout {
            Layout::Old => {
                let head = LinuxDirent { d_ino: ino, d_off: next, d_reclen };
                self.out.extend_from_slice(head.as_bytes());
            }
            Layout::Wide => {
                let head = LinuxDirent64 { d_ino: ino, d_off: next, d_reclen, d_type: dtype };
                self.out.extend_from_slice(head.as_bytes());
            }
        }
        self.out.extend_from_slice(name);
        self.out.resize(end, 0);
        if self.layout == Layout::Old
            && let Some(last) = self.out.last_mut()
        {
            *last = dtype;
        }
        true
    }
}

/// getdents(2).
pub(crate) fn getdents(task: &mut CurrentTask, fd: Fd, dirent: BufOut, count: u32) -> SyscallResult {
    fill(task, fd, dirent, count, Layout::Old)
}

/// getdents64(2).
pub(crate) fn getdents64(task: &mut CurrentTask, fd: Fd, dirent: BufOut, count: u32) -> SyscallResult {
    fill(task, fd, dirent, count, Layout::Wide)
}

fn fill(task: &CurrentTask, fd: Fd, dirent: BufOut, count: u32, layout: Layout) -> SyscallResult {
    let file = get_file(task, fd)?;
    let room = usize::try_from(count).unwrap_or(MAX_DIRENTS).min(MAX_DIRENTS);
    let mut sink = Dirents { layout, out: Vec::with_capacity(room.min(FIRST_ROOM)), room, full: false };
    let result = file.readdir(task, &mut sink);
    if sink.out.is_empty() {
        result?;
        return if sink.full { Err(EINVAL.into()) } else { Ok(0) };
    }
    task.user()?.copy_to_user(dirent.0, &sink.out)?;
    Ok(sink.out.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_end_with_what_the_layout_says() {
        let mut sink = Dirents { layout: Layout::Old, out: Vec::new(), room: 64, full: false };
        assert!(sink.entry(b"a", 7, 4, 1));
        assert_eq!(sink.out.len(), 24);
        assert_eq!((sink.out[18], sink.out[19], sink.out[23]), (b'a', 0, 4));
        let mut sink = Dirents { layout: Layout::Wide, out: Vec::new(), room: 48, full: false };
        assert!(sink.entry(b"abcd", 7, 8, 1) && sink.entry(b"efgh", 8, 8, 2));
        assert_eq!((sink.out.len(), sink.out[18], sink.out[19]), (48, 8, b'a'));
        assert!(!sink.entry(b"x", 9, 8, 3) && sink.full);
    }
}
