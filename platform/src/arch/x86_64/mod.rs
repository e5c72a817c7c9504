//! Registers of x86_64.

mod fpstate;
mod ptregs;

pub use fpstate::{FpState, XSTATE_BV_OFFSET};
pub use ptregs::PtRegs;
