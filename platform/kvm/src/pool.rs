//! Virtual processors, leased to contexts.
//!
//! A context keeps its processor while nobody else needs it, so that a switch needs no more than the processor's own lock.
//! When there are as many as there may be, one whose context is in the sentry is taken from it; when all run guest code,
//! the thread queues, and after a slice of time has one of them brought out and handed over.
//!
//! Before Linux 6.12, a processor's first run on another thread waits for a grace period of RCU, some milliseconds; this
//! is one more reason for contexts to keep theirs.
//!
//! Lock order: the queue, then a processor's lease, then an owner's state.

use crate::interrupt;
use crate::vcpu::{Owner, Vcpu};
use crate::vm::Vm;
use parking_lot::{Condvar, Mutex, RwLock};
use platform::{PlatformError, PlatformStats};
use platform_host::process::gettid;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long guest code may run while somebody waits for a processor.
const SLICE: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Queue {
    /// Processors of nobody.
    free: Vec<Arc<Vcpu>>,
    waiters: VecDeque<Arc<Waiter>>,
    /// The processor that was preempted last.
    last_preempted: usize,
}

#[derive(Default)]
struct Waiter {
    given: Mutex<Option<Arc<Vcpu>>>,
    changed: Condvar,
}

/// All virtual processors.
pub(crate) struct Pool {
    vm: Arc<Vm>,
    max: usize,
    all: RwLock<Vec<Arc<Vcpu>>>,
    queue: Mutex<Queue>,
    /// Threads that wait for processors to leave guest code.
    shooters: AtomicUsize,
    shot: Mutex<()>,
    any_left: Condvar,
    pub(crate) stats: PlatformStats,
}

impl Pool {
    pub(crate) fn new(vm: Arc<Vm>) -> Pool {
        let max = vm.vcpu_fds().len();
        Pool {
            vm,
            max,
            all: RwLock::default(),
            queue: Mutex::default(),
            shooters: AtomicUsize::new(0),
            shot: Mutex::default(),
            any_left: Condvar::new(),
            stats: PlatformStats::default(),
        }
    }

    pub(crate) fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    /// A processor with the extended state of `owner` in it, to be used by the calling thread.
    pub(crate) fn acquire(&self, owner: &Arc<Owner>) -> Result<Arc<Vcpu>, PlatformError> {
        interrupt::unblock();
        let waiter = {
            let mut queue = self.queue.lock();
            let found = if queue.waiters.is_empty() { self.find(&mut queue)? } else { None };
            match found {
                Some(vcpu) => {
                    self.claim(&vcpu, owner)?;
                    return Ok(vcpu);
                }
                None => {
                    let waiter = Arc::new(Waiter::default());
                    queue.waiters.push_back(waiter.clone());
                    waiter
                }
            }
        };
        let vcpu = self.wait(&waiter);
        self.claim(&vcpu, owner)?;
        Ok(vcpu)
    }

    /// A processor that does not run.
    fn find(&self, queue: &mut Queue) -> Result<Option<Arc<Vcpu>>, PlatformError> {
        if let Some(vcpu) = queue.free.pop() {
            return Ok(Some(vcpu));
        }
        let count = self.all.read().len();
        if count < self.max {
            let vcpu = Arc::new(Vcpu::new(&self.vm, count)?);
            PlatformStats::count(&self.stats.stub_threads);
            self.all.write().push(vcpu.clone());
            return Ok(Some(vcpu));
        }
        Ok(self.all.read().iter().find(|vcpu| vcpu.reserve()).cloned())
    }

    /// Makes `owner` the one whose state is in the processor; the previous owner gets its own back.
    fn claim(&self, vcpu: &Vcpu, owner: &Arc<Owner>) -> Result<(), PlatformError> {
        let mut lease = vcpu.lease.lock();
        vcpu.reserved.store(false, Ordering::SeqCst);
        vcpu.set_thread(gettid());
        if lease.belongs_to(owner) {
            return Ok(());
        }
        lease.evict(&self.vm)?;
        let state = owner.fp.lock().take();
        let initial = self.vm.cpuid.xstate.initial();
        lease.set_fp_state(&self.vm, state.as_ref().map_or(initial, |state| state.as_bytes()))?;
        lease.owner = Some(owner.clone());
        Ok(())
    }

    fn wait(&self, waiter: &Arc<Waiter>) -> Arc<Vcpu> {
        loop {
            let mut given = waiter.given.lock();
            if given.is_none() {
                waiter.changed.wait_for(&mut given, SLICE);
            }
            if let Some(vcpu) = given.take() {
                return vcpu;
            }
            drop(given);
            self.preempt(waiter);
        }
    }

    /// Has the next processor in turn come out of guest code, or hands an idle one over, if `waiter` is the first in line.
    fn preempt(&self, waiter: &Arc<Waiter>) {
        let mut queue = self.queue.lock();
        if !queue.waiters.front().is_some_and(|first| Arc::ptr_eq(first, waiter)) {
            return;
        }
        let all = self.all.read();
        let next = queue.last_preempted + 1;
        let order = (0..all.len()).map(|n| (next + n) % all.len());
        for index in order {
            let Some(vcpu) = all.get(index).filter(|vcpu| !vcpu.reserved.load(Ordering::SeqCst)) else {
                continue;
            };
            queue.last_preempted = index;
            if vcpu.is_running() {
                vcpu.due.store(true, Ordering::SeqCst);
                vcpu.kick();
                return;
            }
            if vcpu.reserve() {
                self.hand_over(&mut queue, vcpu);
                return;
            }
        }
    }

    /// Gives a processor that is reserved to whoever has waited longest; tells whether there was anybody.
    fn hand_over(&self, queue: &mut Queue, vcpu: &Arc<Vcpu>) -> bool {
        let Some(waiter) = queue.waiters.pop_front() else {
            vcpu.reserved.store(false, Ordering::SeqCst);
            return false;
        };
        *waiter.given.lock() = Some(vcpu.clone());
        waiter.changed.notify_one();
        true
    }

    /// To be called when guest code has stopped on a processor and its lease is not held. Before its slice is over it stays
    /// with its context, since a change of threads is not cheap.
    pub(crate) fn released(&self, vcpu: &Arc<Vcpu>) {
        if vcpu.due.load(Ordering::SeqCst) && vcpu.due.swap(false, Ordering::SeqCst) {
            let mut queue = self.queue.lock();
            if vcpu.reserve() {
                self.hand_over(&mut queue, vcpu);
            }
        }
    }

    /// Takes back the processor of an owner that is done with it.
    pub(crate) fn give_back(&self, vcpu: &Arc<Vcpu>, owner: &Arc<Owner>) {
        let mut queue = self.queue.lock();
        let Some(mut lease) = vcpu.lease_of(owner) else { return };
        lease.owner = None;
        drop(lease);
        // One that is reserved already belongs to whoever it was handed to.
        if vcpu.reserve() && !self.hand_over(&mut queue, vcpu) {
            queue.free.push(vcpu.clone());
        }
    }

    /// Tells those who wait for processors to leave guest code that one has.
    pub(crate) fn left(&self) {
        if self.shooters.load(Ordering::SeqCst) != 0 {
            // The lock keeps the signal from falling between their look and their wait.
            let _shot = self.shot.lock();
            self.any_left.notify_all();
        }
    }

    /// Returns when every processor that ran guest code of an address space has been out of it.
    pub(crate) fn shoot_down(&self, space: u64) {
        let all = self.all.read();
        let targets: Vec<(&Arc<Vcpu>, u32)> =
            all.iter().filter_map(|vcpu| Some((vcpu, vcpu.stint_in(space)?))).collect();
        if targets.is_empty() {
            return;
        }
        self.shooters.fetch_add(1, Ordering::SeqCst);
        targets.iter().for_each(|(vcpu, _)| vcpu.kick());
        let mut shot = self.shot.lock();
        for (vcpu, stint) in targets {
            while vcpu.stint_in(space) == Some(stint) {
                self.any_left.wait(&mut shot);
            }
        }
        drop(shot);
        self.shooters.fetch_sub(1, Ordering::SeqCst);
    }
}
