//! The thread that keeps the zygote, a pool of ready stubs, and the dead ones until they are reaped; it also gives the
//! placement of pairs its ticks.

use crate::control_file::{ControlFile, QueueSlot};
use crate::placement::{Placement, TICK};
use crate::zygote::{FreshStub, Zygote};
use parking_lot::{Condvar, Mutex};
use platform::PlatformError;
use platform_host::xstate::XstateLayout;
use platform_host::{process, wait};
use sentry_uapi::Errno;
use sentry_uapi::errno::EAGAIN;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Stubs kept ready.
const POOL_SIZE: usize = 4;

/// A stub that has been killed.
struct Corpse {
    pid: i32,
    /// A thread other than the leader that is still traced.
    traced: Option<i32>,
    /// Given back once the process is gone.
    queue: QueueSlot,
}

#[derive(Default)]
struct Jobs {
    ready: VecDeque<FreshStub>,
    /// Callers that found the pool empty.
    waiting: usize,
    /// The last fork failed; for those waiting.
    failed: Option<Errno>,
    dead: Vec<Corpse>,
    stop: bool,
}

struct Desk {
    placement: Arc<Placement>,
    jobs: Mutex<Jobs>,
    /// Signalled for the keeper.
    work: Condvar,
    /// Signalled for those who wait for a stub.
    filled: Condvar,
}

/// The handle of the keeper thread. Dropping it ends the thread and all stubs.
pub(crate) struct Keeper {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread and waits until the zygote stands.
    pub(crate) fn start(
        control: Arc<ControlFile>,
        placement: Arc<Placement>,
    ) -> Result<(Keeper, XstateLayout), PlatformError> {
        let desk = Arc::new(Desk {
            placement,
            jobs: Mutex::default(),
            work: Condvar::default(),
            filled: Condvar::default(),
        });
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("stub-keeper".into()).spawn({
            let desk = desk.clone();
            move || match Zygote::new(&control) {
                Ok((zygote, layout)) => {
                    let _ = sender.send(Ok(layout));
                    desk.keep(&zygote);
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                }
            }
        });
        let thread = thread.map_err(|error| PlatformError::Host {
            what: "clone",
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
        })?;
        let layout = receiver.recv().map_err(|_| PlatformError::Gone("the stub keeper".into()))??;
        Ok((Keeper { desk, thread: Some(thread) }, layout))
    }

    /// A ready stub; made now when the pool is empty.
    pub(crate) fn take(&self) -> Result<FreshStub, PlatformError> {
        let mut jobs = self.desk.jobs.lock();
        loop {
            if let Some(stub) = jobs.ready.pop_front() {
                if jobs.ready.len() <= POOL_SIZE / 2 {
                    self.desk.work.notify_one();
                }
                return Ok(stub);
            }
            jobs.failed = None;
            jobs.waiting += 1;
            self.desk.work.notify_one();
            self.desk.filled.wait(&mut jobs);
            jobs.waiting -= 1;
            if let Some(errno) = jobs.failed.filter(|_| jobs.ready.is_empty()) {
                return Err(PlatformError::OutOfMemory(errno));
            }
        }
    }

    /// Wakes the keeper, so that it begins to sample.
    pub(crate) fn begin_sampling(&self) {
        // The lock keeps the signal from falling between the keeper's look and its wait.
        let _jobs = self.desk.jobs.lock();
        self.desk.work.notify_one();
    }

    /// Kills a stub process and has it reaped. `traced` is its one thread that is still traced, if that is not the leader.
    pub(crate) fn bury(&self, pid: i32, traced: Option<i32>, queue: QueueSlot) {
        process::kill_process(pid);
        self.desk.jobs.lock().dead.push(Corpse { pid, traced, queue });
        self.desk.work.notify_one();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.desk.jobs.lock().stop = true;
        self.desk.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has panicked at worst, and its stubs died with it.
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn keep(&self, zygote: &Zygote) {
        loop {
            let mut jobs = self.jobs.lock();
            let dead = std::mem::take(&mut jobs.dead);
            let wanted = jobs.ready.len() < POOL_SIZE.max(jobs.waiting) && jobs.failed.is_none();
            if dead.is_empty() && (!wanted || jobs.stop) {
                if jobs.stop {
                    break;
                }
                if !self.placement.wants_tick() {
                    self.work.wait(&mut jobs);
                } else if self.work.wait_for(&mut jobs, TICK).timed_out() {
                    drop(jobs);
                    self.placement.tick();
                }
                continue;
            }
            drop(jobs);
            // First those who wait, then the dead, whose memory is wanted too.
            if wanted {
                self.refill(zygote);
            }
            dead.into_iter().for_each(Corpse::reap);
        }
        let ready = std::mem::take(&mut self.jobs.lock().ready);
        for FreshStub { pid, queue } in ready {
            process::kill_process(pid);
            Corpse { pid, traced: None, queue }.reap();
        }
    }

    fn refill(&self, zygote: &Zygote) {
        let made = zygote.fork();
        let mut jobs = self.jobs.lock();
        match made {
            Ok(stub) => {
                jobs.ready.push_back(stub);
                self.filled.notify_one();
            }
            Err(error) => {
                tracing::warn!("no stub process: {error}");
                jobs.failed = Some(match error {
                    PlatformError::OutOfMemory(errno) | PlatformError::Host { errno, .. } => errno,
                    _ => EAGAIN,
                });
                self.filled.notify_all();
            }
        }
    }
}

impl Corpse {
    fn reap(self) {
        // A failure means that it has been reaped: by its tracer, or because the tracer ended.
        if let Some(tid) = self.traced {
            let _ = wait::reap(tid);
        }
        let _ = wait::reap(self.pid);
        drop(self.queue);
    }
}
