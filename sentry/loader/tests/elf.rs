//! Real programs of this machine, hostile variations of them, and small files made by hand.
#![allow(clippy::unwrap_used, clippy::panic)]

use object::elf::{ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD};
use platform::Prot;
use proptest::prelude::*;
use sentry_loader::{ElfImage, ExecStack, FileMap, LoadPlan, Placement};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EIO, ELIBBAD, ENOEXEC, ENOMEM};

const USER_END: u64 = (1 << 47) - 4096;
const BASE: u64 = 0x5555_5555_4000;

/// Program headers as `(type, flags, offset, vaddr, filesz, memsz, align)`.
type Phdr = (u32, u32, u64, u64, u64, u64, u64);

fn elf(kind: u16, entry: u64, phdrs: &[Phdr], len: usize) -> Vec<u8> {
    let mut f = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    f.extend(kind.to_le_bytes());
    f.extend(62u16.to_le_bytes());
    f.extend(1u32.to_le_bytes());
    [entry, 64, 0].iter().for_each(|w| f.extend(w.to_le_bytes()));
    f.extend(0u32.to_le_bytes());
    [64, 56, u16::try_from(phdrs.len()).unwrap(), 0, 0, 0].iter().for_each(|w| f.extend(w.to_le_bytes()));
    for (kind, flags, offset, vaddr, filesz, memsz, align) in phdrs {
        f.extend(kind.to_le_bytes());
        f.extend(flags.to_le_bytes());
        [offset, vaddr, vaddr, filesz, memsz, align].iter().for_each(|w| f.extend(w.to_le_bytes()));
    }
    f.resize(f.len().max(len), 0);
    f
}

fn parse(file: &[u8]) -> Result<ElfImage, Errno> {
    ElfImage::parse(file)
}

fn plan(file: &[u8]) -> Result<LoadPlan, Errno> {
    parse(file)?.plan(BASE, USER_END)
}

/// What holds for the plan of any image, however hostile.
fn check(image: &ElfImage, base: u64) {
    let Ok(placement) = image.placement() else { return };
    if let Placement::MmapArea { align, .. } | Placement::EtDynBase { align } = placement {
        assert!(align.is_power_of_two() && align >= 4096);
    }
    let Ok(plan) = image.plan(base, USER_END) else { return };
    for s in &plan.segments {
        if let Some(FileMap { addr, len, offset }) = s.file {
            assert!([addr, len, offset].iter().all(|v| v % 4096 == 0) && len > 0);
            assert!(addr >= plan.range.0 && addr + len <= plan.range.1);
            assert!(s.zero == (0, 0) || (s.zero.0 >= addr && s.zero.1 == addr + len));
        }
        assert!(s.zero.0 <= s.zero.1 && s.zero.1 - s.zero.0 < 4096);
        assert!(s.bss.0 <= s.bss.1 && s.bss.0 % 4096 == 0 && s.bss.1 % 4096 == 0 && s.bss.1 <= plan.range.1);
    }
    assert!(plan.range.1 <= USER_END && plan.brk <= plan.range.1);
    if !plan.segments.is_empty() && placement != Placement::Fixed {
        assert_eq!(plan.range.0, base);
    }
}

#[test]
fn programs_of_this_machine_can_be_planned() {
    let mut seen = 0;
    for path in ["/bin/ls", "/bin/bash", "/usr/bin/python3", "/bin/busybox", "/lib64/ld-linux-x86-64.so.2"] {
        let Ok(file) = std::fs::read(path) else { continue };
        seen += 1;
        let image = parse(&file).unwrap();
        check(&image, BASE);
        let plan = image.plan(BASE, USER_END).unwrap();
        assert!(plan.segments.len() >= 2);
        assert!(plan.segments.iter().any(|s| s.prot.contains(Prot::EXEC)));
        assert!((plan.code.0..plan.code.1).contains(&plan.entry));
        assert!((plan.range.0..plan.range.1).contains(&plan.phdr_addr));
        assert!(plan.brk > plan.data.0 && plan.brk >= plan.data.1);
        if let Some(interp) = image.interp() {
            let interp = std::fs::read(std::str::from_utf8(interp).unwrap()).unwrap();
            let interp = ElfImage::parse_interp(&interp[..]).unwrap();
            let Placement::MmapArea { len, align } = interp.placement().unwrap() else { panic!() };
            assert!(len > 4096 * 10 && align == 4096);
            check(&interp, 0x7fff_f7fc_0000);
        }
    }
    assert!(seen > 0);
}

#[test]
fn our_own_program_is_planned_as_the_host_mapped_it() {
    let file = std::fs::read("/proc/self/exe").unwrap();
    let exe = std::fs::read_link("/proc/self/exe").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let base = maps.lines().find(|l| l.ends_with(exe.to_str().unwrap())).unwrap();
    let base = u64::from_str_radix(base.split('-').next().unwrap(), 16).unwrap();
    let plan = parse(&file).unwrap().plan(base, USER_END).unwrap();
    for segment in plan.segments {
        let Some(FileMap { addr, offset, .. }) = segment.file else { continue };
        let line = format!("{addr:x}-");
        let line = maps.lines().find(|l| l.starts_with(&line)).unwrap();
        assert!(line.contains(&format!(" {offset:08x} ")), "{line}");
        assert!(line.contains('x') == segment.prot.contains(Prot::EXEC) || line.ends_with('x'));
    }
}

#[test]
fn a_fixed_program_is_laid_out_segment_by_segment() {
    let file = elf(
        ET_EXEC,
        0x40_1080,
        &[
            (PT_LOAD, PF_R, 0, 0x40_0000, 0x200, 0x200, 4096),
            (PT_LOAD, PF_R | PF_X, 0x1080, 0x40_1080, 0x100, 0x100, 4096),
            (PT_LOAD, PF_R | PF_W, 0x2ff0, 0x40_3ff0, 0x20, 0x3000, 4096),
            (PT_LOAD, PF_R | PF_W, 0, 0x50_0010, 0, 0x20, 4096),
        ],
        0x4000,
    );
    let image = parse(&file).unwrap();
    assert_eq!(image.placement(), Ok(Placement::Fixed));
    assert_eq!(image.exec_stack(), ExecStack::Default);
    assert!(!image.is_loader());
    let plan = image.plan(0, USER_END).unwrap();
    assert_eq!((plan.bias, plan.entry, plan.phdr_addr), (0, 0x40_1080, 0x40_0040));
    assert_eq!(plan.range, (0x40_0000, 0x50_1000));
    assert_eq!((plan.code, plan.data), ((0x40_1080, 0x40_1180), (0x50_0010, 0x50_0010)));
    assert_eq!(plan.brk, 0x50_0030);
    let text = plan.segments[1];
    assert_eq!(text.file, Some(FileMap { addr: 0x40_1000, len: 0x1000, offset: 0x1000 }));
    assert_eq!((text.zero, text.bss, text.prot), ((0, 0), (0, 0), Prot::READ | Prot::EXEC));
    let data = plan.segments[2];
    assert_eq!(data.file, Some(FileMap { addr: 0x40_3000, len: 0x2000, offset: 0x2000 }));
    assert_eq!((data.zero, data.bss), ((0x40_4010, 0x40_5000), (0x40_5000, 0x40_7000)));
    let bss = plan.segments[3];
    assert_eq!((bss.file, bss.zero, bss.bss), (None, (0, 0), (0x50_0000, 0x50_1000)));
}

#[test]
fn a_position_independent_program_keeps_its_alignment_and_its_bias() {
    let loads: [Phdr; 2] = [
        (PT_LOAD, PF_R | PF_X, 0, 0x1_0000, 0x1000, 0x1000, 2 << 20),
        (PT_LOAD, PF_R | PF_W, 0x1000, 0x21_1000, 0x1000, 0x1001, 2 << 20),
    ];
    let image = parse(&elf(ET_DYN, 0x1_0100, &loads, 0x2000)).unwrap();
    assert_eq!(image.placement(), Ok(Placement::MmapArea { len: 0x20_3000, align: 2 << 20 }));
    assert!(image.is_loader());
    let plan = image.plan(0x7f00_0000_0000, USER_END).unwrap();
    assert_eq!((plan.bias, plan.entry), (0x7eff_ffff_0000, 0x7f00_0000_0100));
    assert_eq!(plan.range, (0x7f00_0000_0000, 0x7f00_0020_3000));
    // Linked high, loaded low: the bias wraps.
    let high: [Phdr; 1] = [(PT_LOAD, PF_R | PF_X, 0, 0x7000_0000_0000, 0x1000, 0x1000, 4096)];
    assert_eq!(plan_at(&elf(ET_DYN, 0x7000_0000_0100, &high, 0x1000), 0x40_0000), Ok(0x40_0100));

    let mut with_interp = elf(
        ET_DYN,
        0x100,
        &[
            (PT_INTERP, PF_R, 0x200, 0, 7, 7, 1),
            (PT_GNU_STACK, PF_R | PF_W | PF_X, 0, 0, 0, 0, 16),
            (PT_LOAD, PF_R | PF_X, 0, 0, 0x1000, 0x1000, 3),
        ],
        0x1000,
    );
    with_interp[0x200..0x207].copy_from_slice(b"/ld.so\0");
    let image = parse(&with_interp).unwrap();
    assert_eq!(image.interp(), Some(&b"/ld.so"[..]));
    assert_eq!(image.placement(), Ok(Placement::EtDynBase { align: 4096 }));
    assert_eq!(image.exec_stack(), ExecStack::Enabled);
    with_interp[0x206] = b'x';
    assert_eq!(parse(&with_interp).err(), Some(ENOEXEC));
    with_interp.truncate(0x204);
    assert_eq!(parse(&with_interp).err(), Some(EIO));
}

fn plan_at(file: &[u8], base: u64) -> Result<u64, Errno> {
    Ok(parse(file)?.plan(base, USER_END)?.entry)
}

#[test]
fn files_of_other_kinds_are_refused() {
    let load: Phdr = (PT_LOAD, PF_R | PF_X, 0, 0x40_0000, 0x100, 0x100, 4096);
    let good = elf(ET_EXEC, 0x40_0000, &[load], 0x1000);
    assert!(plan(&good).is_ok());
    let broken = |at: usize, with: &[u8]| {
        let mut f = good.clone();
        f[at..at + with.len()].copy_from_slice(with);
        (parse(&f).err(), ElfImage::parse_interp(&f[..]).err())
    };
    let refused = (Some(ENOEXEC), Some(ELIBBAD));
    assert_eq!(broken(0, b"\x7eELF"), refused);
    assert_eq!(broken(16, &[1, 0]), refused, "relocatable");
    assert_eq!(broken(16, &[4, 0]), refused, "core");
    assert_eq!(broken(18, &[3, 0]), refused, "i386");
    assert_eq!(broken(54, &[32, 0]), refused, "size of a program header");
    assert_eq!(broken(56, &[0, 0]), refused, "no program headers");
    assert_eq!(broken(56, &[74, 0]), refused, "more than a page of program headers");
    assert_eq!(broken(32, &[0xff; 8]), refused, "program headers beyond the end");
    assert_eq!(broken(4, &[1]), (None, None), "the class does not count");
    assert_eq!(parse(b"").err(), Some(ENOEXEC));
    assert_eq!(ElfImage::parse_interp(&good[..63]).err(), Some(EIO));
}

#[test]
fn absurd_segments_have_no_plan() {
    let one = |load: Phdr| plan(&elf(ET_EXEC, 0x40_0000, &[load], 0x1000)).err();
    assert_eq!(one((PT_LOAD, PF_R, 0, 0x40_0000, 0x101, 0x100, 4096)), Some(EINVAL));
    assert_eq!(one((PT_LOAD, PF_R, 0x10, 0x40_0000, 0x100, 0x100, 4096)), Some(EINVAL));
    assert_eq!(one((PT_LOAD, PF_R, 0, 0x40_0010, 0x100, 0x100, 4096)), Some(EINVAL));
    assert_eq!(one((PT_LOAD, PF_R, !4095, 0x40_0000, 0x2000, 0x2000, 4096)), Some(EINVAL));
    assert_eq!(one((PT_LOAD, PF_R, 0, 0x40_0000, 0, u64::MAX, 4096)), Some(ENOMEM));
    assert_eq!(one((PT_LOAD, PF_R, 0, USER_END, 0x100, 0x100, 4096)), Some(ENOMEM));
    assert_eq!(one((PT_LOAD, PF_R, 0, USER_END - 4096, 0, 4097, 4096)), Some(ENOMEM));
    assert_eq!(one((PT_LOAD, PF_R, 0, USER_END - 4096, 0, 4096, 4096)), None);
    assert_eq!(plan(&elf(ET_EXEC, USER_END, &[(0, 0, 0, 0, 0, 0, 0)], 0x1000)).err(), Some(EINVAL));
    assert_eq!(plan(&elf(ET_DYN, 0, &[(0, 0, 0, 0, 0, 0, 0)], 0x1000)).err(), Some(EINVAL));
    let wraps: Phdr = (PT_LOAD, PF_R, 0, u64::MAX - 4095, 0, 4096, 4096);
    assert_eq!(plan(&elf(ET_DYN, 0, &[wraps], 0x1000)).err(), Some(EINVAL));
}

fn arbitrary_phdr() -> impl Strategy<Value = Phdr> {
    let kind = prop_oneof![3 => Just(PT_LOAD), 1 => Just(PT_INTERP), 1 => any::<u32>()];
    let number = || {
        prop_oneof![
            0u64..0x3000,
            any::<u64>(),
            any::<u64>().prop_map(|v| v & !4095),
            (0u32..64).prop_map(|s| 1 << s),
            Just(u64::MAX),
            (0u64..8192).prop_map(|v| USER_END - v),
        ]
    };
    (kind, any::<u32>(), number(), number(), number(), number(), number())
}

proptest! {
    #[test]
    fn hostile_headers_do_no_harm(
        dynamic: bool,
        entry: u64,
        phdrs in prop::collection::vec(arbitrary_phdr(), 1..12),
        base: u64,
    ) {
        let file = elf(if dynamic { ET_DYN } else { ET_EXEC }, entry, &phdrs, 0x2000);
        if let Ok(image) = parse(&file) {
            check(&image, base & !4095);
        }
    }

    #[test]
    fn mutations_of_a_real_program_do_no_harm(
        changes in prop::collection::vec((0usize..0x400, any::<u8>()), 1..20),
        cut in 0usize..0x2000,
    ) {
        let mut file = std::fs::read("/proc/self/exe").unwrap();
        for (at, byte) in changes {
            file[at] = byte;
        }
        file.truncate(0x2000 - cut);
        for image in [parse(&file), ElfImage::parse_interp(&file[..])].into_iter().flatten() {
            check(&image, BASE);
        }
    }
}
