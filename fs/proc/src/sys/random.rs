//! `/proc/sys/kernel/random`. Linux: drivers/char/random.c.

use super::ctl::{computed, dir, fixed, uint};
use crate::procfs::current;
use fs_kernfs::Node;
use sentry_kernel::Kernel;
use sentry_uapi::errno::ESRCH;

/// Bits of the pool. Linux: `POOL_BITS`.
const POOL_BITS: u32 = 256;

pub(super) fn random_dir(kernel: &Kernel) -> Node {
    dir([
        ("boot_id", fixed(random_uuid(kernel))),
        ("entropy_avail", fixed(POOL_BITS)),
        ("poolsize", fixed(POOL_BITS)),
        ("urandom_min_reseed_secs", uint(0o644, 60)),
        (
            "uuid",
            computed(|ctx, out| {
                out.extend_from_slice(random_uuid(current(ctx).ok_or(ESRCH)?.kernel()).as_bytes());
                out.push(b'\n');
                Ok(())
            }),
        ),
        ("write_wakeup_threshold", uint(0o644, POOL_BITS.into())),
    ])
}

fn random_uuid(kernel: &Kernel) -> String {
    let mut bytes = [0; 16];
    kernel.random(&mut bytes);
    format_uuid(bytes)
}

/// A random UUID, version 4 of variant DCE. Linux: lib/uuid.c, `generate_random_uuid`.
fn format_uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_say_that_they_are_random() {
        assert_eq!(format_uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(format_uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
