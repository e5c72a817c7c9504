//! capget(2), capset(2) and the bounding and ambient sets of prctl(2).

use nix::errno::Errno;
use std::ffi::c_ulong;

/// `_LINUX_CAPABILITY_VERSION_3`: two words a set.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The effective set of the calling thread.
///
/// # Errors
/// As capget(2).
pub fn effective_capabilities() -> Result<u64, Errno> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: the kernel reads one header and, by its version, writes two words of data.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) };
    Errno::result(result)?;
    let [low, high] = data;
    Ok(u64::from(low.effective) | u64::from(high.effective) << 32)
}

/// Makes `keep` (bit *n* is capability *n*) the permitted and effective set of the calling thread and empties its
/// inheritable, ambient and bounding sets, so that no capability can be had again.
///
/// # Errors
/// `EPERM` when `keep` holds what the thread does not have.
pub fn drop_capabilities(keep: u64) -> Result<(), Errno> {
    for cap in 0..64u64 {
        // SAFETY: passes numbers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, cap as c_ulong, 0, 0, 0) } != 0 {
            match Errno::last() {
                // Beyond the host's last capability, or without CAP_SETPCAP: then no_new_privs has to do.
                Errno::EINVAL | Errno::EPERM => break,
                e => return Err(e),
            }
        }
    }
    // SAFETY: passes numbers only.
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    Errno::result(cleared)?;
    let header = Header { version: VERSION_3, pid: 0 };
    let word = |shift: u32| {
        let bits = u32::try_from((keep >> shift) & u64::from(u32::MAX)).unwrap_or(0);
        Data { effective: bits, permitted: bits, inheritable: 0 }
    };
    let data = [word(0), word(32)];
    // SAFETY: the kernel reads one header and, by its version, two words of data.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    Errno::result(result).map(drop)
}
