//! What the guest's processors can do, and the control registers that go with it.
//!
//! Linux: arch/x86/kernel/cpu/common.c.

use crate::device::unavailable;
use crate::vm::host;
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::Kvm;
use platform::PlatformError;
use platform_host::xstate::XstateLayout;

/// Bits of CR4. Linux: arch/x86/include/uapi/asm/processor-flags.h.
const X86_CR4_PAE: u64 = 1 << 5;
const X86_CR4_PGE: u64 = 1 << 7;
const X86_CR4_OSFXSR: u64 = 1 << 9;
const X86_CR4_OSXMMEXCPT: u64 = 1 << 10;
const X86_CR4_UMIP: u64 = 1 << 11;
const X86_CR4_FSGSBASE: u64 = 1 << 16;
const X86_CR4_PCIDE: u64 = 1 << 17;
const X86_CR4_OSXSAVE: u64 = 1 << 18;
const X86_CR4_SMEP: u64 = 1 << 20;

/// Features of leaf 1 (ecx), leaf 7 (ebx, ecx) and leaf 0x80000001 (ecx).
const LEAF1_ECX_VMX: u32 = 1 << 5;
const LEAF1_ECX_PCID: u32 = 1 << 17;
const LEAF1_ECX_XSAVE: u32 = 1 << 26;
const LEAF7_EBX_FSGSBASE: u32 = 1;
const LEAF7_EBX_SMEP: u32 = 1 << 7;
const LEAF7_ECX_UMIP: u32 = 1 << 2;
const LEAF7_ECX_PKU: u32 = 1 << 3;
const EXT1_ECX_SVM: u32 = 1 << 2;

/// XFEATURE_PKRU, which goes with protection keys.
const XFEATURE_MASK_PKRU: u64 = 1 << 9;

/// The guest's CPUID and what follows from it.
pub(crate) struct GuestCpuid {
    pub(crate) table: CpuId,
    pub(crate) cr4: u64,
    /// The extended state, and with its features XCR0.
    pub(crate) xstate: XstateLayout,
    pub(crate) has_pcid: bool,
    phys_bits: u32,
}

impl GuestCpuid {
    pub(crate) fn new(kvm: &Kvm) -> Result<GuestCpuid, PlatformError> {
        let mut table =
            kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(host("KVM_GET_SUPPORTED_CPUID"))?;
        for entry in table.as_mut_slice() {
            match (entry.function, entry.index) {
                (1, _) => entry.ecx &= !LEAF1_ECX_VMX,
                // The guest kernel has no protection keys, so neither has the processor.
                (7, 0) => entry.ecx &= !LEAF7_ECX_PKU,
                (0x8000_0001, _) => entry.ecx &= !EXT1_ECX_SVM,
                _ => {}
            }
        }
        let leaf = |function, index| find(&table, function, index);
        let (basic, structured) = (leaf(1, 0), leaf(7, 0));
        let extended_state = leaf(0xd, 0);
        if basic.ecx & LEAF1_ECX_XSAVE == 0 || structured.ebx & LEAF7_EBX_FSGSBASE == 0 {
            return Err(unavailable(format_args!("/dev/kvm offers guests no XSAVE or FSGSBASE")));
        }
        // SMAP stays off: ring 0 follows no pointer of the guest's, and with it QEMU's emulation has `lret` of ring 3 fault.
        let optional = [
            (basic.ecx & LEAF1_ECX_PCID, X86_CR4_PCIDE),
            (structured.ebx & LEAF7_EBX_SMEP, X86_CR4_SMEP),
            (structured.ecx & LEAF7_ECX_UMIP, X86_CR4_UMIP),
        ];
        let always = X86_CR4_PAE
            | X86_CR4_PGE
            | X86_CR4_OSFXSR
            | X86_CR4_OSXMMEXCPT
            | X86_CR4_FSGSBASE
            | X86_CR4_OSXSAVE;
        let cr4 =
            optional.into_iter().filter(|(feature, _)| *feature != 0).fold(always, |cr4, (_, bit)| cr4 | bit);
        let supported = u64::from(extended_state.edx) << 32 | u64::from(extended_state.eax);
        let xstate = XstateLayout::of_host_within(supported & !XFEATURE_MASK_PKRU)?;
        let phys_bits = (leaf(0x8000_0008, 0).eax & 0xff).clamp(36, 52);
        Ok(GuestCpuid { cr4, xstate, has_pcid: cr4 & X86_CR4_PCIDE != 0, phys_bits, table })
    }

    /// The end of guest-physical memory.
    pub(crate) fn phys_end(&self) -> u64 {
        1 << self.phys_bits
    }
}

fn find(table: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
    let entries = table.as_slice().iter();
    entries.copied().find(|e| e.function == function && e.index == index).unwrap_or_default()
}
