//! What memory the host gives for large mappings.
#![allow(clippy::unwrap_used)]

use platform_scripted::{ScriptedAddressSpace, ScriptedPlatform};
use sentry_mm::*;

const MIB: u64 = 1 << 20;
const HUGE: u64 = 2 * MIB;

/// Writes a byte where the address space says that `addr` is.
fn write(mm: &MemoryManager, addr: u64) {
    let space = mm.address_space().as_any().downcast_ref::<ScriptedAddressSpace>().unwrap();
    let (offset, _) = space.lookup(addr).unwrap();
    mm.memory().write_at(offset, &[1]).unwrap();
}

#[test]
fn all_but_the_first_room_for_a_huge_page_has_one() {
    let file = match platform_host::memfd::huge_file(c"test") {
        Ok(file) => file,
        Err(error) => {
            eprintln!("skipped: no huge pages here: {error}");
            return;
        }
    };
    let memory = MemoryFile::with_huge_pages(file).unwrap();
    let mm = MemoryManager::new(memory.clone(), ScriptedPlatform::new(Vec::new())).unwrap();
    let request = |len, flags| MmapRequest {
        flags,
        ..MmapRequest::anonymous(Placement::Hint(0), len, Prot::READ | Prot::WRITE)
    };
    let map = |len, flags| mm.mmap(&request(len, flags), &MmLimits::NONE).unwrap();

    let addr = map(8 * MIB, VmFlags::empty());
    assert!(addr.is_multiple_of(HUGE));
    write(&mm, addr);
    assert_eq!(memory.resident(), PAGE_SIZE);
    write(&mm, addr + HUGE + 5);
    // A host that has no huge page left gives small ones.
    if memory.resident() < HUGE {
        eprintln!("skipped: the host has no huge page to spare");
        return;
    }
    assert_eq!(memory.resident(), HUGE + PAGE_SIZE);
    mm.munmap(addr, 8 * MIB).unwrap();
    memory.trim();
    assert_eq!(memory.resident(), 0);

    for flags in [VmFlags::NOHUGEPAGE, VmFlags::NORESERVE] {
        let addr = map(8 * MIB, flags);
        write(&mm, addr + 4 * MIB);
        assert_eq!(memory.resident(), PAGE_SIZE);
        mm.munmap(addr, 8 * MIB).unwrap();
        memory.trim();
    }
}
