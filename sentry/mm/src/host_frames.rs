//! Frames that are pages of host files, in the host's page cache. They lie behind those of the memory file, are counted and
//! pinned as these are, and nobody ever writes to them: a private page of the guest's is copied out of them, and a file that
//! somebody maps shared and writable is read into the memory file.
//!
//! A *piece* is a run of a file that was mapped at once. Between any two there is a page that belongs to none, so that what
//! lies side by side is always of one file.
//!
//! Linux: mm/filemap.c, of which this is what the host does anyway.

use crate::memory_file::{MemoryFile, WINDOW};
use crate::space::Space;
use crate::{FrameRange, IoDst, PAGE_SIZE};
use platform::Backing;
use platform_host::file_window::FileWindow;
use platform_host::io::preadv;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, EINVAL, ENOMEM};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Where they begin. A page is left free, as between pieces.
const START: u64 = WINDOW + PAGE_SIZE;
/// Size of the window. It costs address space only.
const LEN: u64 = 1 << 43;
/// Most pieces there may be. Each takes a mapping or two, of which the host allows a process some 65,000.
const MAX_PIECES: usize = 8192;
/// Longest piece.
pub const MAX_PIECE: u64 = 1 << 30;

/// Whether an offset is one of a frame of a host file.
pub(crate) fn is_host(frame: u64) -> bool {
    frame >= WINDOW
}

/// Where a frame is in the window.
pub(crate) fn in_window(frame: u64) -> u64 {
    frame.saturating_sub(START)
}

/// A window for host files.
pub(crate) fn window() -> Result<FileWindow, Errno> {
    FileWindow::new(LEN)
}

/// A run of a file that was mapped at once.
pub(crate) struct Piece {
    end: u64,
    fd: Arc<OwnedFd>,
    offset: u64,
    /// Bytes that have not been freed.
    used: u64,
}

/// The pieces, by the frame at which they begin.
pub(crate) struct Pieces {
    space: Space,
    pieces: BTreeMap<u64, Piece>,
}

impl Pieces {
    pub(crate) fn new() -> Pieces {
        Pieces { space: Space::new(START, START + LEN), pieces: BTreeMap::new() }
    }

    /// Maps a run of a file.
    fn map(
        &mut self,
        window: &FileWindow,
        fd: &Arc<OwnedFd>,
        offset: u64,
        len: u64,
    ) -> Result<FrameRange, Errno> {
        if self.pieces.len() >= MAX_PIECES {
            return Err(ENOMEM);
        }
        let taken = self.space.take(len + PAGE_SIZE, PAGE_SIZE, 0).ok_or(ENOMEM)?;
        let frames = taken.slice(0, len);
        if let Err(e) = window.map(in_window(frames.start), len, fd.as_fd(), offset) {
            self.space.give_back(taken);
            return Err(e);
        }
        self.pieces.insert(frames.start, Piece { end: frames.end, fd: fd.clone(), offset, used: len });
        Ok(frames)
    }

    /// Takes frames away that nobody has a use for any more; gives the piece they were the last of.
    pub(crate) fn unmap(&mut self, window: &FileWindow, frames: FrameRange) -> Option<Piece> {
        // Where the host will not have it, the frames stay as they are, out of use.
        window.unmap(in_window(frames.start), frames.len()).ok()?;
        let (start, piece) = self.pieces.range_mut(..=frames.start).next_back()?;
        let start = *start;
        piece.used = piece.used.saturating_sub(frames.len());
        if piece.used > 0 {
            return None;
        }
        let piece = self.pieces.remove(&start)?;
        self.space.give_back(FrameRange { start, end: piece.end + PAGE_SIZE });
        Some(piece)
    }

    fn backing(&self, frame: u64) -> Option<Backing> {
        let (start, piece) = self.pieces.range(..=frame).next_back().filter(|(_, p)| p.end > frame)?;
        Some(Backing::HostFile { fd: piece.fd.clone(), offset: piece.offset + (frame - start) })
    }
}

impl MemoryFile {
    /// Allows frames of host files, for platforms that map them.
    ///
    /// # Errors
    /// `ENOMEM` when there is no address space for it.
    pub fn use_host_files(&self) -> Result<(), Errno> {
        if self.host.get().is_none() {
            // Somebody else having done so meanwhile is as good.
            let _ = self.host.set(window()?);
        }
        Ok(())
    }

    /// Whether there may be frames of host files.
    pub fn uses_host_files(&self) -> bool {
        self.host.get().is_some()
    }

    /// Frames, with a count of one, for `len` bytes of a host file from `offset` on; both page-aligned, and no more than
    /// [`MAX_PIECE`]. Those beyond the end of the file cannot be read until it grows.
    ///
    /// # Errors
    /// `ENOMEM` when there are too many; `EBADF` if `fd` could be written through; what the host says of a file that cannot
    /// be mapped.
    pub fn map_host_file(&self, fd: &Arc<OwnedFd>, offset: u64, len: u64) -> Result<FrameRange, Errno> {
        let window = self.host.get().ok_or(EINVAL)?;
        if len == 0 || len > MAX_PIECE || !(offset | len).is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let mut frames = self.frames.lock();
        let mapped = frames.host.map(window, fd, offset, len)?;
        frames.enter(mapped);
        Ok(mapped)
    }

    /// Copies bytes of a file out.
    ///
    /// # Errors
    /// `EFAULT` if there are not so many.
    pub(crate) fn read_host(&self, offset: u64, dst: &mut [u8]) -> Result<(), Errno> {
        let Some(Backing::HostFile { fd, offset: mut from }) = self.backing(offset) else {
            return Err(EFAULT);
        };
        let mut dst = IoDst::from_slice(dst);
        while dst.remaining() > 0 {
            let n = preadv(fd.as_fd(), &dst.segs(usize::MAX), from).map_err(|_| EFAULT)?;
            if n == 0 {
                return Err(EFAULT);
            }
            dst.advance(n);
            from += n as u64;
        }
        Ok(())
    }

    /// What a platform is to map for a frame, which is in use.
    pub(crate) fn backing(&self, frame: u64) -> Option<Backing> {
        if is_host(frame) {
            return self.frames.lock().host.backing(frame);
        }
        Some(Backing::Memory { offset: frame })
    }

    /// Has the host begin to read the pages of a range, if they are a file's.
    pub(crate) fn will_need(&self, range: FrameRange) {
        if let Some(window) = self.host.get().filter(|_| is_host(range.start)) {
            // It is a hint.
            let _ = window.will_need(in_window(range.start), range.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_uapi::errno::{EBADF, EIO};

    fn file(contents: &[u8]) -> Result<(std::fs::File, Arc<OwnedFd>), Errno> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("host-frames-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, contents).map_err(|_| EIO)?;
        let writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).map_err(|_| EIO)?;
        let reader = std::fs::File::open(&path).map_err(|_| EIO)?;
        std::fs::remove_file(&path).map_err(|_| EIO)?;
        Ok((writer, Arc::new(reader.into())))
    }

    fn memory() -> Result<Arc<MemoryFile>, Errno> {
        let memory = MemoryFile::new()?;
        memory.use_host_files()?;
        Ok(memory)
    }

    #[test]
    fn frames_of_a_file_are_its_pages_and_only_read() -> Result<(), Errno> {
        let memory = memory()?;
        let (writer, fd) = file(&[7; 3 * 4096])?;
        let frames = memory.map_host_file(&fd, PAGE_SIZE, 2 * PAGE_SIZE)?;
        assert_eq!((frames.len(), memory.allocated()), (2 * PAGE_SIZE, 0));
        let mut byte = [0];
        memory.read_at(frames.start + 5000, &mut byte)?;
        assert_eq!(byte, [7]);
        for result in [
            memory.write_at(frames.start, &[1]),
            memory.zero(frames.start, 8),
            memory.punch(frames),
            memory.fill(frames, &mut crate::IoSrc::from_slice(&[1])).map(drop),
            memory.cmpxchg32(frames.start, 0, 1).map(drop),
            memory.copy(frames.start, frames.start + PAGE_SIZE, PAGE_SIZE),
        ] {
            assert_eq!(result, Err(EFAULT));
        }
        std::os::unix::fs::FileExt::write_at(&writer, &[8], 4096 + 5000).map_err(|_| EIO)?;
        memory.read_at(frames.start + 5000, &mut byte)?;
        assert_eq!(byte, [8]);
        let copy = memory.allocate_copy(frames.start + PAGE_SIZE, PAGE_SIZE)?;
        memory.write_at(copy.start, &[9])?;
        memory.read_at(copy.start + (5000 - PAGE_SIZE), &mut byte)?;
        assert_eq!(byte, [8]);
        let mut whole = vec![0; 2 * 4096];
        memory.read_at(frames.start, &mut whole)?;
        assert!(whole.iter().enumerate().all(|(at, byte)| *byte == if at == 5000 { 8 } else { 7 }));
        writer.set_len(2 * PAGE_SIZE).map_err(|_| EIO)?;
        assert_eq!(memory.read_at(frames.start, &mut whole), Err(EFAULT));
        assert_eq!(memory.read_at(frames.start + 5000, &mut byte), Err(EFAULT));
        assert_eq!(memory.allocate_copy(frames.start + PAGE_SIZE, PAGE_SIZE), Err(EFAULT));
        Ok(())
    }

    #[test]
    fn what_a_platform_maps_is_the_file_at_its_offset() -> Result<(), Errno> {
        let memory = memory()?;
        let (writer, fd) = file(&[7; 4096])?;
        let first = memory.map_host_file(&fd, 0, PAGE_SIZE)?;
        let second = memory.map_host_file(&fd, 4 * PAGE_SIZE, 2 * PAGE_SIZE)?;
        assert!(second.start > first.end);
        match memory.backing(second.start + PAGE_SIZE) {
            Some(Backing::HostFile { offset, .. }) => assert_eq!(offset, 5 * PAGE_SIZE),
            other => unreachable!("{other:?}"),
        }
        assert!(memory.backing(first.end).is_none());
        let writable = Arc::new(writer.into());
        assert_eq!(memory.map_host_file(&writable, 0, PAGE_SIZE), Err(EBADF));
        Ok(())
    }

    #[test]
    fn a_piece_goes_with_its_last_frame_but_not_under_a_pin() -> Result<(), Errno> {
        let memory = memory()?;
        let (_, fd) = file(&[7; 3 * 4096])?;
        let frames = memory.map_host_file(&fd, 0, 3 * PAGE_SIZE)?;
        memory.inc_ref(frames.slice(PAGE_SIZE, PAGE_SIZE));
        memory.dec_ref(frames);
        let mut byte = [0];
        assert_eq!(memory.read_at(frames.start, &mut byte), Err(EFAULT));
        memory.read_at(frames.start + PAGE_SIZE, &mut byte)?;
        let pin = memory.pin();
        memory.dec_ref(frames.slice(PAGE_SIZE, PAGE_SIZE));
        memory.read_at(frames.start + PAGE_SIZE, &mut byte)?;
        assert_eq!(Arc::strong_count(&fd), 2);
        drop(pin);
        let other = memory.allocate(PAGE_SIZE, PAGE_SIZE)?;
        memory.dec_ref(other);
        assert_eq!(memory.read_at(frames.start + PAGE_SIZE, &mut byte), Err(EFAULT));
        assert_eq!(Arc::strong_count(&fd), 1);
        assert_eq!(memory.map_host_file(&fd, 0, PAGE_SIZE)?.start, frames.start);
        Ok(())
    }
}
