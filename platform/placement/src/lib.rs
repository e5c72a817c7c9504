//! Which processor a host thread and its stub thread share.
//!
//! The two hand over at every trap and one of them always sleeps, so they belong on one processor: a wake-up across
//! processors costs ten times what the rest of a trap does. Both are therefore bound to one, which the scheduler then
//! cannot change, so this does it: a new pair goes where the fewest contexts run guest code, the keeper moves pairs
//! between processors by sampling who is in guest code, and lets a stub that has not trapped for long float, since
//! the scheduler knows better where a program belongs that only computes. Two tasks that wait for each other in turn come
//! together ([`Placement::come_to`]), which is what makes their wake-ups cheap.
//!
//! A thread inherits the binding of the one that starts it: a host thread that runs no guest code should be started by
//! one that does not either, or set its own affinity.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

use parking_lot::Mutex;
use platform::PlatformError;
use platform_host::affinity::{self, CpuSet};
use platform_host::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

/// Time between two samples.
pub const TICK: Duration = Duration::from_millis(5);
/// Samples without anybody in guest code after which sampling stops.
const IDLE_TICKS: u32 = 20;
/// Load of a pair that is always found in guest code.
const FULL: u32 = 1024;
/// Samples in one stint after which a stub thread floats. Long enough that one which is only kept waiting by another
/// program stays: it would have to be fetched back at its next trap.
const FLOAT_TICKS: u32 = 8;
/// The same for a stub thread with a processor of its own, which may be waiting for many others.
const APART_FLOAT_TICKS: u32 = 64;
/// Samples in one stint between two looks whether the process is still there.
const OVERDUE_TICKS: u32 = 64;
/// Samples for which a pair stays where another is that it takes turns with, though two that hand over to and fro look like more
/// than one processor's load.
const KEPT_TICKS: u32 = 50;
/// Weight of a new sample is one in 2 to this power: loads follow within some 20 ms.
const DECAY: u32 = 2;
/// A pair moves when the others on its processor have this much more load than the other processor. Above one half, which
/// is what each of two tasks has that run in turn.
const MARGIN: u32 = FULL * 5 / 8;

/// A thread that runs guest code, as a back-end has it.
pub trait StubThread: Send + Sync {
    /// Its host thread id.
    fn tid(&self) -> i32;

    /// Whether it runs guest code, or is about to.
    fn is_in_guest(&self) -> bool;

    /// A number that changes with each entry into guest code.
    fn stint(&self) -> u32;

    /// Whether it has ended. Its id may belong to another thread by now.
    fn is_gone(&self) -> bool {
        false
    }

    /// Called now and then for a thread that has not trapped for long, with the threads of all pairs. None of them is
    /// removed meanwhile.
    fn look_after(&self, _all: &[Arc<Pair<Self>>])
    where
        Self: Sized,
    {
    }
}

/// A host thread and the stub thread it hands over to.
pub struct Pair<T> {
    thread: Arc<T>,
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
    /// Samples for which the pair stays where it was asked to come.
    kept: u32,
    /// The processor of the stub thread, where the two have one each.
    apart: Option<u16>,
}

/// All pairs of a platform.
pub struct Placement<T> {
    cpus: Vec<u16>,
    everywhere: CpuSet,
    pairs: Mutex<Vec<Arc<Pair<T>>>>,
    /// Whether the keeper samples.
    sampling: AtomicBool,
    idle_ticks: Mutex<u32>,
    /// Pairs that are in guest code more than now and then.
    active: AtomicUsize,
}

impl<T: StubThread> Placement<T> {
    /// The processors are those the calling thread may use.
    ///
    /// # Errors
    /// [`PlatformError::Host`] when they cannot be told.
    pub fn new() -> Result<Placement<T>, PlatformError> {
        let everywhere =
            affinity::get(0).map_err(|errno| PlatformError::Host { what: "sched_getaffinity", errno })?;
        let cpus = everywhere.members();
        Ok(Placement {
            sampling: AtomicBool::new(false),
            cpus,
            everywhere,
            pairs: Mutex::default(),
            idle_ticks: Mutex::default(),
            active: AtomicUsize::new(0),
        })
    }

    /// The processors.
    pub fn cpus(&self) -> &[u16] {
        &self.cpus
    }

    /// Binds the calling host thread and a stub thread to one processor.
    pub fn settle(&self, thread: &Arc<T>) -> Arc<Pair<T>> {
        let mut pairs = self.pairs.lock();
        let here = affinity::current_cpu();
        let in_guest = |cpu: u16| {
            let counts = |pair: &&Arc<Pair<T>>| pair.is_on(cpu) && pair.thread.is_in_guest();
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

    /// How many pairs want a processor, as of the last sample.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Forgets a pair that has parted.
    pub fn remove(&self, pair: &Arc<Pair<T>>) {
        self.pairs.lock().retain(|other| !Arc::ptr_eq(other, pair));
    }

    /// To be called before guest code is entered. Tells whether the keeper must be woken to sample.
    pub fn enter(&self, pair: &Pair<T>) -> bool {
        if pair.floating.load(Ordering::Relaxed) {
            let sample = pair.sample.lock();
            pair.floating.store(false, Ordering::Relaxed);
            set(pair.thread.tid(), &CpuSet::single(sample.apart.unwrap_or(pair.cpu())));
        }
        !self.sampling.load(Ordering::Relaxed) && !self.sampling.swap(true, Ordering::Relaxed)
    }

    /// Moves a pair to the processor of another that it takes turns with, unless much more than that one wants to run there.
    pub fn come_to(&self, pair: &Pair<T>, cpu: u16) {
        if pair.cpu() == cpu || !self.cpus.contains(&cpu) {
            return;
        }
        let pairs = self.pairs.lock();
        let there = || pairs.iter().filter(|other| other.is_on(cpu));
        let load: u32 = there().map(|other| other.sample.lock().load).sum();
        if load < FULL && pair.move_to(cpu) {
            // The other of the two is one of them.
            there().for_each(|pair| pair.sample.lock().kept = KEPT_TICKS);
        }
    }

    /// Whether to call [`Self::tick`] after the next [`TICK`].
    pub fn wants_tick(&self) -> bool {
        self.sampling.load(Ordering::Relaxed)
    }

    /// Samples all pairs, moves or lets float what is better off elsewhere, and has those looked
    /// after that do not trap.
    pub fn tick(&self) {
        let pairs = self.pairs.lock();
        for pair in pairs.iter().filter(|pair| pair.is_overdue()) {
            pair.thread.look_after(&pairs);
        }
        let mut loads = vec![0; self.cpus.len()];
        let place = |pair: &Pair<T>| self.cpus.iter().position(|cpu| pair.is_on(*cpu));
        let (mut busy, mut active) = (false, 0);
        for pair in pairs.iter() {
            busy |= pair.thread.is_in_guest();
            let load = pair.sample(&self.everywhere);
            active += usize::from(load >= FULL / 8);
            if let Some(sum) = place(pair).and_then(|index| loads.get_mut(index)) {
                *sum += load;
            }
            let apart = pair.sample.lock().apart;
            let second = apart.and_then(|cpu| self.cpus.iter().position(|other| *other == cpu));
            if let Some(sum) = second.and_then(|index| loads.get_mut(index)) {
                *sum += FULL;
            }
        }
        self.active.store(active, Ordering::Relaxed);
        for pair in pairs.iter() {
            let (own, kept) = {
                let sample = pair.sample.lock();
                (sample.load, sample.kept > 0)
            };
            let least =
                loads.iter().enumerate().min_by_key(|(_, load)| **load).map(|(index, load)| (index, *load));
            let (Some(from), Some((to, least))) = (place(pair), least) else { continue };
            let others = loads.get(from).map_or(0, |load| load.saturating_sub(own));
            if kept || own < FULL / 4 || others < least + MARGIN {
                continue;
            }
            if self.cpus.get(to).is_some_and(|cpu| pair.move_to(*cpu)) {
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

impl<T: StubThread> Pair<T> {
    /// The stub thread.
    pub fn thread(&self) -> &Arc<T> {
        &self.thread
    }

    /// The processor of the host thread.
    pub fn cpu(&self) -> u16 {
        self.cpu.load(Ordering::Relaxed)
    }

    /// Gives each of the two threads a processor, which it keeps until [`Self::reunite`]. To be called by the host
    /// thread.
    pub fn part(&self, host: u16, stub: u16) {
        let mut sample = self.sample.lock();
        sample.apart = Some(stub);
        self.floating.store(false, Ordering::Relaxed);
        set(self.thread.tid(), &CpuSet::single(stub));
        if self.cpu() != host {
            self.cpu.store(host, Ordering::Relaxed);
            set(self.host, &CpuSet::single(host));
        }
    }

    /// Brings the two together again, on a processor.
    pub fn reunite(&self, cpu: u16) {
        let mut sample = self.sample.lock();
        sample.apart = None;
        self.bind(cpu);
    }

    /// Whether the calling host thread is that of the pair.
    pub fn is_ours(&self) -> bool {
        self.host == process::gettid()
    }

    /// Whether the thread has not trapped for so long that its process may have been killed.
    fn is_overdue(&self) -> bool {
        self.sample.lock().ticks % OVERDUE_TICKS == OVERDUE_TICKS - 1
    }

    fn is_on(&self, cpu: u16) -> bool {
        self.cpu.load(Ordering::Relaxed) == cpu && !self.floating.load(Ordering::Relaxed)
    }

    /// Moves the pair. Tells whether it may be moved.
    fn move_to(&self, cpu: u16) -> bool {
        let sample = self.sample.lock();
        if sample.apart.is_none() {
            self.bind(cpu);
        }
        sample.apart.is_none()
    }

    /// Binds both threads.
    fn bind(&self, cpu: u16) {
        self.cpu.store(cpu, Ordering::Relaxed);
        set(self.host, &CpuSet::single(cpu));
        set(self.thread.tid(), &CpuSet::single(cpu));
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
        let patience = if sample.apart.is_some() { APART_FLOAT_TICKS } else { FLOAT_TICKS };
        if sample.ticks == patience && !self.thread.is_gone() {
            set(self.thread.tid(), everywhere);
            // A trap in between finds the mark at its next entry, and binds the thread again.
            self.floating.store(true, Ordering::Relaxed);
        }
        sample.stint = stint;
        sample.kept = sample.kept.saturating_sub(1);
        sample.load
    }
}

/// Binding fails for a thread that is dying and where a cpuset has changed; either way the pair works on, slower.
fn set(tid: i32, cpus: &CpuSet) {
    if let Err(errno) = affinity::set(tid, cpus) {
        tracing::debug!("sched_setaffinity of {tid}: {errno}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    struct Idle {
        tid: i32,
        in_guest: AtomicBool,
        stint: AtomicU32,
    }

    impl StubThread for Idle {
        fn tid(&self) -> i32 {
            self.tid
        }

        fn is_in_guest(&self) -> bool {
            self.in_guest.load(Ordering::Relaxed)
        }

        fn stint(&self) -> u32 {
            self.stint.fetch_add(1, Ordering::Relaxed)
        }
    }

    /// Calls `test` with a pair for each of `many` host threads, whose stub threads are themselves.
    fn with_pairs(many: usize, test: impl Fn(&Placement<Idle>, &[Arc<Pair<Idle>>])) {
        let Ok(placement) = Placement::<Idle>::new() else { unreachable!("there are processors") };
        if placement.cpus().len() < 2 {
            return;
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let mut stay = Vec::new();
            for _ in 0..many {
                let (go, wait) = std::sync::mpsc::channel::<()>();
                let (sender, placement) = (sender.clone(), &placement);
                stay.push(go);
                scope.spawn(move || {
                    let idle = Arc::new(Idle {
                        tid: process::gettid(),
                        in_guest: AtomicBool::new(false),
                        stint: AtomicU32::new(0),
                    });
                    let _ = sender.send(placement.settle(&idle));
                    // Until the test is over, be it with a panic.
                    let _ = wait.recv();
                });
            }
            let pairs: Vec<_> = receiver.iter().take(many).collect();
            test(&placement, &pairs);
            drop(stay);
        });
    }

    #[test]
    fn who_takes_turns_comes_and_stays_for_a_while() {
        with_pairs(2, |placement, pairs| {
            let [one, other] = pairs else { unreachable!("there are two") };
            let (here, there) = (placement.cpus()[0], placement.cpus()[1]);
            assert!(one.move_to(here) && other.move_to(there));
            placement.come_to(other, here);
            assert_eq!(other.cpu(), here);
            // As two look that hand over to and fro.
            pairs.iter().for_each(|pair| pair.thread().in_guest.store(true, Ordering::Relaxed));
            (0..KEPT_TICKS - 1).for_each(|_| placement.tick());
            assert_eq!((one.cpu(), other.cpu()), (here, here));
            (0..KEPT_TICKS).for_each(|_| placement.tick());
            assert_ne!(one.cpu(), other.cpu());
        });
    }

    #[test]
    fn nobody_comes_to_where_others_compute() {
        with_pairs(2, |placement, pairs| {
            let [one, other] = pairs else { unreachable!("there are two") };
            let (here, there) = (placement.cpus()[0], placement.cpus()[1]);
            assert!(one.move_to(here) && other.move_to(there));
            one.sample.lock().load = FULL;
            placement.come_to(other, here);
            assert_eq!(other.cpu(), there);
            placement.come_to(other, u16::MAX);
            assert_eq!(other.cpu(), there);
        });
    }
}
