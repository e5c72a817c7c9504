//! How guest code calls the sentry without a trap.

/// Where code that stands in for a `syscall` instruction jumps to: the addresses are in memory, at these offsets from the
/// base of GS, which is the back-end's own as long as the guest has set none.
///
/// The jump is made with all registers as for the call, and with the address behind the call in rcx. It is a
/// [`crate::Trap::Syscall`] like any other, after which [`crate::Context::used_gate`] is true.
#[derive(Clone, Copy, Debug)]
pub struct CallGate {
    /// For calls after which guest code goes on at rcx.
    pub returning: u32,
    /// For calls after which it goes on at r11, where what stands behind the call stands, too.
    pub elsewhere: u32,
}
