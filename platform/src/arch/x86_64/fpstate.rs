//! Linux: arch/x86/include/asm/fpu/types.h, `struct xregs_state`.

/// Byte offset of XSTATE_BV, the first word of the XSAVE header, behind the 512 bytes of the legacy area.
pub const XSTATE_BV_OFFSET: usize = 512;

/// An XSAVE image in the standard (not compacted) format, as `PTRACE_GETREGSET` with `NT_X86_XSTATE` gives it.
///
/// Its length is that of the host's enabled features; an empty one stands for the state after execve(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FpState {
    bytes: Vec<u8>,
}

impl FpState {
    /// Takes an image as it is. Whether the processor would load it is checked where it is loaded.
    pub fn from_bytes(bytes: Vec<u8>) -> FpState {
        FpState { bytes }
    }

    /// The image.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
