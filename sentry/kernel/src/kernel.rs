//! One kernel. Everything it knows hangs here; a process may boot several.

use crate::cpu_clock::CpuClock;
use crate::futex::FutexTable;
use crate::{NsProxy, PidNamespace, SyscallTable, Task, Tree};
use fs_vfs::Vfs;
use platform::Platform;
use sentry_auth::UserNamespace;
use sentry_auth::keys::KeyTable;
use sentry_mm::{Mappable, MemoryFile};
use sentry_sync::{Mutex, Parker, level};
use sentry_time::{Clocks, TimerQueue};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// What a kernel is made of.
pub struct KernelParts {
    /// Runs guest code.
    pub platform: Arc<dyn Platform>,
    /// Holds guest memory.
    pub memory: Arc<MemoryFile>,
    /// Time.
    pub clocks: Arc<Clocks>,
    /// Timers on those clocks.
    pub timers: Arc<TimerQueue>,
    /// The file trees' common part.
    pub vfs: Arc<Vfs>,
    /// The first user namespace.
    pub user_ns: Arc<UserNamespace>,
    /// The system calls.
    pub syscalls: SyscallTable,
    /// Processors guests are told of.
    pub cpus: usize,
    /// Fills a buffer with random bytes.
    pub random: fn(&mut [u8]),
    /// The vDSO's pages, if there is one.
    pub vdso: Option<VdsoPages>,
}

/// The vDSO, ready to be mapped.
#[derive(Clone)]
pub struct VdsoPages {
    /// The data page and the image behind it.
    pub pages: Arc<dyn Mappable>,
    /// Bytes of data pages before the image.
    pub vvar_len: u64,
    /// Bytes of the image.
    pub image_len: u64,
}

/// Counters that cost nothing when nobody reads them.
#[derive(Default)]
pub struct Counters {
    /// System calls served.
    pub syscalls: AtomicU64,
    /// Page faults resolved.
    pub faults: AtomicU64,
    /// Tasks made.
    pub forks: AtomicU64,
    /// Signals delivered to handlers.
    pub signals: AtomicU64,
}

/// A kernel.
pub struct Kernel {
    /// Runs guest code.
    pub platform: Arc<dyn Platform>,
    /// Holds guest memory.
    pub memory: Arc<MemoryFile>,
    /// Time.
    pub clocks: Arc<Clocks>,
    /// Timers.
    pub timers: Arc<TimerQueue>,
    /// The file trees' common part.
    pub vfs: Arc<Vfs>,
    /// The first user namespace.
    pub user_ns: Arc<UserNamespace>,
    /// The first pid namespace.
    pub root_pid_ns: Arc<PidNamespace>,
    /// The system calls.
    pub syscalls: SyscallTable,
    /// Processors guests are told of.
    pub cpus: usize,
    /// The vDSO.
    pub vdso: Option<VdsoPages>,
    /// Counters.
    pub counters: Counters,
    /// Turns the CPU time of tasks into nanoseconds.
    pub(crate) cpu_clock: CpuClock,
    /// Keys and keyrings.
    pub keys: KeyTable,
    /// What programs that have changed who they are have for PR_GET_DUMPABLE: `fs.suid_dumpable`.
    pub suid_dumpable: AtomicU8,
    /// All processes.
    pub tree: Mutex<Tree, { level::TASKLIST }>,
    pub(crate) futexes: FutexTable,
    pub(crate) deferred: Arc<crate::deferred::DeferredQueue>,
    pub(crate) task_threads: Arc<crate::task_threads::TaskThreads>,
    /// What asynchronous I/O there is.
    pub aio: Arc<crate::AioCounters>,
    pub(crate) shmem: OnceLock<Arc<fs_tmpfs::Shmem>>,
    /// Whether shared memory was ever attached: until then no address space need be searched for it.
    shm_used: AtomicBool,
    /// What hides where objects are from kcmp(2).
    pub(crate) kcmp_cookies: [u64; 2],
    random: fn(&mut [u8]),
    /// Wait status of the first process, once it has ended.
    init_status: OnceLock<i32>,
    init_parker: Parker,
}

impl Kernel {
    /// A kernel without processes.
    pub fn new(parts: KernelParts) -> Arc<Kernel> {
        let root_pid_ns = PidNamespace::new_initial(parts.user_ns.clone());
        let kcmp_cookies = [(); 2].map(|()| {
            let mut bytes = [0; 8];
            (parts.random)(&mut bytes);
            u64::from_ne_bytes(bytes)
        });
        Arc::new(Kernel {
            platform: parts.platform,
            memory: parts.memory,
            clocks: parts.clocks,
            timers: parts.timers,
            vfs: parts.vfs,
            user_ns: parts.user_ns,
            root_pid_ns,
            syscalls: parts.syscalls,
            cpus: parts.cpus.max(1),
            vdso: parts.vdso,
            counters: Counters::default(),
            cpu_clock: CpuClock::new(),
            keys: KeyTable::default(),
            suid_dumpable: AtomicU8::new(0),
            tree: Mutex::new(Tree::default()),
            futexes: FutexTable::new(),
            shmem: OnceLock::new(),
            deferred: Arc::default(),
            task_threads: Arc::default(),
            aio: Arc::default(),
            shm_used: AtomicBool::new(false),
            kcmp_cookies,
            random: parts.random,
            init_status: OnceLock::new(),
            init_parker: Parker::new(),
        })
    }

    /// The futexes somebody waits on.
    pub fn futexes(&self) -> &FutexTable {
        &self.futexes
    }

    pub(crate) fn note_shm(&self) {
        self.shm_used.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_shm(&self) -> bool {
        self.shm_used.load(Ordering::Relaxed)
    }

    /// Fills a buffer with random bytes.
    pub fn random(&self, buf: &mut [u8]) {
        (self.random)(buf);
    }

    /// A random number.
    pub fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.random(&mut bytes);
        u64::from_ne_bytes(bytes)
    }

    /// The thread with this number in `ns`.
    pub fn find_task(&self, ns: &PidNamespace, nr: u32) -> Option<Arc<Task>> {
        let pid = ns.find(nr)?;
        self.tree.lock().tasks.get(&pid.global()).cloned()
    }

    /// The process with this number in `ns`.
    pub fn find_process(&self, ns: &PidNamespace, nr: u32) -> Option<Arc<crate::ThreadGroup>> {
        let pid = ns.find(nr)?;
        self.tree.lock().processes.get(&pid.global()).map(|p| p.group.clone())
    }

    /// Kills everything, because whoever started the sandbox wants it gone.
    pub fn kill_all(&self) {
        let groups: Vec<_> = self.tree.lock().processes.values().map(|p| p.group.clone()).collect();
        for group in groups {
            group.kill(sentry_uapi::signal::SIGKILL);
        }
    }

    pub(crate) fn note_init_exit(&self, status: i32) {
        if self.init_status.set(status).is_ok() {
            self.init_parker.unpark();
        }
    }

    /// Waits for the first process to end, until `deadline` at most; returns its wait status if it has. For the thread that
    /// booted the kernel.
    pub fn wait_for_init(&self, deadline: Option<Instant>) -> Option<i32> {
        loop {
            if let Some(status) = self.init_status.get() {
                return Some(*status);
            }
            if !self.init_parker.park(deadline) {
                return self.init_status.get().copied();
            }
        }
    }

    /// The namespaces of the first process.
    pub fn init_ns(&self) -> Option<Arc<NsProxy>> {
        let tree = self.tree.lock();
        tree.tasks.get(&1).map(|t| t.ns())
    }
}
