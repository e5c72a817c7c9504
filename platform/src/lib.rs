//! The interface between the sentry and whatever runs guest code.
//!
//! A back-end (ptrace, systrap, KVM) implements [`Platform`], [`AddressSpace`] and [`Context`]. Nothing above this crate
//! knows which one it has. The path of one trap: [`Context::switch`] loads registers, runs guest code until it traps,
//! stores the registers back and says why it stopped.
//!
//! Who calls what from where:
//! - A [`Context`] belongs to one task and, from its first `switch` on, to one host thread; it is dropped there too.
//! - [`AddressSpace::apply`] and [`Interrupter::interrupt`] may be called from any thread at any time.
#![forbid(unsafe_code)]

mod address_space;
pub mod arch;
mod call_gate;
mod context;
mod error;
mod stats;

pub use address_space::{AddressSpace, Backing, MapOp, Prot};
pub use arch::{FpState, PtRegs};
pub use call_gate::CallGate;
pub use context::{AccessType, Answer, Context, Fault, GuestSignal, Interrupter, Trap};
pub use error::PlatformError;
pub use stats::PlatformStats;

use std::sync::Arc;

/// A way to run guest code. One per sandbox.
pub trait Platform: Send + Sync {
    /// The name as `--platform` takes it.
    fn name(&self) -> &'static str;

    /// The half-open range of addresses a guest may map, page-aligned. What lies above it belongs to the back-end.
    fn user_range(&self) -> (u64, u64);

    /// Whether [`Backing::HostFile`] may be used in a [`MapOp`].
    fn maps_host_files(&self) -> bool;

    /// An empty address space.
    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, PlatformError>;

    /// A context for a task that starts in a fresh address space. A thread or a process that will share the
    /// address space of a running task is made by [`Context::new_sibling`] instead.
    fn new_context(&self) -> Result<Box<dyn Context + Send>, PlatformError>;

    /// The way into the sentry for call sites that were rewritten; `None` where each call traps anyway.
    fn call_gate(&self) -> Option<CallGate> {
        None
    }

    /// The back-end's counters.
    fn stats(&self) -> &PlatformStats;
}
