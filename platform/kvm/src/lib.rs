//! The KVM back-end: guest code runs in ring 3 of a virtual machine, one for the sandbox.
//!
//! - [`device`] finds out whether `/dev/kvm` is of use; [`vm`] makes the machine, whose memory is the memory file in slots
//!   as it is used, and the [`arena`] for what belongs to the back-end.
//! - An [`address_space`] is a set of [`regions`] and the [`page_table`] made from them, in the arena.
//! - A [`vcpu`] is leased from the [`pool`] by a [`context`]. Guest code leaves it through the [`entry`] code, with one exit
//!   per trap; what that saves is in the [`percpu`] page.
//!
//! Guest code sees nothing of the host: no device, no interrupt, no memory but that of the memory file which the sentry has
//! mapped for it, and behind that the host kernel's own checks of every memory slot. What it can do in ring 3 ends at worst
//! in an exception, which is a trap.
#![deny(missing_docs)]

mod address_space;
mod arena;
mod context;
mod cpuid;
mod descriptors;
mod device;
mod entry;
mod interrupt;
mod page_table;
mod percpu;
mod pool;
mod regions;
pub mod requests;
mod trap;
mod vcpu;
mod vm;

pub use device::KvmDevice;

use crate::address_space::{KvmAddressSpace, Space, USER_END, USER_START};
use crate::context::KvmContext;
use crate::pool::Pool;
use crate::vm::{MAX_VCPUS, Vm};
use platform::{AddressSpace, Context, Platform, PlatformError, PlatformStats};
use std::ops::Range;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The descriptors of the back-end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvmDescriptors {
    /// The virtual machine's, on which the requests of [`requests::VM`] are made.
    pub vm: RawFd,
    /// Those that virtual processors have or will have, on which the requests of [`requests::VCPU`] are made. Each is put
    /// in its place by dup3(2) when its processor is made.
    pub vcpus: Range<RawFd>,
}

/// The KVM platform.
pub struct KvmPlatform {
    pool: Arc<Pool>,
    next_id: AtomicU64,
}

impl KvmPlatform {
    /// Makes the platform. `memory_file` is a descriptor of the memory file that [`platform::Backing::Memory`] means; it has
    /// its final size.
    ///
    /// To be called before the sentry confines itself. The device is not needed any more afterwards.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] where the device offers too little.
    pub fn new(device: KvmDevice, memory_file: OwnedFd) -> Result<Arc<KvmPlatform>, PlatformError> {
        KvmPlatform::with_vcpus(device, memory_file, MAX_VCPUS)
    }

    /// [`KvmPlatform::new`] with at most `max` virtual processors.
    ///
    /// # Errors
    /// As [`KvmPlatform::new`].
    #[allow(clippy::needless_pass_by_value)] // Both are closed here, as they should be.
    pub fn with_vcpus(
        device: KvmDevice,
        memory_file: OwnedFd,
        max: usize,
    ) -> Result<Arc<KvmPlatform>, PlatformError> {
        interrupt::install_handler()?;
        let vm = Arc::new(Vm::new(&device, &memory_file, max)?);
        let pool = Arc::new(Pool::new(vm));
        Ok(Arc::new(KvmPlatform { pool, next_id: AtomicU64::new(1) }))
    }

    /// The descriptors on which requests are made, for a filter.
    pub fn descriptors(&self) -> KvmDescriptors {
        let vm = self.pool.vm();
        KvmDescriptors { vm: vm.raw_fd(), vcpus: vm.vcpu_fds() }
    }
}

impl Platform for KvmPlatform {
    fn name(&self) -> &'static str {
        "kvm"
    }

    fn user_range(&self) -> (u64, u64) {
        (USER_START, USER_END)
    }

    fn maps_host_files(&self) -> bool {
        false
    }

    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let space = Space::new(self.pool.vm().clone(), id)?;
        PlatformStats::count(&self.pool.stats.address_spaces);
        Ok(Arc::new(KvmAddressSpace::new(space, self.pool.clone())))
    }

    fn new_context(&self) -> Result<Box<dyn Context + Send>, PlatformError> {
        Ok(Box::new(KvmContext::new(self.pool.clone())))
    }

    fn stats(&self) -> &PlatformStats {
        &self.pool.stats
    }
}
