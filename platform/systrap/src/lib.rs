//! The systrap back-end: guest code runs in stub processes, and every system call or fault of it raises a signal there,
//! whose handler hands over to the sentry through shared memory.
//!
//! An address space is a host process ([`process`]) in which nothing is mapped but the stub's own pages ([`layout`],
//! [`stub_code`]) and what the guest is given. Its first thread carries out changes of the mappings ([`mapper`]); each
//! context has one of its other threads ([`thread`]), whose traps the sentry reads from the signal frames ([`trap`]).
//! No thread is traced. What keeps guest code from the host kernel is a seccomp filter, and [`filter`] says why that is
//! enough. Stubs are forked from a zygote ([`zygote`]), ahead of need, by the keeper thread ([`keeper`]), which also takes
//! back those whose guest has left and has them serve another one: `thread::StubThread::reset` says why that is safe.
//!
//! Stubs share the descriptor table of the process that makes the platform, so that they can map its files; that
//! process must not leave the table (`unshare(CLONE_FILES)`) while the platform exists.
//!
//! Lock order: an address space's state before everything else here; no lock is held while guest code runs.
#![deny(missing_docs)]

mod address_space;
mod context;
mod control_file;
mod duo;
mod filter;
mod interrupt;
mod keeper;
mod layout;
mod mapper;
mod pace;
mod process;
mod spawn_code;
mod stub_code;
mod thread;
mod trap;
mod turn;
mod zygote;

use crate::address_space::SystrapAddressSpace;
use crate::context::SystrapContext;
use crate::control_file::ControlFile;
use crate::duo::Processors;
use crate::keeper::Keeper;
use crate::layout::{USER_END, USER_START, slot};
use crate::process::StubProcess;
use crate::stub_code::{Gate, gate};
use crate::thread::StubThread;
use platform::{AddressSpace, CallGate, Context, Platform, PlatformError, PlatformStats};
use platform_host::auxv;
use platform_host::xstate::XstateLayout;
use platform_placement::Placement;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the address spaces and contexts of one platform share. It lives until the last of them is gone.
struct Shared {
    keeper: Keeper,
    control: Arc<ControlFile>,
    placement: Arc<Placement<StubThread>>,
    processors: Processors,
    memory_file: OwnedFd,
    gate: Gate,
    xstate: XstateLayout,
    stats: PlatformStats,
    next_id: AtomicU64,
}

/// Linux: arch/x86/include/uapi/asm/hwcap2.h.
const HWCAP2_FSGSBASE: u64 = 1 << 1;

/// The systrap platform.
pub struct SystrapPlatform {
    shared: Arc<Shared>,
}

impl SystrapPlatform {
    /// Makes the platform. `memory_file` is a descriptor of the memory file that [`platform::Backing::Memory`] means.
    ///
    /// To be called before the sentry confines itself: the first stub is a fork of it.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] when the host or the processor lacks what stubs need.
    pub fn new(memory_file: OwnedFd) -> Result<Arc<SystrapPlatform>, PlatformError> {
        if auxv::hwcap2() & HWCAP2_FSGSBASE == 0 {
            return Err(PlatformError::Unavailable(
                "the processor and the host kernel (5.9 or later) must let programs set segment bases (FSGSBASE)"
                    .into(),
            ));
        }
        let xstate = XstateLayout::of_host()?;
        if u64::try_from(xstate.initial().len()).is_ok_and(|len| len > slot::XSTATE_SIZE) {
            return Err(PlatformError::Unavailable("the processor's extended state is too large".into()));
        }
        platform_host::uaccess::install_fault_handlers();
        let control = ControlFile::new()?;
        let placement = Arc::new(Placement::new()?);
        let processors = Processors::new(placement.cpus().to_vec());
        let keeper = Keeper::start(control.clone(), placement.clone())?;
        let shared = Shared {
            keeper,
            control,
            placement,
            processors,
            memory_file,
            gate: gate(),
            xstate,
            stats: PlatformStats::default(),
            next_id: AtomicU64::new(1),
        };
        Ok(Arc::new(SystrapPlatform { shared: Arc::new(shared) }))
    }
}

impl Platform for SystrapPlatform {
    fn name(&self) -> &'static str {
        "systrap"
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
        Ok(Arc::new(SystrapAddressSpace::new(Arc::new(process))))
    }

    fn new_context(&self) -> Result<Box<dyn Context + Send>, PlatformError> {
        Ok(Box::new(SystrapContext::new(self.shared.clone())))
    }

    fn call_gate(&self) -> Option<CallGate> {
        let at = |offset: u64| u32::try_from(offset).ok();
        Some(CallGate { returning: at(slot::GATE)?, elsewhere: at(slot::GATE_ELSEWHERE)? })
    }

    fn stats(&self) -> &PlatformStats {
        &self.shared.stats
    }
}
