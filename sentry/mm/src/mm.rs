//! Linux: include/linux/mm_types.h, `struct mm_struct`; kernel/fork.c, `dup_mmap`.

use crate::fault::COW_CLUSTER;
use crate::held::HeldRanges;
use crate::huge::push_advice;
use crate::text::TextState;
use crate::vma::{Pma, PmaMap, Vma, VmaMap, take_pmas};
use crate::{FrameRange, MappedFile, MemoryFile, VmFlags};
use platform::{AddressSpace, MapOp, Platform, PlatformError, Prot};
use sentry_auth::UserNamespace;
use sentry_sync::{Mutex, RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOMEM;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Most VMAs an address space may have (Linux: `sysctl_max_map_count`).
pub(crate) const MAX_MAP_COUNT: usize = 65530;

/// Limits of the task that changes an address space, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct MmLimits {
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA.
    pub data: u64,
    /// RLIMIT_STACK.
    pub stack: u64,
    /// RLIMIT_MEMLOCK; `u64::MAX` with CAP_IPC_LOCK.
    pub memlock: u64,
}

impl MmLimits {
    /// No limit at all.
    pub const NONE: MmLimits =
        MmLimits { address_space: u64::MAX, data: u64::MAX, stack: u64::MAX, memlock: u64::MAX };
}

/// What `/proc/[pid]` and prctl(PR_SET_MM) know of a program in memory.
#[derive(Clone, Default)]
pub struct MmInfo {
    /// Addresses of the text segment.
    pub code: (u64, u64),
    /// Addresses of the data segment.
    pub data: (u64, u64),
    /// Where the stack began.
    pub start_stack: u64,
    /// Addresses of the argument strings.
    pub args: (u64, u64),
    /// Addresses of the environment strings.
    pub env: (u64, u64),
    /// The auxiliary vector, as bytes.
    pub auxv: Vec<u8>,
    /// PR_SET_THP_DISABLE.
    pub thp_disable: bool,
    /// Keeps the program file from being written to.
    pub exe_guard: Option<Arc<dyn std::any::Any + Send + Sync>>,
    /// The program file.
    pub exe: Option<Arc<dyn MappedFile>>,
    /// PR_SET_DUMPABLE: who but its owner may look into it; one of [`dumpable`].
    pub dumpable: u8,
    /// The user namespace whose CAP_SYS_PTRACE opens it when it is not dumpable.
    pub user_ns: Option<Arc<UserNamespace>>,
}

/// Values of PR_SET_DUMPABLE and of `fs.suid_dumpable`. Linux: include/linux/sched/coredump.h, `SUID_DUMP_*`.
pub mod dumpable {
    /// Nobody without privilege looks into it.
    pub const DISABLE: u8 = 0;
    /// Whoever runs it as the same user may.
    pub const USER: u8 = 1;
    /// Its core would be root's.
    pub const ROOT: u8 = 2;
}

/// A guest address space.
pub struct MemoryManager {
    pub(crate) memory: Arc<MemoryFile>,
    pub(crate) platform: Arc<dyn Platform>,
    aspace: Arc<dyn AddressSpace>,
    pub(crate) weak: Weak<MemoryManager>,
    id: u64,
    pub(crate) inner: RwLock<Inner, { level::MM }>,
    info: Mutex<MmInfo, { level::LEAF }>,
    /// Counts changes, so that a repeated fault can be told from one that another thread has resolved.
    pub(crate) changes: AtomicU64,
    faults: AtomicU64,
    /// Whether guest code is shown text with rewritten call sites.
    pub(crate) text: TextState,
    /// Whether more than one task runs here, or once did.
    pub(crate) has_siblings: AtomicBool,
    pub(crate) held: Mutex<HeldRanges, { level::LEAF }>,
}

/// The mappings of an address space.
pub(crate) struct Inner {
    pub(crate) vmas: VmaMap,
    pub(crate) pmas: PmaMap,
    /// Top of the area in which mmap(2) looks for room, downwards.
    pub(crate) mmap_base: u64,
    pub(crate) brk_start: u64,
    pub(crate) brk: u64,
    /// What the next copy-on-write fault copies.
    pub(crate) cow_cluster: u64,
    /// Bytes in VMAs.
    pub(crate) total: u64,
    /// Bytes in private writable VMAs. Linux: `data_vm`.
    pub(crate) data: u64,
    /// Bytes in VMAs with `LOCKED`.
    pub(crate) locked: u64,
    /// Flags future mappings get (mlockall).
    pub(crate) def_flags: VmFlags,
    /// Most bytes there ever were in VMAs.
    pub(crate) peak: u64,
}

impl MemoryManager {
    /// An empty address space.
    pub fn new(
        memory: Arc<MemoryFile>,
        platform: Arc<dyn Platform>,
    ) -> Result<Arc<MemoryManager>, PlatformError> {
        let top = platform.user_range().1;
        let inner = Inner {
            vmas: VmaMap::new(),
            pmas: PmaMap::new(),
            mmap_base: top,
            cow_cluster: COW_CLUSTER,
            brk_start: 0,
            brk: 0,
            total: 0,
            data: 0,
            locked: 0,
            def_flags: VmFlags::empty(),
            peak: 0,
        };
        MemoryManager::with_inner(memory, platform, inner, MmInfo::default())
    }

    pub(crate) fn with_inner(
        memory: Arc<MemoryFile>,
        platform: Arc<dyn Platform>,
        inner: Inner,
        info: MmInfo,
    ) -> Result<Arc<MemoryManager>, PlatformError> {
        let aspace = platform.new_address_space()?;
        Ok(Arc::new_cyclic(|weak| MemoryManager {
            id: memory.next_id(),
            memory,
            platform,
            aspace,
            weak: weak.clone(),
            inner: RwLock::new(inner),
            info: Mutex::new(info),
            changes: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            text: TextState::default(),
            has_siblings: AtomicBool::new(false),
            held: Mutex::default(),
        }))
    }

    /// What the platform runs guest code in.
    pub fn address_space(&self) -> &Arc<dyn AddressSpace> {
        &self.aspace
    }

    /// The memory file the frames come from.
    pub fn memory(&self) -> &Arc<MemoryFile> {
        &self.memory
    }

    /// A number that is unique among the address spaces of this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What `/proc/[pid]` shows of the program.
    pub fn info(&self) -> MmInfo {
        self.info.lock().clone()
    }

    /// Changes what `/proc/[pid]` shows of the program.
    pub fn update_info(&self, change: impl FnOnce(&mut MmInfo)) {
        change(&mut self.info.lock());
    }

    /// The program file. Linux: `get_mm_exe_file`.
    pub fn exe(&self) -> Option<Arc<dyn MappedFile>> {
        self.info.lock().exe.clone()
    }

    /// PR_GET_DUMPABLE. Linux: `get_dumpable`.
    pub fn dumpable(&self) -> u8 {
        self.info.lock().dumpable
    }

    /// The user namespace whose CAP_SYS_PTRACE opens it when it is not dumpable. Linux: `mm->user_ns`.
    pub fn user_ns(&self) -> Option<Arc<UserNamespace>> {
        self.info.lock().user_ns.clone()
    }

    /// Where mmap(2) begins to look for room, downwards. Set once, by exec.
    pub fn set_mmap_base(&self, base: u64) {
        self.inner.write().mmap_base = base;
    }

    /// Sets the start of the heap. Set once, by exec.
    pub fn set_brk_start(&self, addr: u64) {
        let mut inner = self.inner.write();
        inner.brk_start = addr;
        inner.brk = addr;
    }

    /// Number of page faults handled.
    pub fn fault_count(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    pub(crate) fn count_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Carries out map operations. An address space that the host cannot keep up with is lost: its pages would no longer
    /// be what its VMAs say. It is emptied, so that whoever runs in it meets a fault.
    pub(crate) fn apply(&self, ops: Vec<MapOp>) -> Result<(), Errno> {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.apply_again(ops)
    }

    /// Applies operations that the address space may have carried out already.
    pub(crate) fn apply_again(&self, ops: Vec<MapOp>) -> Result<(), Errno> {
        if ops.is_empty() {
            return Ok(());
        }
        self.aspace.apply(ops).map_err(|_| ENOMEM)
    }

    /// Tells the file of a VMA that a mapping of it has come or gone.
    pub(crate) fn note_file(&self, vma: &Vma, come: bool) -> Result<(), Errno> {
        let Some(f) = &vma.file else { return Ok(()) };
        if vma.is_shared()
            && vma.max_prot.contains(Prot::WRITE)
            && let Some(file) = &f.file
        {
            file.map_writable(come)?;
        }
        if come {
            f.mappable.mappings().add(&self.weak);
        } else {
            f.mappable.mappings().remove(&self.weak);
        }
        match &f.file {
            Some(file) if come => file.vm_open(),
            Some(file) => file.vm_close(),
            None => {}
        }
        Ok(())
    }

    /// Gives up everything mapped, when the last task leaves. Linux: `exit_mmap`.
    pub fn exit_mmap(&self) {
        let mut inner = self.inner.write();
        let vmas = std::mem::take(&mut inner.vmas);
        let pmas = std::mem::take(&mut inner.pmas);
        (inner.total, inner.data, inner.locked) = (0, 0, 0);
        drop(inner);
        for vma in vmas.values() {
            // A mapping that goes cannot fail.
            let _ = self.note_file(vma, false);
        }
        drop(vmas);
        for (start, pma) in pmas {
            pma.frames(start).for_each(|frames| self.memory.dec_ref(frames));
        }
    }
}

impl Drop for MemoryManager {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        for (start, pma) in std::mem::take(&mut inner.pmas) {
            pma.frames(start).for_each(|frames| self.memory.dec_ref(frames));
        }
        for vma in std::mem::take(&mut inner.vmas).values() {
            let _ = self.note_file(vma, false);
        }
    }
}

impl Inner {
    /// Counts a VMA's bytes in or out. Linux: `vm_stat_account`.
    pub(crate) fn account(&mut self, vma: &Vma, len: u64, come: bool) {
        let data =
            !vma.is_shared() && vma.prot.contains(Prot::WRITE) && !vma.flags.contains(VmFlags::GROWSDOWN);
        let locked = vma.flags.contains(VmFlags::LOCKED);
        for (counter, counts) in [(&mut self.total, true), (&mut self.data, data), (&mut self.locked, locked)]
        {
            if counts {
                *counter = if come { *counter + len } else { counter.saturating_sub(len) };
            }
        }
        self.peak = self.peak.max(self.total);
    }

    /// Takes the PMAs of a range out; their references are the caller's to drop.
    pub(crate) fn take_frames(&mut self, start: u64, end: u64) -> Vec<FrameRange> {
        take_pmas(&mut self.pmas, start, end).into_iter().flat_map(|(start, pma)| pma.frames(start)).collect()
    }
}

/// The access a PMA is mapped with.
pub(crate) fn map_prot(vma: &Vma, pma: &Pma) -> Prot {
    if pma.write_protected { vma.prot - Prot::WRITE } else { vma.prot }
}

/// Adds the operation that maps a PMA as its VMA says.
pub(crate) fn push_map(
    memory: &MemoryFile,
    ops: &mut Vec<MapOp>,
    start: u64,
    pma: &Pma,
    vma: &Vma,
    populate: bool,
) {
    let prot = map_prot(vma, pma);
    if prot.is_empty() {
        return;
    }
    let Some(backing) = memory.backing(pma.shown.unwrap_or(pma.frame)) else { return };
    ops.push(MapOp::Map { addr: start, len: pma.end - start, prot, backing, populate });
    push_advice(memory, ops, start, pma, vma);
}
