//! What a handler sees of the interrupted registers, and what it may change.

use crate::prelude::*;
use libc::*;
use std::arch::asm;

#[case(as_root, as_user)]
fn a_handler_changes_registers_through_the_context(t: &mut Guest) {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel's context of this signal.
        let context = unsafe { &mut *context.cast::<ucontext_t>() };
        let registers = &mut context.uc_mcontext.gregs;
        registers[REG_RAX as usize] = 0x1234;
        registers[REG_R15 as usize] = registers[REG_R14 as usize] + 1;
        registers[REG_RIP as usize] += 2;
    }
    t.handle(SIGILL, handler, 0);
    let (rax, r15): (u64, u64);
    // SAFETY: ud2 raises SIGILL, and the handler steps over it.
    unsafe { asm!("ud2", inlateout("rax") 7_u64 => rax, in("r14") 41_u64, lateout("r15") r15) };
    expect_eq!((rax, r15), (0x1234, 42));
}

#[case(as_root, as_user)]
fn the_context_holds_the_registers_of_the_fault(t: &mut Guest) {
    static SEEN: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel's context of this signal.
        let context = unsafe { &mut *context.cast::<ucontext_t>() };
        let registers = &mut context.uc_mcontext.gregs;
        for (seen, register) in SEEN.iter().zip([REG_R12, REG_CR2, REG_TRAPNO, REG_ERR]) {
            seen.store(registers[register as usize] as u64, SeqCst);
        }
        // Over the three bytes of the store below.
        registers[REG_RIP as usize] += 3;
    }
    t.handle(SIGSEGV, handler, 0);
    let map = t.map(PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
    // SAFETY: the store faults, and the handler steps over it.
    unsafe { asm!("mov [rsi], dl", "nop", in("rsi") map.address, in("dl") 1_u8, in("r12") 0xabcd_u64) };
    let seen = SEEN.each_ref().map(|word| word.load(SeqCst));
    expect_eq!((seen[0], seen[1], seen[2]), (0xabcd, map.address as u64, 14));
    expect_eq!(seen[3] & 0b110, 0b110);
}

#[case(as_root, as_user)]
fn vector_registers_survive_a_handler_that_uses_them(t: &mut Guest) {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        // SAFETY: overwrites registers that the interrupted code gets back from the kernel.
        unsafe { asm!("pcmpeqd xmm0, xmm0", "pcmpeqd xmm7, xmm7", out("xmm0") _, out("xmm7") _) };
    }
    t.handle(SIGUSR1, handler, 0);
    let (pid, signal) = (sys!(getpid()).ok(), i64::from(SIGUSR1));
    let (low, high): (u64, u64);
    // SAFETY: kill has no effect but the signal.
    unsafe {
        asm!(
            "movq xmm0, {a}", "movq xmm7, {b}", "syscall", "movq {c}, xmm0", "movq {d}, xmm7",
            a = in(reg) 0x1111_2222_3333_4444_u64, b = in(reg) 0x5555_6666_7777_8888_u64,
            c = lateout(reg) low, d = lateout(reg) high,
            inlateout("rax") SYS_kill => _, in("rdi") pid, in("rsi") signal,
            out("rcx") _, out("r11") _, out("xmm0") _, out("xmm7") _,
        );
    }
    expect_eq!((low, high), (0x1111_2222_3333_4444, 0x5555_6666_7777_8888));
}

#[case(as_root, as_user)]
fn the_upper_halves_of_avx_registers_survive(t: &mut Guest) {
    if !std::arch::is_x86_feature_detected!("avx") {
        t.skip("the processor has no AVX");
    }
    extern "C" fn handler(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        // SAFETY: checked for AVX; the kernel restores the registers.
        unsafe { asm!("vxorps ymm3, ymm3, ymm3", out("ymm3") _) };
    }
    t.handle(SIGUSR1, handler, 0);
    let (pid, signal) = (sys!(getpid()).ok(), i64::from(SIGUSR1));
    let before = [1_u64, 2, 3, 4];
    let mut after = [0_u64; 4];
    // SAFETY: checked for AVX; the pointers are to four words each.
    unsafe {
        asm!(
            "vmovdqu ymm3, [{from}]", "syscall", "vmovdqu [{to}], ymm3",
            from = in(reg) &before, to = in(reg) &mut after,
            inlateout("rax") SYS_kill => _, in("rdi") pid, in("rsi") signal,
            out("rcx") _, out("r11") _, out("ymm3") _,
        );
    }
    expect_eq!(after, before);
}

#[case(as_root, as_user)]
fn the_rounding_mode_survives_and_a_handler_starts_with_the_default(t: &mut Guest) {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    fn mxcsr() -> u32 {
        let mut value = 0_u32;
        // SAFETY: stores the control register.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut value) };
        value
    }
    extern "C" fn handler(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        SEEN.store(mxcsr(), SeqCst);
        let value = 0x1f80_u32;
        // SAFETY: loads the default value.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &value) };
    }
    t.handle(SIGUSR1, handler, 0);
    let toward_zero = 0x7f80_u32;
    // SAFETY: loads a valid value, and the default again after the signal.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &toward_zero) };
    t.raise(SIGUSR1);
    let after = mxcsr();
    let default = 0x1f80_u32;
    // SAFETY: as above.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &default) };
    expect_eq!(after & 0x6000, 0x6000);
    expect_eq!(SEEN.load(SeqCst) & 0x6000, 0);
}

/// The red zone below the stack pointer belongs to the interrupted function.
#[case(as_root, as_user)]
fn the_red_zone_is_left_alone(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    let (pid, signal) = (sys!(getpid()).ok(), i64::from(SIGUSR1));
    let kept: u64;
    // SAFETY: uses the red zone of this function, which makes no calls meanwhile.
    unsafe {
        asm!(
            "sub rsp, 256", "mov qword ptr [rsp - 128], 77", "syscall", "mov {kept}, [rsp - 128]", "add rsp, 256",
            kept = lateout(reg) kept,
            inlateout("rax") SYS_kill => _, in("rdi") pid, in("rsi") signal, out("rcx") _, out("r11") _,
        );
    }
    expect_eq!(kept, 77);
    expect_eq!(t.caught(), [SIGUSR1]);
}

#[case(as_root, as_user)]
fn handlers_nest(t: &mut Guest) {
    static ORDER: AtomicU32 = AtomicU32::new(0);
    extern "C" fn outer(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        ORDER.store(ORDER.load(SeqCst) * 10 + 1, SeqCst);
        sys!(kill(sys!(getpid()).ok(), SIGUSR2)).ok();
        ORDER.store(ORDER.load(SeqCst) * 10 + 3, SeqCst);
    }
    extern "C" fn inner(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        ORDER.store(ORDER.load(SeqCst) * 10 + 2, SeqCst);
    }
    t.handle(SIGUSR1, outer, 0);
    t.handle(SIGUSR2, inner, 0);
    t.raise(SIGUSR1);
    expect_eq!(ORDER.load(SeqCst), 123);
}

/// The mask in the context is the one that holds after the handler.
#[case(as_root, as_user)]
fn a_handler_changes_the_mask_through_the_context(t: &mut Guest) {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel's context; its signal set's first word is the kernel's.
        unsafe {
            let context = &mut *context.cast::<ucontext_t>();
            (&raw mut context.uc_sigmask).cast::<u64>().write(1 << (SIGUSR2 - 1));
        }
    }
    t.handle(SIGUSR1, handler, 0);
    t.raise(SIGUSR1);
    expect_eq!(t.mask(), 1 << (SIGUSR2 - 1));
}
