//! Linux: arch/x86/kernel/fpu/regset.c and xstate.c. The extended state a stub may be given.
//!
//! The checks the host kernel makes on `PTRACE_SETREGSET` are made here first, so that a guest's malformed signal frame
//! is told apart from a failure of the host.

use crate::tracee::ptrace_error;
use platform::arch::XSTATE_BV_OFFSET;
use platform::{FpState, PlatformError};
use platform_host::ptrace;

/// More than any processor's image (with AMX tiles it is 11 KiB).
const MAX_XSTATE: usize = 64 * 1024;
/// The x87 control word, MXCSR and its mask in the legacy area.
const FCW_OFFSET: usize = 0;
const MXCSR_OFFSET: usize = 24;
const MXCSR_MASK_OFFSET: usize = 28;
/// Where the host kernel notes the enabled features. Linux: arch/x86/include/uapi/asm/sigcontext.h, `xfeatures`.
const XFEATURES_OFFSET: usize = 464;
/// End of the 64-byte XSAVE header.
const XSAVE_HEADER_END: usize = XSTATE_BV_OFFSET + 64;
/// Values after execve(2). Linux: arch/x86/kernel/fpu/init.c; arch/x86/mm/pkeys.c, `init_pkru_value`.
const INITIAL_FCW: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;
const INITIAL_PKRU: u32 = 0x5555_5554;
/// The mask of processors that report none. Linux: arch/x86/kernel/fpu/init.c.
const DEFAULT_MXCSR_MASK: u32 = 0xffbf;
/// Bits of XSTATE_BV.
const XFEATURE_MASK_SSE: u64 = 1 << 1;
const XFEATURE_MASK_YMM: u64 = 1 << 2;
const XFEATURE_PKRU: u32 = 9;

/// Size and features of the host's image, and the initial one.
pub(crate) struct XstateLayout {
    features: u64,
    mxcsr_mask: u32,
    initial: Vec<u8>,
}

fn u32_at(image: &[u8], offset: usize) -> Option<u32> {
    image.get(offset..offset + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u64_at(image: &[u8], offset: usize) -> Option<u64> {
    image.get(offset..offset + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

fn put(image: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = image.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Byte offset of PKRU in the standard format.
fn pkru_offset() -> usize {
    usize::try_from(std::arch::x86_64::__cpuid_count(0xd, XFEATURE_PKRU).ebx).unwrap_or(0)
}

impl XstateLayout {
    /// Learns the layout from a stopped thread.
    pub(crate) fn of_tracee(tid: i32) -> Result<XstateLayout, PlatformError> {
        let mut image = vec![0; MAX_XSTATE];
        let len = ptrace::get_xstate(tid, &mut image).map_err(|errno| {
            PlatformError::Unavailable(format!("the processor must have XSAVE: PTRACE_GETREGSET: {errno}"))
        })?;
        image.truncate(len);
        let (Some(features), Some(mask)) =
            (u64_at(&image, XFEATURES_OFFSET), u32_at(&image, MXCSR_MASK_OFFSET))
        else {
            return Err(PlatformError::Unavailable("the processor must have XSAVE".into()));
        };
        let mxcsr_mask = if mask == 0 { DEFAULT_MXCSR_MASK } else { mask };
        let mut initial = vec![0; len];
        put(&mut initial, FCW_OFFSET, &INITIAL_FCW.to_ne_bytes());
        put(&mut initial, MXCSR_OFFSET, &INITIAL_MXCSR.to_ne_bytes());
        put(&mut initial, MXCSR_MASK_OFFSET, &mask.to_ne_bytes());
        put(&mut initial, XFEATURES_OFFSET, &features.to_ne_bytes());
        let mut xstate_bv = 0;
        if features & (1 << XFEATURE_PKRU) != 0 {
            xstate_bv |= 1 << XFEATURE_PKRU;
            put(&mut initial, pkru_offset(), &INITIAL_PKRU.to_ne_bytes());
        }
        put(&mut initial, XSTATE_BV_OFFSET, &u64::to_ne_bytes(xstate_bv));
        Ok(XstateLayout { features, mxcsr_mask, initial })
    }

    /// The image after execve(2).
    pub(crate) fn initial(&self) -> &[u8] {
        &self.initial
    }

    /// The bytes to load for `state`: those of the initial state for an empty one.
    ///
    /// # Errors
    /// [`PlatformError::InvalidState`] for a wrong length, features the host has not enabled, a compacted image, or
    /// reserved bits. Linux: `validate_user_xstate_header` and `copy_uabi_to_xstate`.
    pub(crate) fn checked<'a>(&'a self, state: &'a FpState) -> Result<&'a [u8], PlatformError> {
        let image = state.as_bytes();
        if image.is_empty() {
            return Ok(&self.initial);
        }
        if image.len() != self.initial.len() {
            return Err(PlatformError::InvalidState);
        }
        let header = image.get(XSTATE_BV_OFFSET + 8..XSAVE_HEADER_END).ok_or(PlatformError::InvalidState)?;
        let xstate_bv = u64_at(image, XSTATE_BV_OFFSET).ok_or(PlatformError::InvalidState)?;
        let mxcsr = u32_at(image, MXCSR_OFFSET).ok_or(PlatformError::InvalidState)?;
        // XCOMP_BV, which a standard image leaves 0, is the first word of what must be zero.
        let reserved = header.iter().any(|byte| *byte != 0);
        let uses_mxcsr = xstate_bv & (XFEATURE_MASK_SSE | XFEATURE_MASK_YMM) != 0;
        if reserved || xstate_bv & !self.features != 0 || (uses_mxcsr && mxcsr & !self.mxcsr_mask != 0) {
            return Err(PlatformError::InvalidState);
        }
        Ok(image)
    }

    /// Reads the state of a stopped thread.
    pub(crate) fn read(&self, tid: i32) -> Result<FpState, PlatformError> {
        let mut image = vec![0; self.initial.len()];
        let len = ptrace::get_xstate(tid, &mut image).map_err(ptrace_error("PTRACE_GETREGSET"))?;
        image.truncate(len);
        Ok(FpState::from_bytes(image))
    }

    /// Loads a checked image into a stopped thread.
    pub(crate) fn load(&self, tid: i32, image: &[u8]) -> Result<(), PlatformError> {
        ptrace::set_xstate(tid, image).map_err(ptrace_error("PTRACE_SETREGSET"))
    }
}
