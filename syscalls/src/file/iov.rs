//! Linux: lib/iov_iter.c, `import_iovec` and `import_single_range`.

use super::user::access_ok;
use sentry_kernel::CurrentTask;
use sentry_mm::UserRange;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, EINVAL};
use sentry_uapi::uio::{Iovec, MAX_RW_COUNT, UIO_MAXIOV};
use smallvec::SmallVec;

/// Buffers of a call, in guest memory, of which some have been used up.
pub(crate) struct UserIov {
    ranges: SmallVec<[UserRange; 4]>,
    /// The first that is not used up.
    at: usize,
    left: usize,
}

impl UserIov {
    /// One buffer. Longer ones than a call can transfer are cut.
    ///
    /// # Errors
    /// `EFAULT` for a range that cannot be guest memory.
    pub(crate) fn single(addr: u64, len: usize) -> Result<UserIov, Errno> {
        if !access_ok(addr, len as u64) {
            return Err(EFAULT);
        }
        let len = len.min(MAX_RW_COUNT);
        Ok(UserIov { ranges: smallvec::smallvec![UserRange { addr, len }], at: 0, left: len })
    }

    /// Those an array of `struct iovec` gives.
    ///
    /// # Errors
    /// `EINVAL` for more than `UIO_MAXIOV` or a negative length; `EFAULT`.
    pub(crate) fn import(task: &CurrentTask, addr: u64, count: u64) -> Result<UserIov, Errno> {
        let count = usize::try_from(count).ok().filter(|n| *n <= UIO_MAXIOV).ok_or(EINVAL)?;
        let vecs = task.user()?.read_array::<Iovec>(addr, count)?;
        let mut ranges = SmallVec::with_capacity(vecs.len());
        let mut left = 0;
        for v in vecs {
            if v.iov_len > i64::MAX.cast_unsigned() {
                return Err(EINVAL);
            }
            if !access_ok(v.iov_base, v.iov_len) {
                return Err(EFAULT);
            }
            let len = usize::try_from(v.iov_len).unwrap_or(usize::MAX).min(MAX_RW_COUNT - left);
            if len > 0 {
                ranges.push(UserRange { addr: v.iov_base, len });
                left += len;
            }
        }
        Ok(UserIov { ranges, at: 0, left })
    }

    /// Bytes not used up.
    pub(crate) fn len(&self) -> usize {
        self.left
    }

    /// The buffers not used up.
    pub(crate) fn ranges(&self) -> &[UserRange] {
        self.ranges.get(self.at..).unwrap_or_default()
    }

    /// Uses up `n` bytes.
    pub(crate) fn advance(&mut self, n: usize) {
        let mut n = n.min(self.left);
        self.left -= n;
        while n > 0 {
            let Some(range) = self.ranges.get_mut(self.at) else { return };
            let step = range.len.min(n);
            range.addr += step as u64;
            range.len -= step;
            n -= step;
            if range.len == 0 {
                self.at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn buffers_are_used_up_in_order() {
        let ranges = [UserRange { addr: 0x1000, len: 10 }, UserRange { addr: 0x9000, len: 5 }];
        let mut iov = UserIov { ranges: SmallVec::from_slice(&ranges), at: 0, left: 15 };
        iov.advance(4);
        assert_eq!(iov.ranges().first(), Some(&UserRange { addr: 0x1004, len: 6 }));
        iov.advance(8);
        assert_eq!(iov.ranges(), [UserRange { addr: 0x9002, len: 3 }]);
        iov.advance(100);
        assert_eq!((iov.len(), iov.ranges().len()), (0, 0));
    }

    #[test]
    fn a_range_outside_the_address_space_is_refused() {
        assert!(UserIov::single(u64::MAX, 2).is_err());
        assert!(UserIov::single(1 << 47, 1).is_err());
        assert!(UserIov::single((1 << 47) - 4096, 0).is_ok());
    }
}
