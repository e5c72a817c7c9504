//! The host threads that tasks run on.
//!
//! One whose task has ended waits a moment for another, so that a program that makes and ends tasks in turn does not pay for
//! a thread of the host with each.

use crate::CurrentTask;
use sentry_sync::{Mutex, Parker, level};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Stack of a host thread. Handlers nest little; the pages are touched as they are used.
const STACK: usize = 512 << 10;
/// Threads that wait at a time, and for how long.
const MAX_IDLE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes a task on the thread that is to run it.
type Job = Box<dyn FnOnce() -> CurrentTask + Send>;

/// A thread that waits.
#[derive(Default)]
struct Seat {
    job: Mutex<Option<Job>, { level::LEAF }>,
    parker: Parker,
}

/// The threads that wait.
#[derive(Default)]
pub(crate) struct TaskThreads {
    idle: Mutex<Vec<Arc<Seat>>, { level::LEAF }>,
}

impl TaskThreads {
    /// Runs the task that `make` makes until it ends.
    ///
    /// # Errors
    /// The host has no thread left.
    pub(crate) fn start(
        self: &Arc<Self>,
        make: impl FnOnce() -> CurrentTask + Send + 'static,
    ) -> std::io::Result<()> {
        let idle = self.idle.lock().pop();
        if let Some(seat) = idle {
            *seat.job.lock() = Some(Box::new(make));
            seat.parker.unpark();
            return Ok(());
        }
        let threads = self.clone();
        let thread = std::thread::Builder::new().name("task".into()).stack_size(STACK);
        thread.spawn(move || threads.serve(make)).map(drop)
    }

    /// The life of a thread.
    fn serve(&self, first: impl FnOnce() -> CurrentTask) {
        first().run();
        let seat = Arc::new(Seat::default());
        while self.wait(&seat) {
            let job = seat.job.lock().take();
            if let Some(make) = job {
                make().run();
            }
        }
    }

    /// Waits for a job. False if none came, or enough threads wait.
    fn wait(&self, seat: &Arc<Seat>) -> bool {
        {
            let mut idle = self.idle.lock();
            if idle.len() >= MAX_IDLE {
                return false;
            }
            idle.push(seat.clone());
        }
        if seat.parker.park(Some(Instant::now() + PATIENCE)) {
            return true;
        }
        let mut idle = self.idle.lock();
        match idle.iter().position(|other| Arc::ptr_eq(other, seat)) {
            Some(index) => {
                idle.swap_remove(index);
                false
            }
            None => {
                drop(idle);
                // Somebody has taken it out already, and brings a job.
                seat.parker.park(None)
            }
        }
    }
}
