//! Linux: arch/x86/mm/mmap.c, and `randomize_stack_top` and `randomize_page` of mm/util.c.
//!
//! Linux' constants suit 47 bits of address space; where the platform leaves the guest less, the random part shrinks
//! with it.

use crate::{PAGE_SIZE, page_align, page_start};

/// `kernel.randomize_va_space`; a personality with ADDR_NO_RANDOMIZE counts as `Off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Randomize {
    /// 0: nothing.
    Off,
    /// 1: stack, mmap area, programs, vDSO.
    Layout,
    /// 2: the break, too.
    Full,
}

/// Pages by which a program, or the mmap area, moves. Linux: CONFIG_ARCH_MMAP_RND_BITS.
const MMAP_RND_BITS: u32 = 28;
/// Pages by which the stack moves. Linux: `STACK_RND_MASK`.
const STACK_RND_BITS: u32 = 22;
/// How far the break moves. Linux: `arch_randomize_brk`.
const BRK_RND: u64 = 1 << 30;
/// Least distance from the mmap area to the end of the address space. Linux: `SIZE_128M`.
const GAP_MIN: u64 = 128 << 20;
/// Pages the stack keeps free below itself, in bytes. Linux: `stack_guard_gap`.
const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE;
/// Reach of one page-table page. Linux: `PMD_SIZE`.
const PMD_SIZE: u64 = 2 << 20;
/// Bits of address space the constants above are made for.
const ADDRESS_BITS: u32 = 47;

/// Chooses the addresses of one new program.
pub struct Aslr<R> {
    user_end: u64,
    randomize: Randomize,
    random: R,
}

impl<R: FnMut() -> u64> Aslr<R> {
    /// For addresses below `user_end` (Linux: `TASK_SIZE`). `random` gives 64 random bits.
    pub fn new(user_end: u64, randomize: Randomize, random: R) -> Aslr<R> {
        Aslr { user_end: page_start(user_end), randomize, random }
    }

    /// A random number of bytes: up to `2^bits` pages.
    fn pages(&mut self, bits: u32) -> u64 {
        let mask = self.page_mask(bits);
        if self.randomize == Randomize::Off { 0 } else { ((self.random)() & mask) * PAGE_SIZE }
    }

    fn page_mask(&self, bits: u32) -> u64 {
        let missing = ADDRESS_BITS.saturating_sub(u64::BITS - self.user_end.leading_zeros());
        (1u64 << bits.saturating_sub(missing)) - 1
    }

    /// The end of the stack area, page-aligned. Linux: `randomize_stack_top` and `setup_arg_pages`.
    pub fn stack_top(&mut self) -> u64 {
        let down = self.pages(STACK_RND_BITS);
        let top = self.user_end.saturating_sub(down);
        page_align(self.align_stack(top)).unwrap_or(top)
    }

    /// Moves a stack pointer down by less than two pages and aligns it to 16. Linux: `arch_align_stack`.
    pub fn align_stack(&mut self, sp: u64) -> u64 {
        let down = if self.randomize == Randomize::Off { 0 } else { (self.random)() % 8192 };
        sp.saturating_sub(down) & !15
    }

    /// Where the mmap area starts, growing downwards. Linux: `mmap_base`.
    pub fn mmap_base(&mut self, rlimit_stack: u64) -> u64 {
        let rnd = self.pages(MMAP_RND_BITS);
        let stack_rnd =
            if self.randomize == Randomize::Off { 0 } else { self.page_mask(STACK_RND_BITS) * PAGE_SIZE };
        let pad = stack_rnd + STACK_GUARD_GAP;
        let gap_max = self.user_end / 6 * 5;
        let gap = rlimit_stack.checked_add(pad).unwrap_or(rlimit_stack).max(GAP_MIN).min(gap_max);
        let base = self.user_end.saturating_sub(gap).saturating_sub(rnd);
        page_align(base).unwrap_or(base)
    }

    /// Where the mmap area starts, growing upwards, for a personality with ADDR_COMPAT_LAYOUT.
    /// Linux: `mmap_legacy_base`.
    pub fn mmap_legacy_base(&mut self) -> u64 {
        let third = self.user_end / 3;
        page_align(third).unwrap_or(third).saturating_add(self.pages(MMAP_RND_BITS))
    }

    /// The base of a position-independent program with an interpreter. Linux: `ELF_ET_DYN_BASE` in `load_elf_binary`.
    pub fn et_dyn_base(&mut self, align: u64) -> u64 {
        let base = (self.user_end / 3 * 2).saturating_add(self.pages(MMAP_RND_BITS));
        page_start(base & !align.saturating_sub(1))
    }

    /// Where the break starts, page-aligned. `image_end` is [`crate::LoadPlan::brk`]; `loader` is
    /// [`crate::ElfImage::is_loader`]. Linux: the end of `load_elf_binary`, and `arch_randomize_brk`.
    pub fn brk(&mut self, image_end: u64, loader: bool) -> u64 {
        let end = if loader { self.user_end / 3 * 2 } else { image_end };
        let mut start = page_align(end).unwrap_or(end);
        if self.randomize < Randomize::Full {
            return start;
        }
        if !loader {
            start = start.saturating_add(PAGE_SIZE);
        }
        let range = BRK_RND.min(u64::MAX - start) / PAGE_SIZE;
        let up = (self.random)().checked_rem(range).unwrap_or(0) * PAGE_SIZE;
        start + up
    }

    /// Where to look for room for `len` bytes of vDSO above the stack: in the reach of the page-table page that holds
    /// the stack's top, or as a hint whatever comes after it. Linux: `vdso_addr`.
    pub fn vdso_addr(&mut self, stack_top: u64, len: u64) -> u64 {
        let start = page_align(stack_top).unwrap_or(stack_top);
        let end = start.saturating_add(len).checked_next_multiple_of(PMD_SIZE).unwrap_or(u64::MAX);
        let last = end.min(self.user_end).saturating_sub(len);
        if self.randomize == Randomize::Off || last <= start {
            return start;
        }
        start + (self.random)() % ((last - start) / PAGE_SIZE + 1) * PAGE_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK_SIZE: u64 = (1 << 47) - PAGE_SIZE;

    fn fixed(randomize: Randomize, value: u64) -> Aslr<impl FnMut() -> u64> {
        Aslr::new(TASK_SIZE, randomize, move || value)
    }

    #[test]
    fn without_randomisation_addresses_are_those_of_linux() {
        let mut a = fixed(Randomize::Off, u64::MAX);
        assert_eq!(a.stack_top(), 0x7fff_ffff_f000);
        assert_eq!(a.et_dyn_base(4096), 0x5555_5555_4000);
        assert_eq!(a.mmap_base(8 << 20), 0x7fff_f7ff_f000);
        assert_eq!(a.mmap_base(u64::MAX), page_align(TASK_SIZE - TASK_SIZE / 6 * 5).unwrap_or(0));
        assert_eq!(a.mmap_legacy_base(), 0x2aaa_aaaa_b000);
        assert_eq!(a.brk(0x1234, false), 0x2000);
        assert_eq!(a.brk(0x1234, true), 0x5555_5555_5000);
        assert_eq!(a.align_stack(0x7fff_1238), 0x7fff_1230);
    }

    #[test]
    fn random_addresses_stay_in_their_ranges() {
        for value in [0, 1, 0x1234_5678_9abc_def0, u64::MAX / 2, u64::MAX] {
            let mut a = fixed(Randomize::Full, value);
            let top = a.stack_top();
            assert!(top.is_multiple_of(PAGE_SIZE));
            assert!((TASK_SIZE - (1 << 34) - 8192..=TASK_SIZE).contains(&top));
            let base = a.mmap_base(8 << 20);
            assert!(base.is_multiple_of(PAGE_SIZE) && base < top - (8 << 20));
            assert!(base >= TASK_SIZE - (1 << 34) - (9 << 20) - (1 << 40));
            let program = a.et_dyn_base(2 << 20);
            assert!(
                program.is_multiple_of(2 << 20) && (0x5555_5540_0000..0x5655_5560_0000).contains(&program)
            );
            let brk = a.brk(program + 0x1234, false);
            assert!(
                brk.is_multiple_of(PAGE_SIZE) && brk > program && brk - program <= BRK_RND + 3 * PAGE_SIZE
            );
            let vdso = a.vdso_addr(top, 8192);
            assert!(vdso >= top && vdso - top <= PMD_SIZE);
        }
    }

    #[test]
    fn a_small_address_space_is_not_left() {
        for bits in [28, 32, 39, 46] {
            let end = 1u64 << bits;
            let mut a = Aslr::new(end, Randomize::Full, || u64::MAX);
            let top = a.stack_top();
            assert!(top > end / 2 && top <= end);
            assert!(a.mmap_base(8 << 20) < top);
            assert!(a.et_dyn_base(4096) < end);
        }
    }
}
