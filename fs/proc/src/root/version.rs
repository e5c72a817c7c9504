//! `/proc/{version,cmdline}`. Linux: fs/proc/version.c, fs/proc/cmdline.c.

use crate::procfs::Shared;
use crate::seq::put;
use sentry_kernel::Kernel;
use sentry_uapi::Errno;

pub(super) fn show(_kernel: &Kernel, shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    let (release, version) = (&shared.params.release, &shared.params.version);
    put(out, format_args!("Linux version {release} (runsc-rs@runsc-rs) (rustc) {version}\n"));
    Ok(())
}

pub(super) fn cmdline(_kernel: &Kernel, shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.extend_from_slice(&shared.params.cmdline);
    out.push(b'\n');
    Ok(())
}
