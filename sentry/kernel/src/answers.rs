//! System calls that a platform may answer without a trap. Linux knows no such thing: there they cost next to nothing.

use crate::CurrentTask;
use platform::Answer;
use sentry_uapi::sysno;

impl CurrentTask {
    /// Tells the platform the results that only the task's own calls can change: after one that has, this is due again.
    ///
    /// The parent and the process group are changed by others, and an id that has no mapping yet gets one when another task
    /// writes the map; once there, a map stays. So it is told after the task's next change, execve(2) for one. Nothing is told
    /// where each call is to be seen.
    pub(crate) fn tell_answers(&mut self) {
        self.answers_told = true;
        if self.kernel().syscalls.tracer.is_some() {
            return;
        }
        let (cred, pid_ns) = (self.task.cred(), self.pid_ns());
        let ns = &cred.user_ns;
        let answers: Vec<Answer> = [
            (sysno::getpid, Some(self.group.pid.nr_in(&pid_ns))),
            (sysno::gettid, Some(self.task.pid().nr_in(&pid_ns))),
            (sysno::getuid, ns.from_kuid(cred.uid)),
            (sysno::geteuid, ns.from_kuid(cred.euid)),
            (sysno::getgid, ns.from_kgid(cred.gid)),
            (sysno::getegid, ns.from_kgid(cred.egid)),
        ]
        .into_iter()
        .filter_map(|(number, value)| Some(Answer { number, value: value? }))
        .collect();
        self.ctx.set_answers(&answers);
    }
}
