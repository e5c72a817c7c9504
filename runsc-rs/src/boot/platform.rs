//! The choice of what runs guest code.

use crate::config::PlatformKind;
use anyhow::{Context, Result, anyhow};
use platform::Platform;
use platform_kvm::{KvmDescriptors, KvmDevice, KvmPlatform};
use platform_ptrace::PtracePlatform;
use platform_systrap::SystrapPlatform;
use sentry_mm::MemoryFile;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Opens `/dev/kvm` while there is a `/dev`, if guests are going to run on it.
///
/// # Errors
/// When it was asked for by name and is of no use.
pub(super) fn open_kvm(kind: PlatformKind) -> Result<Option<KvmDevice>> {
    match kind {
        PlatformKind::Kvm => KvmDevice::open().map(Some).map_err(|e| anyhow!("--platform=kvm: {e}")),
        PlatformKind::Auto => {
            let device = KvmDevice::open().inspect_err(|error| tracing::debug!("not kvm: {error}")).ok();
            // In a virtual machine, or an emulated one, each exit costs more than other back-ends take for a whole call.
            Ok(device.filter(KvmDevice::is_on_hardware))
        }
        PlatformKind::Ptrace | PlatformKind::Systrap => Ok(None),
    }
}

/// Makes the back-end. Beside it, the descriptors of the virtual machine if it has one, which a filter is to know.
///
/// # Errors
/// When the back-end that was asked for, or every one of them, cannot work on this host.
pub(super) fn make(
    kind: PlatformKind,
    kvm: Option<KvmDevice>,
    memory: &MemoryFile,
) -> Result<(Arc<dyn Platform>, Option<KvmDescriptors>)> {
    let fd = || memory.fd().as_fd().try_clone_to_owned().context("cannot duplicate the memory file");
    if let Some(device) = kvm {
        match KvmPlatform::new(device, fd()?) {
            Ok(kvm) => {
                let descriptors = kvm.descriptors();
                return Ok((announce(kvm), Some(descriptors)));
            }
            Err(error) if kind == PlatformKind::Kvm => return Err(anyhow!("--platform=kvm: {error}")),
            Err(error) => tracing::debug!("not kvm: {error}"),
        }
    }
    let platform = match kind {
        PlatformKind::Kvm => return Err(anyhow!("--platform=kvm: /dev/kvm was not opened")),
        PlatformKind::Ptrace => ptrace(fd()?)?,
        PlatformKind::Systrap => systrap(fd()?).map_err(|e| anyhow!("--platform=systrap: {e}"))?,
        PlatformKind::Auto => match systrap(fd()?) {
            Ok(systrap) => systrap,
            Err(error) => {
                tracing::debug!("not systrap: {error}");
                ptrace(fd()?)?
            }
        },
    };
    Ok((announce(platform), None))
}

fn ptrace(memory: OwnedFd) -> Result<Arc<dyn Platform>> {
    Ok(PtracePlatform::new(memory)?)
}

fn systrap(memory: OwnedFd) -> Result<Arc<dyn Platform>> {
    Ok(SystrapPlatform::new(memory)?)
}

fn announce(platform: Arc<dyn Platform>) -> Arc<dyn Platform> {
    tracing::debug!(platform = platform.name(), "the back-end");
    platform
}
