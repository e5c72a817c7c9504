//! Several contexts in one address space, and address spaces that come and go.
#![allow(clippy::unwrap_used)]

use crate::backend;
use crate::guest::*;
use platform::{Prot, Trap};

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
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
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
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
    // With the last of them, everything of the guest's has gone, or it may come back.
    let trap = context.switch(&aspace, &mut first).ok();
    assert_eq!(trap, (!backend::RETIRES).then_some(Trap::Syscall));
}

#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
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
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
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

/// A small generator of reproducible choices.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Threads map, protect, unmap and touch pages of their own while others run, and are interrupted all the time: each
/// must find exactly what it has mapped.
#[test]
#[cfg_attr(needs_kvm, ignore = "needs a /dev/kvm of use; test/kvm/run brings one along")]
fn everything_at_once() {
    use platform::{Fault, MapOp};
    use std::sync::atomic::{AtomicBool, Ordering};

    // mov [rdi], rsi; syscall
    let machine = Machine::with_code(&[0x48, 0x89, 0x37, 0x0f, 0x05]);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    assert!(matches!(run(&mut context, &aspace, &mut regs()), Trap::Fault(_)));
    let stop = AtomicBool::new(false);
    let interrupters = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let runners: Vec<_> = (0..4_u64)
            .map(|n| {
                let mut sibling = context.new_sibling(&aspace).unwrap();
                let (aspace, interrupters, memory) = (&aspace, &interrupters, &machine.memory);
                interrupters.lock().push(sibling.interrupter());
                scope.spawn(move || {
                    let mut choices = Choices(n);
                    let mut mapped: [Option<Prot>; 8] = [None; 8];
                    let (base, offset) = (0x1000_0000 + n * 0x10_0000, 0x10_0000 + n * 0x1_0000);
                    for round in 0..1500 {
                        let page = choices.below(8);
                        let addr = base + page * PAGE;
                        let slot = &mut mapped[usize::try_from(page).unwrap()];
                        let prot = [Prot::READ, Prot::READ | Prot::WRITE][usize::from(choices.below(2) == 0)];
                        let op = match (choices.below(4), &slot) {
                            (0, _) => {
                                *slot = None;
                                Some(MapOp::Unmap { addr, len: PAGE })
                            }
                            (1, Some(_)) => {
                                *slot = Some(prot);
                                Some(MapOp::Protect { addr, len: PAGE, prot })
                            }
                            (2, _) => {
                                *slot = Some(prot);
                                Some(map(addr, PAGE, prot, offset + page * PAGE))
                            }
                            _ => None,
                        };
                        let writable = slot.is_some_and(|prot| prot.contains(Prot::WRITE));
                        aspace.apply(op.into_iter().collect()).unwrap();
                        let mut regs = platform::PtRegs { rdi: addr, rsi: round, ..regs() };
                        let trap = loop {
                            match run(&mut sibling, aspace, &mut regs) {
                                Trap::Interrupted => {}
                                trap => break trap,
                            }
                        };
                        if writable {
                            assert_eq!(trap, Trap::Syscall);
                            let mut bytes = [0; 8];
                            std::os::unix::fs::FileExt::read_exact_at(
                                memory,
                                &mut bytes,
                                offset + page * PAGE,
                            )
                            .unwrap();
                            assert_eq!(u64::from_ne_bytes(bytes), round);
                        } else {
                            assert!(
                                matches!(trap, Trap::Fault(Fault { addr: at, .. }) if at == addr),
                                "{trap:?}"
                            );
                        }
                    }
                })
            })
            .collect();
        // An outsider's operations, and interruptions.
        let outsider = scope.spawn(|| {
            let mut choices = Choices(99);
            while !stop.load(Ordering::Relaxed) {
                let addr = 0x2000_0000 + choices.below(64) * PAGE;
                aspace.apply(vec![map(addr, PAGE, Prot::READ, 0), MapOp::Unmap { addr, len: PAGE }]).unwrap();
                let interrupters = interrupters.lock();
                let index = usize::try_from(choices.below(4)).unwrap();
                interrupters[index].interrupt();
            }
        });
        for runner in runners {
            runner.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        outsider.join().unwrap();
    });
}
