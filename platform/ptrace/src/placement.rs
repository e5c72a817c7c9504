//! Which processor a host thread and its stub thread share.
//!
//! The two hand over at every trap and one of them always sleeps, so they belong on one processor: a wake-up across
//! processors costs ten times what the rest of a trap does. Both are therefore bound to one, which the scheduler then
//! cannot change, so this does it: a new pair goes where the fewest contexts run guest code, the keeper moves pairs
//! between processors by sampling who is in guest code, and lets a stub that has not trapped for long float, since
//! the scheduler knows better where a program belongs that only computes. Two tasks that wait for each other in turn are
//! never both in guest code and so stay together, which is what makes their wake-ups cheap.
//!
//! A thread inherits the binding of the one that starts it: a host thread that runs no guest code should be started by
//! one that does not either, or set its own affinity.

use crate::thread::StubThread;
use parking_lot::Mutex;
use platform::PlatformError;
use platform_host::affinity::{self, CpuSet};
use platform_host::{process, wait};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

/// Time between two samples.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// Samples without anybody in guest code after which sampling stops.
const IDLE_TICKS: u32 = 20;
/// Load of a pair that is always found in guest code.
const FULL: u32 = 1024;
/// Samples in one stint after which a stub thread floats. Long enough that one which is only kept waiting by another
/// program stays: it would have to be fetched back at its next trap.
const FLOAT_TICKS: u32 = 8;
/// Samples in one stint between two looks whether the process is still there.
const OVERDUE_TICKS: u32 = 64;
/// Weight of a new sample is one in 2 to this power: loads follow within some 20 ms.
const DECAY: u32 = 2;
/// A pair moves when the others on its processor have this much more load than the other processor. Above one half, which
/// is what each of two tasks has that run in turn.
const MARGIN: u32 = FULL * 5 / 8;

/// A host thread and the stub thread it traces.
pub(crate) struct Pair {
    thread: Arc<StubThread>,
    host: i32,
    cpu: AtomicU16,
    /// Whether the stub thread may run anywhere until its next trap.
    floating: AtomicBool,
    sample: Mutex<Sample>,
}

#[derive(Default)]
struct Sample {
    load: u32,
    stint: u32,
    /// Samples in a row that found the thread in this stint.
    ticks: u32,
}

/// All pairs of a platform.
pub(crate) struct Placement {
    cpus: Vec<u16>,
    everywhere: CpuSet,
    pairs: Mutex<Vec<Arc<Pair>>>,
    /// Whether the keeper samples.
    sampling: AtomicBool,
    idle_ticks: Mutex<u32>,
}

impl Placement {
    /// The processors are those the calling thread may use.
    pub(crate) fn new() -> Result<Placement, PlatformError> {
        let everywhere =
            affinity::get(0).map_err(|errno| PlatformError::Host { what: "sched_getaffinity", errno })?;
        let cpus = everywhere.members();
        Ok(Placement {
            sampling: AtomicBool::new(false),
            cpus,
            everywhere,
            pairs: Mutex::default(),
            idle_ticks: Mutex::default(),
        })
    }

    /// Binds the calling host thread and a stub thread to one processor.
    pub(crate) fn settle(&self, thread: &Arc<StubThread>) -> Arc<Pair> {
        let mut pairs = self.pairs.lock();
        let here = affinity::current_cpu();
        let in_guest = |cpu: u16| {
            let counts = |pair: &&Arc<Pair>| pair.is_on(cpu) && pair.thread.is_in_guest();
            pairs.iter().filter(counts).count()
        };
        let others = self.cpus.iter().copied().min_by_key(|cpu| (in_guest(*cpu), *cpu != here));
        let cpu = others.unwrap_or(here);
        let pair = Arc::new(Pair {
            thread: thread.clone(),
            host: process::gettid(),
            cpu: AtomicU16::new(cpu),
            floating: AtomicBool::new(false),
            sample: Mutex::default(),
        });
        pair.bind(cpu);
        pairs.push(pair.clone());
        pair
    }

    /// Forgets a pair that has parted.
    pub(crate) fn remove(&self, pair: &Arc<Pair>) {
        self.pairs.lock().retain(|other| !Arc::ptr_eq(other, pair));
    }

    /// To be called before guest code is entered. Tells whether the keeper must be woken to sample.
    pub(crate) fn enter(&self, pair: &Pair) -> bool {
        if pair.floating.load(Ordering::Relaxed) {
            pair.floating.store(false, Ordering::Relaxed);
            set(pair.thread.tid, &CpuSet::single(pair.cpu.load(Ordering::Relaxed)));
        }
        !self.sampling.load(Ordering::Relaxed) && !self.sampling.swap(true, Ordering::Relaxed)
    }

    /// Whether to call [`Self::tick`] after the next [`TICK`].
    pub(crate) fn wants_tick(&self) -> bool {
        self.sampling.load(Ordering::Relaxed)
    }

    /// Samples all pairs, moves or lets float what is better off elsewhere, and finds stubs that were killed.
    pub(crate) fn tick(&self) {
        let pairs = self.pairs.lock();
        for pair in pairs.iter().filter(|pair| pair.is_overdue_leader()) {
            reap_idle_siblings(&pairs, pair.thread.pid);
        }
        let mut loads = vec![0; self.cpus.len()];
        let place = |pair: &Pair| self.cpus.iter().position(|cpu| pair.is_on(*cpu));
        let mut busy = false;
        for pair in pairs.iter() {
            busy |= pair.thread.is_in_guest();
            let load = pair.sample(&self.everywhere);
            if let Some(sum) = place(pair).and_then(|index| loads.get_mut(index)) {
                *sum += load;
            }
        }
        for pair in pairs.iter() {
            let own = pair.sample.lock().load;
            let least =
                loads.iter().enumerate().min_by_key(|(_, load)| **load).map(|(index, load)| (index, *load));
            let (Some(from), Some((to, least))) = (place(pair), least) else { continue };
            let others = loads.get(from).map_or(0, |load| load.saturating_sub(own));
            if own < FULL / 4 || others < least + MARGIN {
                continue;
            }
            if let Some(cpu) = self.cpus.get(to) {
                pair.bind(*cpu);
                let shift = |loads: &mut [u32], index: usize, load: u32| {
                    if let Some(sum) = loads.get_mut(index) {
                        *sum = load;
                    }
                };
                shift(&mut loads, from, others);
                shift(&mut loads, to, least + own);
            }
        }
        let mut idle_ticks = self.idle_ticks.lock();
        *idle_ticks = if busy { 0 } else { *idle_ticks + 1 };
        if *idle_ticks >= IDLE_TICKS {
            *idle_ticks = 0;
            self.sampling.store(false, Ordering::Relaxed);
        }
    }
}

/// Reaps the threads of a process that have ended while their host threads were busy in the sentry.
///
/// The end of a killed process's leader is reported when all its other threads have been reaped. Its host thread waits
/// for that, and would for ever if theirs do not look.
fn reap_idle_siblings(pairs: &[Arc<Pair>], pid: i32) {
    let idle = |thread: &Arc<StubThread>| {
        thread.pid == pid && !thread.is_leader() && !thread.is_in_guest() && !thread.is_gone()
    };
    for thread in pairs.iter().map(|pair| &pair.thread).filter(|thread| idle(thread)) {
        if wait::has_ended(thread.tid) {
            // In this order: the id is free once the thread is reaped.
            thread.set_gone();
            let _ = wait::reap(thread.tid);
        }
    }
}

impl Pair {
    /// Whether the calling host thread is that of the pair.
    pub(crate) fn is_ours(&self) -> bool {
        self.host == process::gettid()
    }

    /// Whether the leader of a process has not trapped for so long that its process may have been killed.
    fn is_overdue_leader(&self) -> bool {
        self.thread.is_leader() && self.sample.lock().ticks % OVERDUE_TICKS == OVERDUE_TICKS - 1
    }

    fn is_on(&self, cpu: u16) -> bool {
        self.cpu.load(Ordering::Relaxed) == cpu && !self.floating.load(Ordering::Relaxed)
    }

    /// Binds both threads.
    fn bind(&self, cpu: u16) {
        self.cpu.store(cpu, Ordering::Relaxed);
        set(self.host, &CpuSet::single(cpu));
        set(self.thread.tid, &CpuSet::single(cpu));
    }

    /// Notes whether the pair is in guest code, and lets it float when it has been there for long. Gives
    /// its load.
    fn sample(&self, everywhere: &CpuSet) -> u32 {
        let in_guest = self.thread.is_in_guest();
        let stint = self.thread.stint();
        let mut sample = self.sample.lock();
        sample.load = sample.load - (sample.load >> DECAY) + if in_guest { FULL >> DECAY } else { 0 };
        let same_stint = in_guest && stint == sample.stint;
        sample.ticks = if same_stint { sample.ticks.wrapping_add(1) } else { 0 };
        if sample.ticks == FLOAT_TICKS && !self.thread.is_gone() {
            set(self.thread.tid, everywhere);
            // A trap in between finds the mark at its next entry, and binds the thread again.
            self.floating.store(true, Ordering::Relaxed);
        }
        sample.stint = stint;
        sample.load
    }
}

/// Binding fails for a thread that is dying and where a cpuset has changed; either way the pair works on, slower.
fn set(tid: i32, cpus: &CpuSet) {
    if let Err(errno) = affinity::set(tid, cpus) {
        tracing::debug!("sched_setaffinity of {tid}: {errno}");
    }
}
