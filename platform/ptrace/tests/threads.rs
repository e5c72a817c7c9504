//! Several contexts in one address space, and address spaces that come and go.
#![allow(clippy::unwrap_used)]

mod guest;

use guest::*;
use platform::{Prot, Trap};

#[test]
fn siblings_share_memory() {
    // lock inc qword [rdi]; syscall; jmp .-6
    let machine = Machine::with_code(&[0xf0, 0x48, 0xff, 0x07, 0x0f, 0x05, 0xeb, 0xf8]);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let rounds = 500;
    std::thread::scope(|scope| {
        let mut regs = regs();
        regs.rdi = DATA;
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        for _ in 0..3 {
            let mut sibling = context.new_sibling(&aspace).unwrap();
            let (aspace, mut regs) = (aspace.clone(), regs);
            scope.spawn(move || {
                for _ in 0..rounds {
                    assert_eq!(run(&mut sibling, &aspace, &mut regs), Trap::Syscall);
                    assert_eq!(regs.rip, CODE + 6);
                }
            });
        }
        for _ in 1..rounds {
            assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        }
    });
    assert_eq!(machine.read_u64(DATA_OFFSET), 4 * rounds);
}

#[test]
fn the_first_context_may_leave_before_its_siblings() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut first = regs();
    assert_eq!(run(&mut context, &aspace, &mut first), Trap::Syscall);
    let mut sibling = context.new_sibling(&aspace).unwrap();
    context.leave();
    let (last, aspace) = std::thread::spawn(move || {
        let mut regs = regs();
        for _ in 0..10 {
            assert_eq!(run(&mut sibling, &aspace, &mut regs), Trap::Syscall);
        }
        (regs, aspace)
    })
    .join()
    .unwrap();
    assert_eq!(last.rip, CODE + 2);
    // And may come back.
    assert_eq!(run(&mut context, &aspace, &mut first), Trap::Syscall);
}

#[test]
fn a_context_moves_to_a_new_address_space() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let mut context = machine.context();
    for _ in 0..20 {
        let aspace = machine.aspace();
        assert_eq!(run(&mut context, &aspace, &mut regs()), Trap::Syscall);
        context.leave();
    }
}

#[test]
fn apply_takes_effect_while_siblings_run() {
    // mov rax, [rdi]; jmp .-3
    let machine = Machine::with_code(&[0x48, 0x8b, 0x07, 0xeb, 0xfb]);
    machine.write(0x1000, SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let place = 0x1000_0000;
    let mut own = platform::PtRegs { rip: CODE + 0x1000, ..regs() };
    assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
    for from_inside in [true, false] {
        aspace.apply(vec![map(place, PAGE, Prot::READ, DATA_OFFSET)]).unwrap();
        let mut sibling = context.new_sibling(&aspace).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let runner = std::thread::spawn({
            let aspace = aspace.clone();
            move || {
                let mut regs = regs();
                regs.rdi = place;
                sender.send(()).unwrap();
                run(&mut sibling, &aspace, &mut regs)
            }
        });
        receiver.recv().unwrap();
        let unmap = vec![platform::MapOp::Unmap { addr: place, len: PAGE }];
        if from_inside {
            aspace.apply(unmap).unwrap();
            // The caller's own registers survive.
            assert_eq!(run(&mut context, &aspace, &mut own), Trap::Syscall);
        } else {
            let aspace = aspace.clone();
            std::thread::spawn(move || aspace.apply(unmap).unwrap()).join().unwrap();
        }
        let trap = runner.join().unwrap();
        assert!(matches!(trap, Trap::Fault(platform::Fault { addr, .. }) if addr == place), "{trap:?}");
    }
}
