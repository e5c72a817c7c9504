//! Linux: kernel/pid.c. A pid is one identity with a number in each namespace from the first down to its own.

use crate::PidNamespace;
use smallvec::SmallVec;
use std::sync::Arc;

/// The numbers of an id, the first namespace first. Says nothing of whether it is still in use.
#[derive(Clone, Default)]
pub struct PidNumbers(SmallVec<[(Arc<PidNamespace>, u32); 1]>);

impl PidNumbers {
    /// The number in `ns`, or 0 where it is not visible. Linux: `pid_nr_ns`.
    pub fn nr_in(&self, ns: &Arc<PidNamespace>) -> u32 {
        self.0.get(ns.level()).filter(|(n, _)| Arc::ptr_eq(n, ns)).map_or(0, |(_, nr)| *nr)
    }
}

/// A process or thread id. As long as somebody holds it (a task, a process group, a session, a pidfd) its numbers are
/// not given out again.
pub struct Pid {
    numbers: PidNumbers,
}

impl Pid {
    pub(crate) fn new(numbers: SmallVec<[(Arc<PidNamespace>, u32); 1]>) -> Pid {
        Pid { numbers: PidNumbers(numbers) }
    }

    /// The number in the first namespace, by which the kernel itself knows it.
    pub fn global(&self) -> u32 {
        self.numbers.0.first().map_or(0, |(_, nr)| *nr)
    }

    /// The number in `ns`, or 0 where it is not visible. Linux: `pid_nr_ns`.
    pub fn nr_in(&self, ns: &Arc<PidNamespace>) -> u32 {
        self.numbers.nr_in(ns)
    }

    /// Its numbers, for whoever remembers it beyond its end.
    pub fn numbers(&self) -> PidNumbers {
        self.numbers.clone()
    }

    /// The namespace it was made in. Linux: `ns_of_pid`.
    pub fn namespace(&self) -> Option<&Arc<PidNamespace>> {
        self.numbers.0.last().map(|(ns, _)| ns)
    }

    /// The numbers from `ns` down to the namespace it was made in: `NSpid` of `/proc/[pid]/status`.
    pub fn numbers_from(&self, ns: &Arc<PidNamespace>) -> Vec<u32> {
        self.numbers.0.iter().skip(ns.level()).map(|(_, nr)| *nr).collect()
    }
}

impl Drop for Pid {
    fn drop(&mut self) {
        for (ns, nr) in &self.numbers.0 {
            ns.forget(*nr);
        }
    }
}
