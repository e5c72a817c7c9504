//! `/proc/{devices,misc,filesystems}`. Linux: fs/proc/devices.c, drivers/char/misc.c, fs/filesystems.c.

use crate::procfs::Shared;
use crate::seq::put;
use fs_vfs::DeviceKind;
use sentry_kernel::Kernel;
use sentry_uapi::Errno;

pub(super) fn show(kernel: &Kernel, _shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    let drivers = kernel.vfs.devices().list();
    for (kind, title) in
        [(DeviceKind::Char, "Character devices:\n"), (DeviceKind::Block, "\nBlock devices:\n")]
    {
        out.extend_from_slice(title.as_bytes());
        for (_, major, name) in drivers.iter().filter(|(k, ..)| *k == kind) {
            put(out, format_args!("{major:>3} {name}\n"));
        }
    }
    Ok(())
}

/// There are no miscellaneous devices but those that are listed under their own major numbers.
pub(super) fn misc(_kernel: &Kernel, _shared: &Shared, _out: &mut Vec<u8>) -> Result<(), Errno> {
    Ok(())
}

pub(super) fn filesystems(kernel: &Kernel, _shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    for (name, nodev) in kernel.vfs.filesystems().list() {
        put(out, format_args!("{}\t{name}\n", if nodev { "nodev" } else { "" }));
    }
    Ok(())
}
