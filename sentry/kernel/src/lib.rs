//! Tasks, processes, signals, futexes, program execution: the core of the kernel.
//!
//! Linux: kernel/. Lock order: `sentry_sync::level`; the tree of processes comes first, then a process's signal state,
//! then a task's own. Sleeping happens with no lock held.
#![forbid(unsafe_code)]

mod access;
mod aio;
mod answers;
mod arch;
mod bprm;
mod cgroup_namespace;
mod cpu_clock;
mod current_task;
mod deferred;
mod exec;
mod exit;
mod fork;
pub mod futex;
mod ipc;
mod ipc_namespace;
mod kcmp;
mod kernel;
mod mqueue;
mod namespaces;
mod nproc;
mod nsproxy;
mod nsset;
mod pid;
mod pid_namespace;
mod pidfd;
mod run_loop;
mod shmem;
mod sigio;
pub mod signal;
mod syscall;
mod task;
mod task_threads;
mod thread_group;
mod time_namespace;
mod timer;
mod tree;
mod tty;
mod utsname;
mod vvar;
mod wait;
mod zap;

pub use access::{cred_may_access, ptrace_may_access};
pub use aio::{AioCounters, Kioctx};
pub use cgroup_namespace::CgroupNamespace;
pub use current_task::{CurrentTask, RestartFn};
pub use exec::{OpenExec, may_exec};
pub use exit::nsec_to_clock_t;
pub use fork::{CloneRequest, InitProcess, PrepareTask, THREADS_MAX, full_affinity};
pub use ipc::{IPCMNI, IpcPerm, MsgIds, MsgLimits, PermUpdate, SemIds, SemLimits, ShmIds, ShmLimits};
pub use ipc_namespace::IpcNamespace;
pub use kernel::{Counters, Kernel, KernelParts, VdsoPages};
pub use mqueue::{MqNotify, MqueueIds, MqueueLimits, MqueueType};
pub use nsproxy::NsProxy;
pub use pid::Pid;
pub use pid_namespace::{PID_MAX, PidNamespace};
pub use pidfd::{PidFd, ProcPid, pidfd_file, pidfd_group, still_there, tgid_pidfd_group};
pub use syscall::{SyscallExit, SyscallFn, SyscallResult, SyscallTable, SyscallTracer};
pub use task::{Resources, RunState, SchedAttr, TASK_COMM_LEN, Task};
pub use thread_group::{DeadLeader, SignalState, ThreadGroup, Usage, init_rlimits};
pub use time_namespace::{OffsetClock, TimeNamespace, TimeOffsets};
pub use timer::{IntervalTimer, PosixTimer, ProcessTimers, TimerClock, TimerSpec, TimerTarget};
pub use tree::{Process, ProcessGroup, Session, Tree, Zombie};
pub use tty::Tty;
pub use utsname::{UtsNames, UtsNamespace};
pub use wait::{WaitOptions, WaitOutcome, WaitTarget, siginfo_status};
