//! `/dev/kvm`: whether there is one, and whether it is of use.
//!
//! Linux: Documentation/virt/kvm/api.rst.

use kvm_ioctls::{Cap, Kvm};
use platform::PlatformError;
use std::arch::x86_64::__cpuid;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::path::Path;

/// The version of the interface that every kernel since 2.6.22 has.
const KVM_API_VERSION: i32 = 12;

/// Modules that serve `/dev/kvm` without the processor's virtualisation, and what they are.
const SOFTWARE: [&str; 1] = ["kvm_pvm"];
/// Where the processor's own modules say whether the second level of paging is used, which the page tables here rely on.
const SECOND_LEVEL: [&str; 2] =
    ["/sys/module/kvm_amd/parameters/npt", "/sys/module/kvm_intel/parameters/ept"];

/// An open `/dev/kvm` that the back-end can work with.
pub struct KvmDevice {
    kvm: Kvm,
    on_hardware: bool,
}

impl KvmDevice {
    /// Opens the device. Looks at `/dev` and `/sys`: to be called before the process's root is emptied.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] with one line that says why the device is of no use.
    pub fn open() -> Result<KvmDevice, PlatformError> {
        for module in SOFTWARE {
            if Path::new("/sys/module").join(module).exists() {
                return Err(unavailable(format_args!("/dev/kvm is software-only here ({module})")));
            }
        }
        let fd = fs::File::options().read(true).write(true).open("/dev/kvm").map_err(|error| match error
            .kind()
        {
            io::ErrorKind::NotFound => unavailable(format_args!("there is no /dev/kvm here")),
            io::ErrorKind::PermissionDenied => {
                unavailable(format_args!("/dev/kvm may not be opened by this user"))
            }
            _ => unavailable(format_args!("/dev/kvm: {error}")),
        })?;
        // SAFETY: the descriptor was just opened and is owned by nobody else.
        let kvm = unsafe { Kvm::from_raw_fd(fd.into_raw_fd()) };
        check(&kvm)?;
        Ok(KvmDevice { kvm, on_hardware: !is_guest() })
    }

    /// Whether the processor itself does the work, rather than a hypervisor below that may well emulate all of it.
    pub fn is_on_hardware(&self) -> bool {
        self.on_hardware
    }

    pub(crate) fn kvm(&self) -> &Kvm {
        &self.kvm
    }
}

impl AsRawFd for KvmDevice {
    fn as_raw_fd(&self) -> RawFd {
        self.kvm.as_raw_fd()
    }
}

impl fmt::Debug for KvmDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KvmDevice({})", self.as_raw_fd())
    }
}

pub(crate) fn unavailable(why: fmt::Arguments<'_>) -> PlatformError {
    PlatformError::Unavailable(format!("{why}; use --platform=systrap or leave the choice to auto"))
}

fn check(kvm: &Kvm) -> Result<(), PlatformError> {
    if kvm.get_api_version() != KVM_API_VERSION {
        return Err(unavailable(format_args!("/dev/kvm has another interface than that of Linux")));
    }
    let enabled = |path: &str| fs::read_to_string(path).is_ok_and(|text| matches!(text.trim(), "Y" | "1"));
    if !SECOND_LEVEL.into_iter().any(enabled) {
        return Err(unavailable(format_args!("/dev/kvm works without nested paging here")));
    }
    let needed = [
        (Cap::UserMemory, "memory slots"),
        (Cap::SyncRegs, "KVM_CAP_SYNC_REGS"),
        (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
        (Cap::Xsave, "KVM_CAP_XSAVE"),
        (Cap::Xcrs, "KVM_CAP_XCRS"),
        (Cap::VcpuEvents, "KVM_CAP_VCPU_EVENTS"),
    ];
    match needed.into_iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
        Some((_, name)) => Err(unavailable(format_args!("/dev/kvm lacks {name}"))),
        None => Ok(()),
    }
}

/// Whether this processor is a virtual one.
fn is_guest() -> bool {
    /// CPUID leaf 1, bit 31 of ecx.
    const HYPERVISOR: u32 = 1 << 31;
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has the leaf.
    let leaf = unsafe { __cpuid(1) };
    leaf.ecx & HYPERVISOR != 0
}
