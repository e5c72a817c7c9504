//! A growing ring of bytes: what waits in one direction of a stream.

use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;

/// Smallest and, while it is empty, largest capacity kept.
const MIN_CAPACITY: usize = 4096;

/// Bytes in the order in which they came. The capacity is a power of two and grows as needed; in a steady state nothing
/// is allocated.
#[derive(Default)]
pub(crate) struct Ring {
    buf: Vec<u8>,
    head: usize,
    len: usize,
}

impl Ring {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends at most `max` bytes of `src`.
    ///
    /// # Errors
    /// `EFAULT` if not a byte could be read.
    pub(crate) fn push_from(&mut self, src: &mut IoSrc<'_>, max: usize) -> Result<usize, Errno> {
        let want = src.remaining().min(max);
        self.reserve(want);
        let mut total = 0;
        while total < want {
            let Some(at) = self.wrap(self.len) else { break };
            let contiguous = (self.buf.len() - at).min(want - total);
            match src.read(&mut self.buf[at..at + contiguous]) {
                Ok(n) => {
                    self.len += n;
                    total += n;
                    if n < contiguous {
                        break;
                    }
                }
                Err(e) if total == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(total)
    }

    /// Copies at most `max` bytes, from `skip` on, without taking them.
    ///
    /// # Errors
    /// `EFAULT` if not a byte could be written.
    pub(crate) fn copy_to(&self, dst: &mut IoDst<'_>, skip: usize, max: usize) -> Result<usize, Errno> {
        let want = self.len.saturating_sub(skip).min(max).min(dst.remaining());
        let mut total = 0;
        while total < want {
            let Some(at) = self.wrap(skip + total) else { break };
            let contiguous = (self.buf.len() - at).min(want - total);
            match dst.write(&self.buf[at..at + contiguous]) {
                Ok(n) => {
                    total += n;
                    if n < contiguous {
                        break;
                    }
                }
                Err(e) if total == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(total)
    }

    /// Drops the oldest `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        let n = n.min(self.len);
        self.head = self.wrap(n).unwrap_or(0);
        self.len -= n;
        if self.len == 0 {
            self.head = 0;
        }
    }

    /// Drops everything, and the memory with it.
    pub(crate) fn clear(&mut self) {
        *self = Ring::default();
    }

    /// Where the byte at `offset` from the oldest is, or none for a ring without memory.
    fn wrap(&self, offset: usize) -> Option<usize> {
        let mask = self.buf.len().checked_sub(1)?;
        Some((self.head + offset) & mask)
    }

    fn reserve(&mut self, more: usize) {
        let need = self.len + more;
        if need <= self.buf.len() {
            return;
        }
        let mut bigger = vec![0; need.next_power_of_two().max(MIN_CAPACITY)];
        let first = (self.buf.len() - self.head).min(self.len);
        bigger[..first].copy_from_slice(&self.buf[self.head..self.head + first]);
        bigger[first..self.len].copy_from_slice(&self.buf[..self.len - first]);
        self.buf = bigger;
        self.head = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_and_grows_without_losing_bytes() {
        let mut ring = Ring::default();
        let data: Vec<u8> = (0u32..10_000).map(|n| u8::try_from(n % 251).unwrap_or(0)).collect();
        let mut out = vec![0; 10_000];
        assert_eq!(ring.push_from(&mut IoSrc::from_slice(&data[..3000]), usize::MAX), Ok(3000));
        assert_eq!(ring.copy_to(&mut IoDst::from_slice(&mut out[..2000]), 0, usize::MAX), Ok(2000));
        ring.consume(2000);
        assert_eq!(ring.push_from(&mut IoSrc::from_slice(&data[3000..6000]), usize::MAX), Ok(3000));
        assert_eq!(ring.push_from(&mut IoSrc::from_slice(&data[6000..]), 4000), Ok(4000));
        assert_eq!(ring.len(), 8000);
        assert_eq!(ring.copy_to(&mut IoDst::from_slice(&mut out[2000..]), 0, usize::MAX), Ok(8000));
        ring.consume(8000);
        assert!(ring.is_empty());
        assert!(out == data);
    }
}
