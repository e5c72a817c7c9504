//! The thread that keeps the zygote and a pool of ready stubs, makes those that have served fit to serve again or reaps them; and that gives the
//! placement of pairs its ticks.

use crate::control_file::ControlFile;
use crate::thread::StubThread;
use crate::zygote::{FreshStub, Zygote};
use parking_lot::{Condvar, Mutex};
use platform::PlatformError;
use platform_host::{process, wait};
use platform_placement::{Placement, TICK};
use sentry_uapi::Errno;
use sentry_uapi::errno::EAGAIN;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Stubs kept ready at least. More of them wait only if they have served.
const POOL_SIZE: usize = 2;
const MAX_POOL_SIZE: usize = 6;

#[derive(Default)]
struct Jobs {
    ready: VecDeque<FreshStub>,
    /// Callers that found the pool empty.
    waiting: usize,
    /// The last fork failed; for those waiting.
    failed: Option<Errno>,
    /// Those that have served, and whether they may again. The memory of one that may not can be used again once it is
    /// gone; it has been killed.
    returned: Vec<(FreshStub, bool)>,
    stop: bool,
}

struct Desk {
    placement: Arc<Placement<StubThread>>,
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
        placement: Arc<Placement<StubThread>>,
    ) -> Result<Keeper, PlatformError> {
        let desk = Arc::new(Desk {
            placement,
            jobs: Mutex::default(),
            work: Condvar::new(),
            filled: Condvar::new(),
        });
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("stub-keeper".into()).spawn({
            let desk = desk.clone();
            move || match Zygote::new(&control) {
                Ok(mut zygote) => {
                    let _ = sender.send(Ok(()));
                    desk.keep(&mut zygote);
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
        receiver.recv().map_err(|_| PlatformError::Gone("the stub keeper".into()))??;
        Ok(Keeper { desk, thread: Some(thread) })
    }

    /// A ready stub; made now when the pool is empty.
    pub(crate) fn take(&self) -> Result<FreshStub, PlatformError> {
        let mut jobs = self.desk.jobs.lock();
        loop {
            if let Some(stub) = jobs.ready.pop_back() {
                if wait::has_ended(stub.mapper.pid()) {
                    // Somebody outside has killed it.
                    jobs.returned.push((stub, false));
                    self.desk.work.notify_one();
                    continue;
                }
                if jobs.ready.len() < POOL_SIZE {
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

    /// Takes a stub back that no context has any more. It serves again if it is `empty` and there is room for it.
    ///
    /// One that has had a second guest thread does not: that thread took its id and its signal stack from a slot which guest
    /// code could write to by then, so that a reset might reach another thread, or come to another slot.
    pub(crate) fn take_back(&self, stub: FreshStub, empty: bool) {
        let reusable = empty && stub.threads.len() == 1;
        if !reusable {
            process::kill_process(stub.mapper.pid());
        }
        self.desk.jobs.lock().returned.push((stub, reusable));
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
    fn keep(&self, zygote: &mut Zygote) {
        loop {
            let mut jobs = self.jobs.lock();
            let returned = std::mem::take(&mut jobs.returned);
            let wanted = jobs.ready.len() < POOL_SIZE.max(jobs.waiting) && jobs.failed.is_none();
            if returned.is_empty() && (!wanted || jobs.stop) {
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
            let mut room = if jobs.stop { 0 } else { MAX_POOL_SIZE.saturating_sub(jobs.ready.len()) };
            drop(jobs);
            // What can be used again is there sooner than a new one; the rest can wait.
            let mut rest = Vec::new();
            for (stub, reusable) in returned {
                if reusable && room > 0 && stub.threads.iter().all(|thread| thread.reset().is_ok()) {
                    room -= 1;
                    self.jobs.lock().ready.push_back(stub);
                    self.filled.notify_one();
                } else {
                    rest.push(stub);
                }
            }
            if wanted && self.wants_more() {
                self.refill(zygote);
            }
            rest.into_iter().for_each(bury);
        }
        std::mem::take(&mut self.jobs.lock().ready).into_iter().for_each(bury);
    }

    fn wants_more(&self) -> bool {
        let jobs = self.jobs.lock();
        jobs.ready.len() < POOL_SIZE.max(jobs.waiting)
    }

    fn refill(&self, zygote: &mut Zygote) {
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

/// Kills a stub and reaps it. What it had mapped can be used again then.
fn bury(stub: FreshStub) {
    let pid = stub.mapper.pid();
    process::kill_process(pid);
    // The only failure is that there is nobody to reap.
    let _ = wait::reap(pid);
    drop(stub);
}
