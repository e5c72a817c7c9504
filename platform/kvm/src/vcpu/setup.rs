//! A new virtual processor's segments, control registers and MSRs. Linux: arch/x86/kernel/cpu/common.c, `syscall_init`.

use super::{Lease, broken};
use crate::percpu::{GDT_LIMIT, KERNEL_CS, KERNEL_DS, SYSRET_BASE, TSS_LIMIT, TSS_SELECTOR};
use crate::requests::KVM_SET_DEVICE_ATTR;
use crate::vm::{IDT_LIMIT, Vm, host};
use kvm_bindings::{
    KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, Msrs, kvm_device_attr, kvm_dtable, kvm_msr_entry, kvm_segment,
    kvm_sregs, kvm_xcrs,
};
use kvm_ioctls::VcpuFd;
use platform::PlatformError;
use std::os::fd::AsRawFd;

/// Linux: arch/x86/include/uapi/asm/processor-flags.h, arch/x86/include/asm/msr-index.h.
const X86_CR0: u64 = 0x8005_0033; // PG AM WP NE ET MP PE
const X86_EFER: u64 = 0xd01; // NXE LMA LME SCE
const MSR_IA32_TSC: u32 = 0x10;
const MSR_STAR: u32 = 0xc000_0081;
const MSR_LSTAR: u32 = 0xc000_0082;
const MSR_CSTAR: u32 = 0xc000_0083;
const MSR_SYSCALL_MASK: u32 = 0xc000_0084;
/// Every flag that `syscall` can clear. Linux: `syscall_init`.
const SYSCALL_MASK: u64 = 0x25_7fd5;

impl Lease {
    /// Puts the processor into ring 0 with the entry code's tables.
    pub(super) fn set_up(&self, vm: &Vm) -> Result<(), PlatformError> {
        let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
        xcrs.xcrs[0].value = vm.cpuid.xstate.features();
        self.fd.set_xcrs(&xcrs).map_err(host("KVM_SET_XCRS"))?;
        let mut sregs = self.fd.get_sregs().map_err(host("KVM_GET_SREGS"))?;
        self.ring0_segments(&mut sregs);
        let data = kvm_segment { dpl: 3, ..data_segment() };
        (sregs.ds, sregs.es, sregs.fs) = (data, data, data);
        sregs.tr = kvm_segment {
            base: self.percpu.tss(),
            limit: u32::from(TSS_LIMIT),
            selector: TSS_SELECTOR,
            type_: 11,
            present: 1,
            ..Default::default()
        };
        sregs.ldt = kvm_segment { unusable: 1, ..Default::default() };
        sregs.gdt = kvm_dtable { base: self.percpu.gdt(), limit: GDT_LIMIT, ..Default::default() };
        sregs.idt = kvm_dtable { base: Vm::idt_addr(), limit: IDT_LIMIT, ..Default::default() };
        sregs.cr0 = X86_CR0;
        sregs.cr3 = vm.boot_root();
        sregs.cr4 = vm.cpuid.cr4;
        sregs.efer = X86_EFER;
        sregs.interrupt_bitmap = [0; 4];
        self.fd.set_sregs(&sregs).map_err(host("KVM_SET_SREGS"))?;
        let msr = |index, data| kvm_msr_entry { index, data, ..Default::default() };
        let star = u64::from(KERNEL_CS) << 32 | u64::from(SYSRET_BASE | 3) << 48;
        let syscall = Vm::code_addr(vm.entry.syscall);
        set_msrs(
            &self.fd,
            &[
                msr(MSR_STAR, star),
                msr(MSR_LSTAR, syscall),
                // Of 32-bit code, which there is none of.
                msr(MSR_CSTAR, syscall),
                msr(MSR_SYSCALL_MASK, SYSCALL_MASK),
            ],
        )?;
        self.show_host_tsc()
    }

    /// Makes the guest's time-stamp counter the host's, which the vDSO's pages are written for.
    fn show_host_tsc(&self) -> Result<(), PlatformError> {
        let offset = 0_u64;
        let attr = kvm_device_attr {
            group: KVM_VCPU_TSC_CTRL,
            attr: u64::from(KVM_VCPU_TSC_OFFSET),
            addr: u64::try_from((&raw const offset).addr()).unwrap_or(0),
            flags: 0,
        };
        let request = libc::c_ulong::from(KVM_SET_DEVICE_ATTR);
        // SAFETY: the request reads the structure, and eight bytes at the address in it; both live until it returns.
        if unsafe { libc::ioctl(self.fd.as_raw_fd(), request, &raw const attr) } == 0 {
            return Ok(());
        }
        // Before Linux 5.16: right to within the time this call takes.
        let now = platform_host::tsc::rdtsc_ordered();
        set_msrs(&self.fd, &[kvm_msr_entry { index: MSR_IA32_TSC, data: now, ..Default::default() }])
    }

    pub(super) fn ring0_segments(&self, sregs: &mut kvm_sregs) {
        sregs.cs = kvm_segment { selector: KERNEL_CS, type_: 11, l: 1, db: 0, ..data_segment() };
        sregs.ss = data_segment();
        sregs.gs = kvm_segment { base: self.percpu.addr(), ..data_segment() };
    }
}

/// A flat data segment of ring 0.
fn data_segment() -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: KERNEL_DS,
        type_: 3,
        present: 1,
        dpl: 0,
        db: 1,
        s: 1,
        l: 0,
        g: 1,
        ..Default::default()
    }
}

fn set_msrs(fd: &VcpuFd, entries: &[kvm_msr_entry]) -> Result<(), PlatformError> {
    let msrs = Msrs::from_entries(entries).map_err(|_| broken("too many registers"))?;
    match fd.set_msrs(&msrs).map_err(host("KVM_SET_MSRS"))? {
        count if count == entries.len() => Ok(()),
        _ => Err(broken("a register cannot be set")),
    }
}
