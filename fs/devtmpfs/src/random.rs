//! Linux: drivers/char/random.c. Both devices give the host's random bytes, which never run out.

use crate::mem::swallow;
use fs_vfs::{File, FileOps, TaskContext, Written};
use platform_host::random::getrandom;
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::any::Any;

/// ioctl(2): how many bits of entropy there are. Linux: include/uapi/linux/random.h.
const RNDGETENTCNT: u32 = 0x8004_5200;

/// What a full pool holds. Linux: `POOL_BITS`.
const POOL_BITS: i32 = 256;

/// Most bytes of one read, and how many are drawn at once.
const READ_MAX: usize = (1 << 25) - 1;
const CHUNK: usize = 16 << 10;

/// `/dev/random` and `/dev/urandom`.
pub(crate) struct RandomFile {
    pub(crate) pollable: bool,
}

impl FileOps for RandomFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        let mut left = dst.remaining().min(READ_MAX);
        let mut buf = vec![0; left.min(CHUNK)];
        let mut total = 0;
        while left > 0 {
            let Some(chunk) = buf.get_mut(..left.min(CHUNK)) else { break };
            getrandom(chunk)?;
            match dst.write(chunk) {
                Ok(0) => break,
                Ok(n) => {
                    total += n;
                    left -= n;
                }
                Err(e) if total == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(total)
    }

    /// What is written would stir a pool that is the host's.
    fn write(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        Ok(swallow(src, pos))
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Ok(0)
    }

    fn pollable(&self) -> bool {
        self.pollable
    }

    fn ioctl(&self, _file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        if cmd != RNDGETENTCNT {
            return Err(EINVAL);
        }
        ctx.mm()?.write_obj(arg, &POOL_BITS)?;
        Ok(0)
    }
}
