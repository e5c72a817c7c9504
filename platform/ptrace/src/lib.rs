//! The ptrace back-end: guest code runs in stub processes under `PTRACE_SYSEMU`.
//!
//! An address space is a host process ([`process`]) in which nothing is mapped but the stub's own two pages
//! ([`stub_code`]) and what the guest is given; a context is one of its threads, traced by the host thread that switches
//! into it ([`context`]). Changes of the mappings are system calls the sentry makes a stopped stub thread execute
//! ([`tracee`]). Stubs are forked from a zygote ([`zygote`]), ahead of need, by the keeper thread ([`keeper`]).
//!
//! Stubs share the descriptor table of the process that makes the platform, so that they can map its files; that
//! process must not leave the table (`unshare(CLONE_FILES)`) while the platform exists.
//!
//! Lock order: an address space's state before everything else here; no lock is held while guest code runs.
#![deny(missing_docs)]

mod access;
mod address_space;
mod context;
mod control_file;
mod filter;
mod fpu;
mod interrupt;
mod keeper;
mod placement;
mod process;
mod stub_code;
mod thread;
mod tracee;
mod trap;
mod zygote;

use crate::address_space::PtraceAddressSpace;
use crate::context::PtraceContext;
use crate::control_file::ControlFile;
use crate::keeper::Keeper;
use crate::placement::Placement;
use crate::process::StubProcess;
use crate::stub_code::{Entry, USER_END, USER_START};
use platform::{AddressSpace, Context, Platform, PlatformError, PlatformStats};
use platform_host::xstate::XstateLayout;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the address spaces and contexts of one platform share. It lives until the last of them is gone.
struct Shared {
    keeper: Keeper,
    placement: Arc<Placement>,
    memory_file: OwnedFd,
    xstate: XstateLayout,
    entry: Entry,
    stats: PlatformStats,
    next_id: AtomicU64,
}

impl Shared {
    /// The memory file's descriptor as a stub passes it to mmap.
    fn memory_fd(&self) -> u64 {
        u64::try_from(self.memory_file.as_raw_fd()).unwrap_or(u64::MAX)
    }
}

/// The ptrace platform.
pub struct PtracePlatform {
    shared: Arc<Shared>,
}

impl PtracePlatform {
    /// Makes the platform. `memory_file` is a descriptor of the memory file that [`platform::Backing::Memory`] means.
    ///
    /// To be called before the sentry confines itself: the first stub is a fork of it.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] when the host does not allow ptrace or seccomp filters.
    pub fn new(memory_file: OwnedFd) -> Result<Arc<PtracePlatform>, PlatformError> {
        let placement = Arc::new(Placement::new()?);
        let (keeper, xstate) = Keeper::start(ControlFile::new()?, placement.clone())?;
        let entry = Entry::in_stub();
        let shared = Shared {
            keeper,
            placement,
            memory_file,
            xstate,
            entry,
            stats: PlatformStats::default(),
            next_id: AtomicU64::new(1),
        };
        Ok(Arc::new(PtracePlatform { shared: Arc::new(shared) }))
    }
}

impl Platform for PtracePlatform {
    fn name(&self) -> &'static str {
        "ptrace"
    }

    fn user_range(&self) -> (u64, u64) {
        (USER_START, USER_END)
    }

    fn maps_host_files(&self) -> bool {
        true
    }

    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        let stub = self.shared.keeper.take()?;
        PlatformStats::count(&self.shared.stats.address_spaces);
        PlatformStats::count(&self.shared.stats.stub_threads);
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let process = StubProcess::new(id, stub, self.shared.clone());
        Ok(Arc::new(PtraceAddressSpace::new(Arc::new(process))))
    }

    fn new_context(&self) -> Result<Box<dyn Context + Send>, PlatformError> {
        Ok(Box::new(PtraceContext::new(self.shared.clone(), None)))
    }

    fn stats(&self) -> &PlatformStats {
        &self.shared.stats
    }
}
