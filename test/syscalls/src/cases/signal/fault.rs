//! Signals that the processor raises.

use crate::prelude::*;
use libc::*;
use std::arch::asm;
use std::arch::x86_64::__cpuid;

/// Whether the processor is QEMU's emulation. Linux: Documentation/virt/kvm/x86/cpuid.rst.
fn is_emulated() -> bool {
    // The attribute is for compilers older than the one that made the function safe.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has the instruction.
    let leaf = unsafe { __cpuid(0x4000_0000) };
    [leaf.ebx, leaf.ecx, leaf.edx]
        == [u32::from_le_bytes(*b"TCGT"), u32::from_le_bytes(*b"CGTC"), u32::from_le_bytes(*b"GTCG")]
}

#[case(as_root, as_user)]
fn division_by_zero_is_sigfpe_intdiv(t: &mut Guest) {
    let at = t.faults(SIGFPE, FPE_INTDIV, || {
        // SAFETY: raises the exception that is caught.
        unsafe { asm!("div ecx", inlateout("eax") 1 => _, inlateout("edx") 0 => _, in("ecx") 0) };
    });
    check!(at != 0);
}

#[case(as_root, as_user)]
fn an_unmasked_float_division_is_sigfpe_fltdiv(t: &mut Guest) {
    if is_emulated() {
        t.skip("QEMU's emulated processor raises no floating-point exceptions");
    }
    t.faults(SIGFPE, FPE_FLTDIV, || {
        let unmasked = 0x1d80_u32;
        // SAFETY: raises the exception that is caught.
        unsafe {
            asm!(
                "ldmxcsr [{}]", "mov eax, 1", "cvtsi2sd xmm0, eax", "xorpd xmm1, xmm1", "divsd xmm0, xmm1",
                in(reg) &unmasked, out("eax") _, out("xmm0") _, out("xmm1") _
            );
        }
    });
}

#[case(as_root, as_user)]
fn an_undefined_instruction_is_sigill_illopn(t: &mut Guest) {
    // SAFETY: raises the exception that is caught.
    let at = t.faults(SIGILL, ILL_ILLOPN, || unsafe { asm!("ud2") });
    check!(at != 0);
}

#[case(as_root, as_user)]
fn a_breakpoint_is_sigtrap_with_kernel_code(t: &mut Guest) {
    // SAFETY: raises the exception that is caught.
    t.faults(SIGTRAP, SI_KERNEL, || unsafe { asm!("int3") });
}

#[case(as_root, as_user)]
fn a_privileged_instruction_is_sigsegv_without_address(t: &mut Guest) {
    // SAFETY: raises the exception that is caught.
    expect_eq!(t.faults(SIGSEGV, SI_KERNEL, || unsafe { asm!("hlt") }), 0);
}

#[case(as_root, as_user)]
fn a_non_canonical_address_is_sigsegv_without_address(t: &mut Guest) {
    expect_eq!(t.faults(SIGSEGV, SI_KERNEL, || touch(1 << 62)), 0);
}

#[case(as_root, as_user)]
fn a_kernel_address_is_sigsegv(t: &mut Guest) {
    let info = t.fault(|| touch(0xffff_8000_0000_0000)).unwrap();
    expect_eq!(info.signo(), SIGSEGV);
}

#[case(as_root, as_user)]
fn a_blocked_fault_kills(t: &mut Guest) {
    let child = t.fork(|| {
        t.catch(SIGSEGV, 0);
        t.block(&[SIGSEGV]);
        touch(8);
    });
    child.wait().killed(SIGSEGV);
    let child = t.fork(|| {
        t.ignore(SIGSEGV);
        touch(8);
    });
    child.wait().killed(SIGSEGV);
}

#[case(as_root, as_user)]
fn a_handler_that_repairs_lets_the_access_go_on(t: &mut Guest) {
    extern "C" fn handler(_: i32, info: *mut siginfo_t, _: *mut c_void) {
        // SAFETY: the kernel's siginfo of a fault.
        let page = unsafe { (*info).si_addr() }.addr() & !(PAGE - 1);
        sys!(mprotect(page, PAGE, PROT_READ | PROT_WRITE)).ok();
    }
    t.handle(SIGSEGV, handler, 0);
    let map = t.map(4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    (0..4).for_each(|page| map.set(page * PAGE + 1, page as u8));
    expect_eq!((map.get(1), map.get(3 * PAGE + 1)), (0, 3));
}

#[case(as_root, as_user)]
fn a_single_step_is_sigtrap_trace(t: &mut Guest) {
    t.faults(SIGTRAP, TRAP_TRACE, || {
        // SAFETY: sets the trap flag; the exception that follows is caught.
        unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop") };
    });
}
