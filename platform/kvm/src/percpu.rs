//! Linux: arch/x86/include/asm/cpu_entry_area.h, arch/x86/kernel/cpu/common.c. A virtual processor's own page: what the
//! entry code saves, its descriptor table and task state, and its stacks.
//!
//! The page is the only memory besides the entry code that ring 0 reaches. It is mapped supervisor-only, and holds
//! nothing but what guest code had in its own registers.

use crate::arena::{Arena, PAGE, PhysPage};
use platform::{Answer, PtRegs};

/// Words the entry code uses, as byte offsets.
pub(crate) const RAX: u64 = 0x00;
pub(crate) const FS_BASE: u64 = 0x08;
pub(crate) const GS_BASE: u64 = 0x10;
/// The CR3 to load on the way in.
pub(crate) const CR3: u64 = 0x18;
/// What has happened: a vector, or [`crate::entry::VECTOR_SYSCALL`].
pub(crate) const VECTOR: u64 = 0x20;
/// CR2, or DR6 for a debug exception.
pub(crate) const INFO: u64 = 0x28;
/// Calls answered in ring 0, counted.
pub(crate) const ANSWERED: u64 = 0x30;
/// The frame that the way in pops: rax, then rip, cs, rflags, rsp, ss for `iretq` or rsp for `sysretq`.
pub(crate) const FRAME: u64 = 0x40;
/// A null selector, from the frame's start on.
pub(crate) const FRAME_NULL: u64 = 48;
const GDT: u64 = 0x100;
const TSS: u64 = 0x180;
/// Ends of the stacks: of exceptions from ring 3, of debug exceptions, of those that cannot happen.
const STACK: u64 = 0x800;
const DEBUG_STACK: u64 = 0xa00;
const OTHER_STACK: u64 = 0xc00;
/// Results of the calls that are answered in ring 0, by number, in words of 32 bits; [`NO_ANSWER`] for the others.
pub(crate) const ANSWERS: u64 = 0xc00;
/// Numbers in that table.
pub(crate) const ANSWERS_LEN: u64 = 256;
/// No call that may be answered returns this.
const NO_ANSWER: u32 = u32::MAX;

/// Interrupt stack table entries, as gates name them.
pub(crate) const IST_DEBUG: u64 = 1;
pub(crate) const IST_OTHER: u64 = 2;

/// Selectors. Linux: arch/x86/include/asm/segment.h. There is no 32-bit code segment.
pub(crate) const KERNEL_CS: u16 = 0x10;
pub(crate) const KERNEL_DS: u16 = 0x18;
pub(crate) const TSS_SELECTOR: u16 = 0x40;
/// What `sysretq` adds 16 and 8 to, for the user's code and data segments.
pub(crate) const SYSRET_BASE: u16 = 0x20;

/// Bytes of the descriptor table and of the task state.
pub(crate) const GDT_LIMIT: u16 = 0x4f;
pub(crate) const TSS_LIMIT: u16 = 0x67;

/// Flat 64-bit code and data segments: present, accessed; the user's with privilege level 3.
const KERNEL_CODE: u64 = 0x00af_9b00_0000_ffff;
const KERNEL_DATA: u64 = 0x00cf_9300_0000_ffff;
const USER_DATA: u64 = 0x00cf_f300_0000_ffff;
const USER_CODE: u64 = 0x00af_fb00_0000_ffff;

const _: () = assert!(ANSWERS >= OTHER_STACK && ANSWERS + 4 * ANSWERS_LEN == PAGE);
const _: () = assert!(PtRegs::USER_CS == 0x30 | 3 && PtRegs::USER_SS == 0x28 | 3);

/// A virtual processor's page.
pub(crate) struct PerCpu {
    page: PhysPage,
    /// Where the guest's ring 0 sees it.
    addr: u64,
}

impl PerCpu {
    /// Fills a zeroed page, which ring 0 sees at `addr`.
    pub(crate) fn new(arena: &Arena, page: PhysPage, addr: u64) -> PerCpu {
        let cpu = PerCpu { page, addr };
        let put = |offset: u64, value: u64| cpu.store(arena, offset, value);
        let gdt = [
            (KERNEL_CS, KERNEL_CODE),
            (KERNEL_DS, KERNEL_DATA),
            (0x28, USER_DATA),
            (0x30, USER_CODE),
            (TSS_SELECTOR, tss_descriptor(addr + TSS)),
            (TSS_SELECTOR + 8, (addr + TSS) >> 32),
        ];
        for (selector, descriptor) in gdt {
            put(GDT + u64::from(selector), descriptor);
        }
        // Two 64-bit words straddle every pair here: the first entry stands at byte 4.
        put_unaligned(&put, TSS, &[(4, addr + STACK), (36, addr + DEBUG_STACK), (44, addr + OTHER_STACK)]);
        // The permission bitmap of ports begins behind the end: none is open.
        put(TSS + 96, u64::from(TSS_LIMIT + 1) << 48);
        for number in 0..ANSWERS_LEN / 2 {
            put(ANSWERS + 8 * number, u64::MAX);
        }
        cpu
    }

    pub(crate) fn addr(&self) -> u64 {
        self.addr
    }

    pub(crate) fn gdt(&self) -> u64 {
        self.addr + GDT
    }

    pub(crate) fn tss(&self) -> u64 {
        self.addr + TSS
    }

    /// The address of the frame for the way in.
    pub(crate) fn frame(&self) -> u64 {
        self.addr + FRAME
    }

    pub(crate) fn load(&self, arena: &Arena, offset: u64) -> u64 {
        arena.word(self.page, offset / 8).load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn store(&self, arena: &Arena, offset: u64, value: u64) {
        arena.word(self.page, offset / 8).store(value, std::sync::atomic::Ordering::Relaxed);
    }

    /// Replaces the answers in the table.
    pub(crate) fn set_answers(&self, arena: &Arena, old: &[Answer], new: &[Answer]) {
        old.iter().for_each(|answer| self.set_answer(arena, answer.number, NO_ANSWER));
        new.iter().for_each(|answer| self.set_answer(arena, answer.number, answer.value));
    }

    fn set_answer(&self, arena: &Arena, number: u32, value: u32) {
        let number = u64::from(number);
        if number >= ANSWERS_LEN {
            return;
        }
        let word = ANSWERS + number / 2 * 8;
        let shift = number % 2 * 32;
        let others = self.load(arena, word) & !(u64::from(u32::MAX) << shift);
        self.store(arena, word, others | u64::from(value) << shift);
    }

    /// The word at address `at`, as ring 0 names it; 0 outside the page.
    pub(crate) fn stacked(&self, arena: &Arena, at: u64) -> u64 {
        let offset = at.wrapping_sub(self.addr);
        if offset < 4096 { self.load(arena, offset) } else { 0 }
    }
}

/// The lower half of an available 64-bit task state descriptor.
fn tss_descriptor(base: u64) -> u64 {
    u64::from(TSS_LIMIT) | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56
}

/// Stores values of which the lower half is in the upper half of a word, and the other way round.
fn put_unaligned(put: &dyn Fn(u64, u64), base: u64, values: &[(u64, u64)]) {
    let mut words = [0_u64; 13];
    for (at, value) in values {
        let index = usize::try_from(at / 8).unwrap_or(0);
        if let [first, second] = &mut words[index..index + 2] {
            *first |= value << 32;
            *second |= value >> 32;
        }
    }
    for (offset, word) in (base..).step_by(8).zip(words) {
        put(offset, word);
    }
}
