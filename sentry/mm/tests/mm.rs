//! The memory manager on the scripted platform: what the sentry believes, what the address space was told, and what the
//! bytes are must agree.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use platform::AccessType;
use platform_scripted::{ScriptedAddressSpace, ScriptedPlatform};
use sentry_mm::*;
use sentry_uapi::errno::{EAGAIN, EEXIST, EFAULT, ENOMEM};
use std::sync::Arc;

const P: u64 = PAGE_SIZE;
const RW: Prot = Prot::READ.union(Prot::WRITE);

fn new_mm() -> Arc<MemoryManager> {
    MemoryManager::new(MemoryFile::new().unwrap(), ScriptedPlatform::new(Vec::new())).unwrap()
}

fn anon(mm: &MemoryManager, place: Placement, len: u64, prot: Prot) -> u64 {
    mm.mmap(&MmapRequest::anonymous(place, len, prot), &MmLimits::NONE).unwrap()
}

/// What guest code would see at `addr`, faulting as the platform would.
fn guest_read(mm: &MemoryManager, addr: u64) -> Result<u8, FaultError> {
    let space = mm.address_space().as_any().downcast_ref::<ScriptedAddressSpace>().unwrap();
    let mut history = FaultHistory::default();
    loop {
        if let Some((offset, prot)) = space.lookup(addr)
            && prot.contains(Prot::READ)
        {
            let mut byte = [0];
            mm.memory().read_at(offset, &mut byte).unwrap();
            return Ok(byte[0]);
        }
        mm.handle_guest_fault(addr, AccessType::Unknown, 0, &mut history, &MmLimits::NONE)?;
    }
}

fn guest_write(mm: &MemoryManager, addr: u64, value: u8) -> Result<(), FaultError> {
    let space = mm.address_space().as_any().downcast_ref::<ScriptedAddressSpace>().unwrap();
    let mut history = FaultHistory::default();
    loop {
        if let Some((offset, prot)) = space.lookup(addr)
            && prot.contains(Prot::WRITE)
        {
            mm.memory().write_at(offset, &[value]).unwrap();
            return Ok(());
        }
        mm.handle_guest_fault(addr, AccessType::Unknown, 0, &mut history, &MmLimits::NONE)?;
    }
}

#[test]
fn memory_for_huge_pages_begins_where_they_do() {
    const HUGE: u64 = 2 << 20;
    let mm = new_mm();
    let offset = |addr: u64| {
        let space = mm.address_space().as_any().downcast_ref::<ScriptedAddressSpace>().unwrap();
        space.lookup(addr).unwrap().0
    };
    anon(&mm, Placement::Hint(0), P, RW);
    let whole = anon(&mm, Placement::Hint(0), 4 * HUGE, RW);
    assert_eq!((whole % HUGE, offset(whole) % HUGE), (0, 0));
    let fixed = anon(&mm, Placement::Fixed(HUGE * 100 + 3 * P), HUGE + P, RW);
    assert_eq!(offset(fixed) % HUGE, 3 * P);
    // What is smaller lies close.
    let small = anon(&mm, Placement::Hint(0), HUGE + P, RW);
    assert_eq!(small + HUGE + P, whole);
}

#[test]
fn fork_copies_on_write_both_ways() {
    let parent = new_mm();
    let a = anon(&parent, Placement::Hint(0), 64 * P, RW);
    guest_write(&parent, a + 5 * P, 1).unwrap();
    let child = parent.fork(0).unwrap();
    assert_eq!(guest_read(&child, a + 5 * P), Ok(1));
    guest_write(&child, a + 5 * P, 2).unwrap();
    guest_write(&parent, a + 6 * P, 3).unwrap();
    assert_eq!(guest_read(&parent, a + 5 * P), Ok(1));
    assert_eq!(guest_read(&child, a + 6 * P), Ok(0));
    let mut byte = [0];
    child.copy_from_user(a + 5 * P, &mut byte).unwrap();
    assert_eq!(byte, [2]);
    drop(child);
    guest_write(&parent, a + 40 * P, 7).unwrap();
    assert_eq!(guest_read(&parent, a + 40 * P), Ok(7));
    parent.exit_mmap();
    assert_eq!(parent.memory().allocated(), 0);
}

#[test]
fn the_sentry_writes_through_copy_on_write_too() {
    let parent = new_mm();
    let a = anon(&parent, Placement::Hint(0), P, RW);
    parent.copy_to_user(a, b"parent").unwrap();
    let child = parent.fork(0).unwrap();
    child.copy_to_user(a, b"child!").unwrap();
    assert_eq!(parent.read_cstring(a, 100).unwrap(), b"parent");
    assert_eq!(child.read_cstring(a, 100).unwrap(), b"child!");
    let ranges = [UserRange { addr: a, len: 100 }];
    let mut dst = parent.dst(&ranges).unwrap();
    dst.write(b"view").unwrap();
    assert_eq!(parent.read_cstring(a, 100).unwrap(), b"viewnt");
}

#[test]
fn a_view_finds_its_memory_anew_after_a_wait() {
    let parent = new_mm();
    let a = anon(&parent, Placement::Hint(0), P, RW);
    parent.copy_to_user(a, b"before").unwrap();
    let ranges = [UserRange { addr: a, len: 3 }, UserRange { addr: a + 3, len: 97 }];
    let mut dst = parent.dst(&ranges).unwrap();
    dst.write(b"12").unwrap();
    assert_eq!(dst.attempt(|_| Err::<(), _>(EAGAIN)), Err(EAGAIN));
    let child = parent.fork(0).unwrap();
    parent.copy_to_user(a + 10, b"own page").unwrap();
    assert_eq!(dst.attempt(|dst| dst.write(b"34")), Ok(2));
    assert_eq!((dst.done(), dst.remaining()), (4, 96));
    assert_eq!(parent.read_cstring(a, 100).unwrap(), b"1234re");
    assert_eq!(child.read_cstring(a, 100).unwrap(), b"12fore");
    assert_eq!(dst.attempt(|_| Err::<(), _>(EAGAIN)), Err(EAGAIN));
    parent.munmap(a, P).unwrap();
    assert_eq!(dst.attempt(|dst| dst.write(b"5")), Err(EFAULT));
}

#[test]
fn mprotect_refuses_and_allows() {
    let mm = new_mm();
    let a = anon(&mm, Placement::Hint(0), 4 * P, Prot::empty());
    assert!(guest_read(&mm, a).is_err());
    mm.mprotect(a + P, 2 * P, RW, false, &MmLimits::NONE).unwrap();
    guest_write(&mm, a + P, 9).unwrap();
    assert!(guest_write(&mm, a, 1).is_err());
    mm.mprotect(a + P, P, Prot::READ, false, &MmLimits::NONE).unwrap();
    assert!(guest_write(&mm, a + P, 1).is_err());
    assert_eq!(guest_read(&mm, a + P), Ok(9));
    assert_eq!(mm.copy_to_user(a + P, b"x"), Err(EFAULT));
    assert_eq!(mm.vmas().len(), 4);
    mm.mprotect(a, 4 * P, RW, false, &MmLimits::NONE).unwrap();
    assert_eq!(mm.vmas().len(), 1);
    assert_eq!(guest_read(&mm, a + P), Ok(9));
    assert_eq!(mm.mprotect(a, 5 * P, RW, false, &MmLimits::NONE), Err(ENOMEM));
}

#[test]
fn mremap_moves_contents_and_grows() {
    let mm = new_mm();
    let a = anon(&mm, Placement::Fixed(0x10_0000), 4 * P, RW);
    let _wall = anon(&mm, Placement::Fixed(a + 4 * P), P, Prot::READ);
    guest_write(&mm, a + 3 * P, 4).unwrap();
    let b = mm.mremap(a, 4 * P, 8 * P, MremapMode::MayMove, false, &MmLimits::NONE).unwrap();
    assert_ne!(a, b);
    assert_eq!(guest_read(&mm, b + 3 * P), Ok(4));
    guest_write(&mm, b + 7 * P, 5).unwrap();
    assert!(guest_read(&mm, a).is_err());
    assert_eq!(mm.mremap(b, 8 * P, 2 * P, MremapMode::InPlace, false, &MmLimits::NONE), Ok(b));
    assert!(guest_read(&mm, b + 2 * P).is_err());
}

#[test]
fn placement_rules() {
    let mm = new_mm();
    let a = anon(&mm, Placement::Fixed(0x10_0000), 4 * P, RW);
    let request = MmapRequest::anonymous(Placement::FixedNoReplace(a + P), P, RW);
    assert_eq!(mm.mmap(&request, &MmLimits::NONE), Err(EEXIST));
    assert_eq!(anon(&mm, Placement::Hint(0x20_0000), P, RW), 0x20_0000);
    assert!(anon(&mm, Placement::Low, P, RW) < 1 << 31);
    let limits = MmLimits { address_space: 16 * P, ..MmLimits::NONE };
    assert_eq!(mm.mmap(&MmapRequest::anonymous(Placement::Hint(0), 16 * P, RW), &limits), Err(ENOMEM));
}

#[test]
fn stacks_grow_and_keep_their_gap() {
    let mm = new_mm();
    let top = 0x7000_0000u64;
    let request = MmapRequest {
        flags: VmFlags::GROWSDOWN,
        ..MmapRequest::anonymous(Placement::Fixed(top - 4 * P), 4 * P, RW)
    };
    let a = mm.mmap(&request, &MmLimits::NONE).unwrap();
    guest_write(&mm, a - 10 * P, 1).unwrap();
    let lower = mm.vmas()[0].start;
    assert!(lower <= a - 10 * P);
    let wall = anon(&mm, Placement::Fixed(lower - 300 * P), P, RW);
    assert!(guest_write(&mm, wall + 2 * P, 1).is_err());
    guest_write(&mm, lower - 2 * P, 1).unwrap();
}

#[test]
fn dontneed_reads_as_zero_also_when_shared_with_a_child() {
    let mm = new_mm();
    let a = anon(&mm, Placement::Hint(0), 4 * P, RW);
    guest_write(&mm, a, 1).unwrap();
    let child = mm.fork(0).unwrap();
    mm.madvise(a, 4 * P, Advice::DontNeed(false)).unwrap();
    assert_eq!(guest_read(&mm, a), Ok(0));
    assert_eq!(guest_read(&child, a), Ok(1));
    child.madvise(a, P, Advice::DontNeed(false)).unwrap();
    assert_eq!(guest_read(&child, a), Ok(0));
}

#[test]
fn shared_anonymous_memory_is_shared_and_keys_agree() {
    let mm = new_mm();
    let shared = SharedAnon::new(mm.memory(), 2 * P).unwrap();
    let request = MmapRequest {
        flags: VmFlags::SHARED,
        file: Some(VmaFile { mappable: shared, file: None, offset: 0 }),
        ..MmapRequest::anonymous(Placement::Hint(0), 2 * P, RW)
    };
    let a = mm.mmap(&request, &MmLimits::NONE).unwrap();
    let child = mm.fork(0).unwrap();
    guest_write(&child, a + P, 6).unwrap();
    assert_eq!(guest_read(&mm, a + P), Ok(6));
    assert_eq!(mm.futex_key(a + P, false), child.futex_key(a + P, false));
    assert_ne!(mm.futex_key(a + P, true), child.futex_key(a + P, true));
    assert_eq!(mm.cmpxchg_u32(a + P, 6, 7), Ok(6));
    assert_eq!(child.load_u32(a + P), Ok(7));
}

#[test]
fn brk_moves_and_respects_its_limits() {
    let mm = new_mm();
    mm.set_brk_start(0x40_0000);
    assert_eq!(mm.brk(0, &MmLimits::NONE), 0x40_0000);
    assert_eq!(mm.brk(0x40_1234, &MmLimits::NONE), 0x40_1234);
    guest_write(&mm, 0x40_1fff, 1).unwrap();
    assert_eq!(mm.brk(0x40_3000, &MmLimits::NONE), 0x40_3000);
    assert_eq!(guest_read(&mm, 0x40_1fff), Ok(1));
    let limits = MmLimits { data: 0x4000, ..MmLimits::NONE };
    assert_eq!(mm.brk(0x50_0000, &limits), 0x40_3000);
    assert_eq!(mm.brk(0x40_1000, &MmLimits::NONE), 0x40_1000);
    assert!(guest_read(&mm, 0x40_1fff).is_err());
}

#[test]
fn what_a_view_brings_after_a_fork_is_the_parents() {
    let mm = new_mm();
    let addr = anon(&mm, Placement::Hint(0), 4 * P, RW);
    (0..4).for_each(|page| guest_write(&mm, addr + page * P, 1).unwrap());
    mm.note_sibling();
    let ranges = [UserRange { addr: addr + P, len: 8 }];
    let mut view = mm.dst(&ranges).unwrap();
    let child = mm.fork(addr).unwrap();
    // Copies what is about the page, too.
    guest_write(&mm, addr, 2).unwrap();
    view.write(&[7; 8]).unwrap();
    drop(view);
    assert_eq!(guest_read(&mm, addr + P), Ok(7));
    assert_eq!([guest_read(&child, addr), guest_read(&child, addr + P)], [Ok(1), Ok(1)]);
    let later = mm.fork(addr).unwrap();
    guest_write(&mm, addr + P, 8).unwrap();
    assert_eq!(guest_read(&later, addr + P), Ok(7));
}
