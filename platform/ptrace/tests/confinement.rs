//! That guest code cannot make a stub act, and what the sentry can make it do.
#![allow(clippy::unwrap_used)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::{AddressSpace, Backing, MapOp, Platform, PlatformError, Prot, PtRegs, Trap};
use std::sync::Arc;

const STUB: u64 = 0x7fff_0000_0000;

/// Runs from every byte of the stub's pages, with registers that would make any call unmap a page of data.
#[test]
fn stub_code_calls_nothing_for_a_guest() {
    // mov rax, [rdi]; syscall
    let machine = Machine::with_code(&[0x48, 0x8b, 0x07, 0x0f, 0x05]);
    // A list of calls for the stub's loop.
    let call = [u64::try_from(libc::SYS_munmap).unwrap(), DATA + PAGE, PAGE, 0, 0, 0, 0, 0];
    let list: Vec<u8> = call.iter().cycle().take(64).flat_map(|word| word.to_ne_bytes()).collect();
    machine.write(DATA_OFFSET, &list);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    for nr in [libc::SYS_munmap, libc::SYS_exit_group, libc::SYS_clone] {
        for offset in 0..2 * PAGE {
            let rax = u64::try_from(nr).unwrap();
            let mut wild = PtRegs { rip: STUB + offset, rax, rbx: DATA, r12: 8, rsp: DATA + 2048, ..regs() };
            (wild.rdi, wild.rsi) = if nr == libc::SYS_munmap { (DATA + PAGE, PAGE) } else { (0, 0) };
            for _ in 0..4 {
                let trap = run(&mut context, &aspace, &mut wild);
                assert!(trap != Trap::Interrupted);
                if trap != Trap::Syscall {
                    break;
                }
            }
        }
        // Still there to be read; what it holds may have been changed by bytes that, met askew, are a store.
        let mut check = PtRegs { rdi: DATA + PAGE, ..regs() };
        assert_eq!(run(&mut context, &aspace, &mut check), Trap::Syscall);
    }
    assert_eq!(most_threads(), 1);
}

#[test]
fn guests_cannot_write_the_stub() {
    // mov [rdi], al
    let machine = Machine::with_code(&[0x88, 0x07]);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    for offset in [0, 8, PAGE - 1, PAGE, 2 * PAGE - 1, 2 * PAGE] {
        let mut regs = PtRegs { rdi: STUB + offset, ..regs() };
        let trap = run(&mut context, &aspace, &mut regs);
        assert!(matches!(trap, Trap::Fault(fault) if fault.addr == STUB + offset), "{trap:?}");
    }
}

#[test]
fn operations_outside_the_contract_are_refused() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let (start, end) = machine.platform.user_range();
    let host_file = Backing::HostFile { fd: Arc::new(machine.memory.try_clone().unwrap().into()), offset: 0 };
    let prot = Prot::READ | Prot::WRITE;
    for op in [
        MapOp::Unmap { addr: STUB, len: PAGE },
        MapOp::Unmap { addr: end - PAGE, len: 2 * PAGE },
        MapOp::Unmap { addr: start - PAGE, len: PAGE },
        MapOp::Unmap { addr: PAGE, len: u64::MAX - PAGE + 1 },
        MapOp::Unmap { addr: CODE, len: 0 },
        MapOp::Unmap { addr: CODE + 1, len: PAGE },
        MapOp::Protect { addr: CODE, len: PAGE - 1, prot: Prot::READ },
        map(CODE, PAGE, Prot::READ, 1),
        MapOp::Map { addr: CODE, len: PAGE, prot, backing: host_file, populate: false },
    ] {
        let result = aspace.apply(vec![op.clone()]);
        assert!(matches!(result, Err(PlatformError::Host { .. })), "{op:?}: {result:?}");
    }
    assert_eq!(run(&mut context, &aspace, &mut regs()), Trap::Syscall);
    aspace.apply(vec![MapOp::Unmap { addr: start, len: end - start }]).unwrap();
    assert!(matches!(run(&mut context, &aspace, &mut regs()), Trap::Fault(_)));
}

#[test]
fn host_files_are_mapped_and_kept_open_until_they_are() {
    // mov rax, [rdi]; syscall
    let machine = Machine::with_code(&[0x48, 0x8b, 0x07, 0x0f, 0x05]);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let op = MapOp::Map {
        addr: 0x1000_0000,
        len: PAGE,
        prot: Prot::READ,
        backing: Backing::HostFile { fd: Arc::new(file.into()), offset: 0 },
        populate: true,
    };
    aspace.apply(vec![op]).unwrap();
    let mut regs = PtRegs { rdi: 0x1000_0000, ..regs() };
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    assert_eq!(regs.orig_rax.to_ne_bytes()[..4], *b"\x7fELF");
}

fn many_mappings(count: u64) -> Vec<MapOp> {
    (0..count).map(|n| map(0x1_0000_0000 + n * 2 * PAGE, PAGE, Prot::READ, DATA_OFFSET)).collect()
}

#[test]
fn batches_larger_than_the_queue_page_are_carried_out_whole() {
    let machine = Machine::with_code(&[0x48, 0x8b, 0x07, 0x0f, 0x05]);
    machine.write(DATA_OFFSET, &4711_u64.to_ne_bytes());
    for count in [63, 64, 65, 128, 1000] {
        let (aspace, mut context) = (machine.aspace(), machine.context());
        aspace.apply(many_mappings(count)).unwrap();
        for n in [0, count / 2, count - 1] {
            let mut regs = PtRegs { rdi: 0x1_0000_0000 + n * 2 * PAGE, ..regs() };
            assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
            assert_eq!(regs.orig_rax, 4711);
        }
    }
}

#[test]
fn too_many_mappings_are_an_error_that_stays() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let limit: u64 = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
    if limit > 1 << 20 {
        return;
    }
    let (aspace, mut context): (Arc<dyn AddressSpace>, _) = (machine.aspace(), machine.context());
    let result = aspace.apply(many_mappings(limit + 10));
    let result = result.and_then(|()| context.switch(&aspace, &mut regs()).map(drop));
    assert!(matches!(result, Err(PlatformError::OutOfMemory(_))), "{result:?}");
    let again = context.switch(&aspace, &mut regs());
    assert!(matches!(again, Err(PlatformError::OutOfMemory(_))), "{again:?}");
    let again = aspace.apply(many_mappings(1));
    assert!(matches!(again, Err(PlatformError::OutOfMemory(_))), "{again:?}");
}
