//! Linux: arch/x86/kernel/fpu/xstate.c. The extended state a guest may be given, as an XSAVE image in standard format.
//!
//! The checks the host kernel makes on an image are made here first, so that a guest's malformed signal frame is told
//! apart from a failure of the host.

use platform::arch::XSTATE_BV_OFFSET;
use platform::{FpState, PlatformError};
use std::arch::x86_64::__cpuid_count;

/// The x87 control word, MXCSR and its mask in the legacy area.
const FCW_OFFSET: usize = 0;
const MXCSR_OFFSET: usize = 24;
const MXCSR_MASK_OFFSET: usize = 28;
/// Where the host kernel notes the enabled features in the image of a register set. Linux:
/// arch/x86/include/uapi/asm/ptrace.h, `USER_XSTATE_XCR0_WORD`.
const XFEATURES_OFFSET: usize = 464;
/// The end of what the processor leaves to software in the legacy area.
const SOFTWARE_END: usize = 512;
/// End of the 64-byte XSAVE header.
const XSAVE_HEADER_END: usize = XSTATE_BV_OFFSET + 64;
/// Values after execve(2). Linux: arch/x86/kernel/fpu/init.c; arch/x86/mm/pkeys.c, `init_pkru_value`.
const INITIAL_FCW: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;
const INITIAL_PKRU: u32 = 0x5555_5554;
/// The mask of processors that report none. Linux: arch/x86/kernel/fpu/init.c.
const DEFAULT_MXCSR_MASK: u32 = 0xffbf;
/// The x87 and SSE registers in the legacy area.
const ST_OFFSET: usize = 32;
const XMM_OFFSET: usize = 160;
const XMM_END: usize = 416;
/// Bits of XSTATE_BV.
const XFEATURE_MASK_FP: u64 = 1;
const XFEATURE_MASK_SSE: u64 = 1 << 1;
const XFEATURE_MASK_YMM: u64 = 1 << 2;
const XFEATURE_PKRU: u32 = 9;
/// Tile registers, which a program must ask for. Linux: `XFEATURE_MASK_USER_DYNAMIC` and what belongs to it.
const XFEATURE_MASK_XTILE: u64 = 1 << 17 | 1 << 18;

/// Size and features of the host's image, and the initial one.
pub struct XstateLayout {
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

/// Size and byte offset of a feature's part in the standard format.
fn feature_place(feature: u32) -> (usize, usize) {
    #[allow(unused_unsafe)]
    // SAFETY: only asked for features that the processor has enabled, so there is such a leaf.
    let leaf = unsafe { __cpuid_count(0xd, feature) };
    (usize::try_from(leaf.eax).unwrap_or(0), usize::try_from(leaf.ebx).unwrap_or(0))
}

/// The features that XCR0 has enabled, 0 without XSAVE.
fn enabled_features() -> u64 {
    /// CPUID leaf 1, bit 27 of ecx.
    const OSXSAVE: u32 = 1 << 27;
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has the leaf.
    if unsafe { __cpuid_count(1, 0) }.ecx & OSXSAVE == 0 {
        return 0;
    }
    let (low, high): (u32, u32);
    // SAFETY: the instruction exists where the bit above is set.
    unsafe {
        std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

impl XstateLayout {
    /// The layout of what the host kernel saves of a program by default.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] on a processor without XSAVE.
    pub fn of_host() -> Result<XstateLayout, PlatformError> {
        XstateLayout::of_host_within(u64::MAX)
    }

    /// The same, without features that are not in `mask`.
    ///
    /// # Errors
    /// As [`XstateLayout::of_host`].
    pub fn of_host_within(mask: u64) -> Result<XstateLayout, PlatformError> {
        let features = enabled_features() & !XFEATURE_MASK_XTILE & mask;
        if features & XFEATURE_MASK_SSE == 0 {
            return Err(PlatformError::Unavailable("the processor must have XSAVE".into()));
        }
        let ends = (2..63).filter(|feature| features & 1 << feature != 0).map(|feature| {
            let (size, offset) = feature_place(feature);
            size + offset
        });
        let len = ends.fold(XSAVE_HEADER_END, usize::max);
        // The mask is among what FXSAVE writes.
        #[repr(C, align(16))]
        struct Legacy([u8; SOFTWARE_END]);
        let mut legacy = Legacy([0; SOFTWARE_END]);
        // SAFETY: the area has the size and alignment the instruction asks for, and every x86-64 processor has it.
        unsafe { std::arch::x86_64::_fxsave64(legacy.0.as_mut_ptr()) };
        Ok(XstateLayout::new(features, u32_at(&legacy.0, MXCSR_MASK_OFFSET).unwrap_or(0), len))
    }

    /// The layout of an image the host kernel has given for a register set.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] for an image without an XSAVE header.
    pub fn of_image(image: &[u8]) -> Result<XstateLayout, PlatformError> {
        match (u64_at(image, XFEATURES_OFFSET), u32_at(image, MXCSR_MASK_OFFSET)) {
            (Some(features), Some(mask)) => Ok(XstateLayout::new(features, mask, image.len())),
            _ => Err(PlatformError::Unavailable("the processor must have XSAVE".into())),
        }
    }

    fn new(features: u64, mask: u32, len: usize) -> XstateLayout {
        let mxcsr_mask = if mask == 0 { DEFAULT_MXCSR_MASK } else { mask };
        let mut initial = vec![0; len];
        put(&mut initial, FCW_OFFSET, &INITIAL_FCW.to_ne_bytes());
        put(&mut initial, MXCSR_OFFSET, &INITIAL_MXCSR.to_ne_bytes());
        put(&mut initial, MXCSR_MASK_OFFSET, &mask.to_ne_bytes());
        put(&mut initial, XFEATURES_OFFSET, &features.to_ne_bytes());
        let mut xstate_bv = 0;
        if features & (1 << XFEATURE_PKRU) != 0 {
            xstate_bv |= 1 << XFEATURE_PKRU;
            put(&mut initial, feature_place(XFEATURE_PKRU).1, &INITIAL_PKRU.to_ne_bytes());
        }
        put(&mut initial, XSTATE_BV_OFFSET, &u64::to_ne_bytes(xstate_bv));
        XstateLayout { features, mxcsr_mask, initial }
    }

    /// The features, as bits of XCR0.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// The image after execve(2).
    pub fn initial(&self) -> &[u8] {
        &self.initial
    }

    /// The bytes to load for `state`: those of the initial state for an empty one.
    ///
    /// # Errors
    /// [`PlatformError::InvalidState`] for a wrong length, features the host has not enabled, a compacted image, or
    /// reserved bits. Linux: `validate_user_xstate_header` and `copy_uabi_to_xstate`.
    pub fn checked<'a>(&'a self, state: &'a FpState) -> Result<&'a [u8], PlatformError> {
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

    /// Writes what an image only says to be initial into its legacy area. KVM_SET_XSAVE, for one, leaves the processor's
    /// MXCSR as it is otherwise.
    pub fn write_out_legacy(&self, image: &mut [u8]) {
        let Some(xstate_bv) = u64_at(image, XSTATE_BV_OFFSET) else { return };
        if xstate_bv & XFEATURE_MASK_FP == 0 {
            put(image, FCW_OFFSET, &[0; MXCSR_OFFSET - FCW_OFFSET]);
            put(image, FCW_OFFSET, &INITIAL_FCW.to_ne_bytes());
            put(image, ST_OFFSET, &[0; XMM_OFFSET - ST_OFFSET]);
        }
        if xstate_bv & XFEATURE_MASK_SSE == 0 {
            put(image, XMM_OFFSET, &[0; XMM_END - XMM_OFFSET]);
        }
        if xstate_bv & (XFEATURE_MASK_SSE | XFEATURE_MASK_YMM) == 0 {
            put(image, MXCSR_OFFSET, &INITIAL_MXCSR.to_ne_bytes());
        }
        let xstate_bv = xstate_bv | XFEATURE_MASK_FP | XFEATURE_MASK_SSE;
        put(image, XSTATE_BV_OFFSET, &xstate_bv.to_ne_bytes());
    }

    /// Turns an image that a signal frame held, or that a guest may have written to, into one like those of a register
    /// set: what software keeps beside the state is as the host kernel writes it there, and features that are not of this
    /// layout are left out.
    pub fn normalise(&self, image: &mut [u8]) {
        let xstate_bv = u64_at(image, XSTATE_BV_OFFSET).unwrap_or(0) & self.features;
        put(image, XSTATE_BV_OFFSET, &xstate_bv.to_ne_bytes());
        put(image, XFEATURES_OFFSET, &[0; SOFTWARE_END - XFEATURES_OFFSET]);
        put(image, XFEATURES_OFFSET, &self.features.to_ne_bytes());
    }
}
