//! Files that may be long: put out record by record, with no more kept than a piece. Linux: fs/seq_file.c, `seq_read_iter`
//! and `traverse`.

use fs_vfs::TaskContext;
use sentry_mm::IoDst;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;

/// How much text is made at once, where the reader does not ask for more.
const PIECE: usize = 32 << 10;

/// The records of an open file.
pub(crate) trait Records: Send + Sync {
    /// Appends records from the one with this key on, until there are `want` bytes. The first one's key is 0. Returns the
    /// key of the next; none behind the last.
    fn fill(
        &self,
        ctx: &dyn TaskContext,
        key: u64,
        want: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<u64>, Errno>;
}

/// Where the reader is.
#[derive(Default)]
pub(crate) struct Cursor(Mutex<Piece, { level::LEAF }>);

#[derive(Default)]
struct Piece {
    /// Position in the file of the first byte of `text`.
    start: u64,
    text: Vec<u8>,
    /// Key of the record behind the text; none at the end.
    next: Option<u64>,
    begun: bool,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start.saturating_add(u64::try_from(self.text.len()).unwrap_or(u64::MAX))
    }
}

impl Cursor {
    /// Reads at `pos`. Going on where the last read ended costs nothing; elsewhere the records before are made again.
    pub(crate) fn read(
        &self,
        records: &dyn Records,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        // Taken out, so that no lock is held meanwhile. A second reader at the same time begins anew.
        let mut piece = std::mem::take(&mut *self.0.lock());
        if !piece.begun || pos == 0 || pos < piece.start {
            piece = Piece { begun: true, next: Some(0), ..Piece::default() };
        }
        while pos >= piece.end()
            && let Some(key) = piece.next
        {
            let mut text = Vec::new();
            let next = records.fill(ctx, key, PIECE, &mut text)?;
            piece = Piece { start: piece.end(), text, next, begun: true };
        }
        let at = usize::try_from(pos.saturating_sub(piece.start)).unwrap_or(usize::MAX);
        let done = dst.write(piece.text.get(at..).unwrap_or_default());
        *self.0.lock() = piece;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_vfs::TestContext;

    /// Numbers up to 20000, one a line.
    struct Count;

    impl Records for Count {
        fn fill(
            &self,
            _ctx: &dyn TaskContext,
            key: u64,
            want: usize,
            out: &mut Vec<u8>,
        ) -> Result<Option<u64>, Errno> {
            for n in key..20_000 {
                if out.len() >= want {
                    return Ok(Some(n));
                }
                out.extend(format!("{n}\n").bytes());
            }
            Ok(None)
        }
    }

    fn read(cursor: &Cursor, ctx: &TestContext, pos: usize, len: usize) -> Vec<u8> {
        let mut buf = vec![0; len];
        let pos = u64::try_from(pos).unwrap_or(u64::MAX);
        let n = cursor.read(&Count, ctx, &mut IoDst::from_slice(&mut buf), pos).unwrap_or(0);
        buf.truncate(n);
        buf
    }

    #[test]
    fn any_way_of_reading_gives_the_same_text() {
        let ctx = TestContext::new();
        let whole: Vec<u8> = (0..20_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let cursor = Cursor::default();
        let mut seen = Vec::new();
        loop {
            let more = read(&cursor, &ctx, seen.len(), 777);
            if more.is_empty() {
                break;
            }
            seen.extend(more);
        }
        assert!(seen == whole);
        assert!(read(&cursor, &ctx, 90_000, 100) == whole[90_000..90_100]);
        assert!(read(&cursor, &ctx, 10, 100) == whole[10..110]);
        assert!(read(&cursor, &ctx, whole.len(), 100).is_empty());
        assert!(read(&cursor, &ctx, usize::MAX, 100).is_empty());
    }
}
