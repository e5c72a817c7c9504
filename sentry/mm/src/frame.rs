//! Ranges of frames: byte offsets into the memory file, or behind its end for those of host files.

/// A half-open range of frames, page-aligned where it is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl FrameRange {
    /// Length in bytes.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether there is no frame in it.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The part that begins `from` bytes in, at most `max` bytes of it.
    #[must_use]
    pub fn slice(self, from: u64, max: u64) -> FrameRange {
        let start = self.start.saturating_add(from).min(self.end);
        FrameRange { start, end: start.saturating_add(max).min(self.end) }
    }
}
