//! The thread that keeps the zygote, a pool of ready stubs, and the dead ones until they are reaped.

use crate::control_file::ControlFile;
use crate::mapper::Mapper;
use crate::pace::Processors;
use crate::thread::StubThread;
use crate::zygote::{FreshStub, Zygote};
use parking_lot::{Condvar, Mutex};
use platform::PlatformError;
use platform_host::{process, wait};
use sentry_uapi::Errno;
use sentry_uapi::errno::EAGAIN;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Stubs kept ready.
const POOL_SIZE: usize = 4;

/// A stub that has been killed, with the memory that can be used again once it is gone.
struct Corpse {
    mapper: Mapper,
    threads: Vec<Arc<StubThread>>,
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

#[derive(Default)]
struct Desk {
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
        processors: Arc<Processors>,
    ) -> Result<Keeper, PlatformError> {
        let desk = Arc::new(Desk::default());
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("stub-keeper".into()).spawn({
            let desk = desk.clone();
            move || match Zygote::new(&control, &processors) {
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

    /// Kills a stub process and has it reaped.
    pub(crate) fn bury(&self, mapper: Mapper, threads: Vec<Arc<StubThread>>) {
        process::kill_process(mapper.pid());
        self.desk.jobs.lock().dead.push(Corpse { mapper, threads });
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
            let dead = std::mem::take(&mut jobs.dead);
            let wanted = jobs.ready.len() < POOL_SIZE.max(jobs.waiting) && jobs.failed.is_none();
            if dead.is_empty() && (!wanted || jobs.stop) {
                if jobs.stop {
                    break;
                }
                self.work.wait(&mut jobs);
                continue;
            }
            drop(jobs);
            // First those who wait, then the dead, whose memory is wanted too.
            if wanted {
                self.refill(zygote);
            }
            dead.into_iter().for_each(Corpse::reap);
        }
        for FreshStub { mapper, thread } in std::mem::take(&mut self.jobs.lock().ready) {
            process::kill_process(mapper.pid());
            Corpse { mapper, threads: vec![Arc::new(thread)] }.reap();
        }
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

impl Corpse {
    fn reap(self) {
        // The only failure is that there is nobody to reap.
        let _ = wait::reap(self.mapper.pid());
        drop(self.threads);
    }
}
