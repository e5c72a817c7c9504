//! The virtual machine: its memory slots, and what all its address spaces have in common.

use crate::arena::{ARENA_SIZE, ARENA_START, Arena, PAGE, PhysPage};
use crate::cpuid::GuestCpuid;
use crate::descriptors::Descriptors;
use crate::device::KvmDevice;
use crate::entry::{Entry, VECTOR_STRIDE, VECTORS, X86_TRAP_DB};
use crate::page_table::{KERNEL_ENTRY, PTE_ACCESSED, PTE_DIRTY, PTE_GLOBAL, PTE_NX, PTE_PRESENT, PTE_WRITE};
use crate::percpu::{IST_DEBUG, IST_OTHER, KERNEL_CS, PerCpu};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_bindings::{KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN, kvm_enable_cap};
use kvm_ioctls::{Cap, VcpuFd, VmFd};
use parking_lot::Mutex;
use platform::PlatformError;
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOMEM;
use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

/// Bytes of the memory file behind one memory slot.
const CHUNK: u64 = 256 << 20;
/// Where the chunks lie in guest-physical memory, in the order in which they were first mapped.
const CHUNKS_START: u64 = 1 << 32;
/// What Intel processors without "unrestricted guest" take of guest-physical memory, where nothing else is.
const TSS_ADDR: usize = 0xfffb_d000;
const IDENTITY_MAP_ADDR: u64 = 0xfffb_c000;

/// Addresses of ring 0: the entry code, the interrupt table, and a page for each processor. One page table holds them.
const KERNEL_BASE: u64 = 0xffff_ff80_0000_0000;
const IDT_ADDR: u64 = KERNEL_BASE + 0xf000;
const PERCPU_ADDR: u64 = KERNEL_BASE + 0x1_0000;
/// The most processors there may be.
pub(crate) const MAX_VCPUS: usize = 256;

/// Bytes of the interrupt table, less one.
pub(crate) const IDT_LIMIT: u16 = 0xfff;

const _: () = assert!(PERCPU_ADDR + MAX_VCPUS as u64 * PAGE <= KERNEL_BASE + (2 << 20));

#[derive(Default)]
struct Slots {
    /// Guest-physical address of each chunk that has a slot, by number.
    chunks: HashMap<u64, u64>,
}

/// The virtual machine.
pub(crate) struct Vm {
    fd: VmFd,
    pub(crate) cpuid: GuestCpuid,
    pub(crate) entry: Entry,
    /// The page table entry all address spaces have for ring 0.
    kernel_half: u64,
    kernel_table: PhysPage,
    /// A root with nothing else in it, for processors that have not run yet.
    boot_root: PhysPage,
    file: FileWindow,
    slots: Mutex<Slots>,
    /// Numbers of the processors' descriptors.
    vcpu_fds: Descriptors,
    // Last: the virtual machine goes before its memory.
    pub(crate) arena: Arena,
}

/// The memory file as the host process sees it, for memory slots.
struct FileWindow {
    base: NonNull<u8>,
    len: u64,
}

// SAFETY: only the address is used, by the host kernel.
unsafe impl Send for FileWindow {}
// SAFETY: as above.
unsafe impl Sync for FileWindow {}

pub(crate) fn host(what: &'static str) -> impl Fn(kvm_ioctls::Error) -> PlatformError {
    move |error| match error.errno() {
        libc::ENOMEM => PlatformError::OutOfMemory(ENOMEM),
        errno => PlatformError::Host { what, errno: Errno::from_raw(errno) },
    }
}

impl Vm {
    /// Makes it, for `max` processors if KVM allows so many.
    pub(crate) fn new(device: &KvmDevice, memory_file: &OwnedFd, max: usize) -> Result<Vm, PlatformError> {
        let kvm = device.kvm();
        let cpuid = GuestCpuid::new(kvm)?;
        let fd = kvm.create_vm().map_err(host("KVM_CREATE_VM"))?;
        fd.set_identity_map_address(IDENTITY_MAP_ADDR).map_err(host("KVM_SET_IDENTITY_MAP_ADDR"))?;
        fd.set_tss_address(TSS_ADDR).map_err(host("KVM_SET_TSS_ADDR"))?;
        leave_hypercalls_alone(&fd);
        let arena = Arena::new()?;
        let file = FileWindow::new(memory_file)?;
        set_slot(&fd, 0, ARENA_START, ARENA_SIZE, arena.host_addr())?;
        let entry = Entry::new();
        let (kernel_half, kernel_table) = build_kernel_half(&arena)?;
        let boot_root = new_root(&arena, kernel_half)?;
        let slots = Mutex::default();
        let allowed = usize::try_from(fd.check_extension_int(Cap::MaxVcpus)).unwrap_or(0).clamp(1, MAX_VCPUS);
        let vcpu_fds = Descriptors::reserve(memory_file, max.clamp(1, allowed))?;
        Ok(Vm { fd, cpuid, entry, kernel_half, kernel_table, boot_root, file, slots, vcpu_fds, arena })
    }

    pub(crate) fn boot_root(&self) -> u64 {
        self.boot_root.gpa()
    }

    /// Makes the processor `id`, whose descriptor is one of [`Vm::vcpu_fds`].
    pub(crate) fn create_vcpu(&self, id: usize) -> Result<VcpuFd, PlatformError> {
        let made =
            self.fd.create_vcpu(u64::try_from(id).unwrap_or(u64::MAX)).map_err(host("KVM_CREATE_VCPU"))?;
        let placed = self.vcpu_fds.place(&made)?;
        // SAFETY: a descriptor of a virtual processor of this machine, which nobody else owns.
        unsafe { self.fd.create_vcpu_from_rawfd(placed.into_raw_fd()) }.map_err(host("mmap of kvm_run"))
    }

    /// The numbers that processors' descriptors have; one for each there may be.
    pub(crate) fn vcpu_fds(&self) -> Range<RawFd> {
        self.vcpu_fds.range()
    }

    /// Where ring 0 sees an address of the entry code.
    pub(crate) fn code_addr(offset: u64) -> u64 {
        KERNEL_BASE + offset
    }

    /// The offset in the entry code that ring 0 has at `addr`.
    pub(crate) fn code_offset(addr: u64) -> Option<u64> {
        addr.checked_sub(KERNEL_BASE).filter(|offset| *offset < IDT_ADDR - KERNEL_BASE)
    }

    pub(crate) fn idt_addr() -> u64 {
        IDT_ADDR
    }

    /// A page table root with nothing in it but what ring 0 needs.
    pub(crate) fn new_root(&self) -> Result<PhysPage, PlatformError> {
        new_root(&self.arena, self.kernel_half)
    }

    /// Makes the page of processor `id`.
    pub(crate) fn new_percpu(&self, id: usize) -> Result<PerCpu, PlatformError> {
        let id = u64::try_from(id).unwrap_or(u64::MAX);
        let page = self.arena.alloc()?;
        let addr = PERCPU_ADDR + id * PAGE;
        let cpu = PerCpu::new(&self.arena, page, addr);
        let pte = page.gpa() | KERNEL_PTE | PTE_WRITE | PTE_NX;
        let index = (addr - KERNEL_BASE) / PAGE;
        self.arena.word(self.kernel_table, index).store(pte, std::sync::atomic::Ordering::Release);
        Ok(cpu)
    }

    /// The guest-physical address of the page at `offset` of the memory file; `None` behind the file's end.
    pub(crate) fn gpa_of(&self, offset: u64) -> Result<Option<u64>, PlatformError> {
        if offset >= self.file.len {
            return Ok(None);
        }
        let number = offset / CHUNK;
        let mut slots = self.slots.lock();
        if let Some(start) = slots.chunks.get(&number) {
            return Ok(Some(start + offset % CHUNK));
        }
        let count = u64::try_from(slots.chunks.len()).unwrap_or(u64::MAX);
        let start = CHUNKS_START + count * CHUNK;
        if start + CHUNK > self.cpuid.phys_end() {
            return Err(PlatformError::OutOfMemory(ENOMEM));
        }
        let len = CHUNK.min(self.file.len - number * CHUNK);
        let slot = u32::try_from(count + 1).map_err(|_| PlatformError::OutOfMemory(ENOMEM))?;
        set_slot(&self.fd, slot, start, len, self.file.host_addr() + number * CHUNK)?;
        slots.chunks.insert(number, start);
        Ok(Some(start + offset % CHUNK))
    }

    /// Bytes from `offset` on that are contiguous in guest-physical memory as well, or all behind the file's end.
    pub(crate) fn contiguous_len(&self, offset: u64) -> u64 {
        let chunk = CHUNK - offset % CHUNK;
        if offset < self.file.len { chunk.min(self.file.len - offset) } else { chunk }
    }

    /// The descriptor, for filters.
    pub(crate) fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

fn new_root(arena: &Arena, kernel_half: u64) -> Result<PhysPage, PlatformError> {
    let root = arena.alloc()?;
    arena.word(root, KERNEL_ENTRY).store(kernel_half, std::sync::atomic::Ordering::Release);
    Ok(root)
}

const KERNEL_PTE: u64 = PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL;

/// The entry code and the interrupt table, and the tables that lead to them: the root's entry, and the last table.
fn build_kernel_half(arena: &Arena) -> Result<(u64, PhysPage), PlatformError> {
    let put = |page: PhysPage, index: u64, value: u64| {
        arena.word(page, index).store(value, std::sync::atomic::Ordering::Relaxed);
    };
    let (upper, middle, table) = (arena.alloc()?, arena.alloc()?, arena.alloc()?);
    let link = |page: PhysPage| page.gpa() | PTE_PRESENT | PTE_WRITE | PTE_ACCESSED;
    put(upper, 0, link(middle));
    put(middle, 0, link(table));
    for (index, code) in (0..).zip(Entry::code().chunks(usize::try_from(PAGE).unwrap_or(4096))) {
        let page = arena.alloc()?;
        arena.fill(page, code);
        put(table, index, page.gpa() | KERNEL_PTE);
    }
    let idt = arena.alloc()?;
    let count = u64::try_from(VECTORS).unwrap_or(0);
    for vector in 0..count {
        let [low, high] = gate(vector, Vm::code_addr(vector * VECTOR_STRIDE));
        put(idt, vector * 2, low);
        put(idt, vector * 2 + 1, high);
    }
    put(table, (IDT_ADDR - KERNEL_BASE) / PAGE, idt.gpa() | KERNEL_PTE | PTE_NX);
    Ok((link(upper), table))
}

/// An interrupt gate. Guest code may only go through those of `int3` and `into`.
fn gate(vector: u64, handler: u64) -> [u64; 2] {
    const INTERRUPT_GATE: u64 = 0x8e << 40;
    const USER: u64 = 3 << 45;
    let privilege = if matches!(vector, 3 | 4) { USER } else { 0 };
    let stack = match vector {
        X86_TRAP_DB => IST_DEBUG,
        // NMI, double fault, machine check.
        2 | 8 | 18 => IST_OTHER,
        _ => 0,
    };
    let low = handler & 0xffff
        | u64::from(KERNEL_CS) << 16
        | stack << 32
        | INTERRUPT_GATE
        | privilege
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

fn set_slot(fd: &VmFd, slot: u32, gpa: u64, len: u64, host_addr: u64) -> Result<(), PlatformError> {
    let region = kvm_userspace_memory_region {
        slot,
        flags: 0,
        guest_phys_addr: gpa,
        memory_size: len,
        userspace_addr: host_addr,
    };
    // SAFETY: the memory is a mapping of ours that lives longer than the virtual machine, and that the sentry reaches
    // only in ways that bear a guest's writes at any time.
    unsafe { fd.set_user_memory_region(region) }.map_err(host("KVM_SET_USER_MEMORY_REGION"))
}

/// Keeps KVM from rewriting the other maker's hypercall instruction in guest code; it is an undefined one then.
fn leave_hypercalls_alone(fd: &VmFd) {
    let quirk = u64::from(KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
    let cap = kvm_enable_cap { cap: KVM_CAP_DISABLE_QUIRKS2, args: [quirk, 0, 0, 0], ..Default::default() };
    // An older kernel does rewrite it; that is the guest's own loss.
    let _ = fd.enable_cap(&cap);
}

impl FileWindow {
    fn new(file: &OwnedFd) -> Result<FileWindow, PlatformError> {
        let size = std::fs::File::from(file.try_clone().map_err(|_| PlatformError::OutOfMemory(ENOMEM))?)
            .metadata()
            .map_err(|_| PlatformError::OutOfMemory(ENOMEM))?
            .len();
        let len = size / PAGE * PAGE;
        let bytes = usize::try_from(len).map_err(|_| PlatformError::OutOfMemory(ENOMEM))?;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the host kernel's choice, which only memory slots refer to.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, prot, flags, file.as_raw_fd(), 0) };
        let base = if base == libc::MAP_FAILED { None } else { NonNull::new(base.cast()) };
        Ok(FileWindow { base: base.ok_or(PlatformError::OutOfMemory(ENOMEM))?, len })
    }

    fn host_addr(&self) -> u64 {
        u64::try_from(self.base.as_ptr().addr()).unwrap_or(0)
    }
}

impl Drop for FileWindow {
    fn drop(&mut self) {
        // SAFETY: our own mapping; the virtual machine that used it is gone.
        unsafe { libc::munmap(self.base.as_ptr().cast(), usize::try_from(self.len).unwrap_or(0)) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::FromRawFd;

    /// Wherever in the file a guest page lies, it is none of the back-end's own.
    #[test]
    #[ignore = "needs a /dev/kvm of use; test/kvm/run brings one along"]
    fn no_offset_leads_to_the_arena() {
        // SAFETY: the name is a C string, the descriptor is fresh.
        let file = unsafe { File::from_raw_fd(libc::memfd_create(c"guest".as_ptr(), libc::MFD_CLOEXEC)) };
        let len = 5 * CHUNK + 3 * PAGE;
        file.set_len(len).unwrap();
        let vm = Vm::new(&KvmDevice::open().unwrap(), &file.into(), 1).unwrap();
        let mut found = Vec::new();
        for offset in [len - PAGE, 0, 3 * CHUNK - PAGE, 3 * CHUNK, CHUNK, ARENA_START, 2 * CHUNK + 7 * PAGE] {
            let gpa = vm.gpa_of(offset).unwrap().unwrap();
            let end = gpa + vm.contiguous_len(offset);
            assert!(gpa >= ARENA_START + ARENA_SIZE && end <= vm.cpuid.phys_end(), "{offset:#x}");
            found.push(gpa);
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 7, "no two offsets are one page");
        for offset in [len, 1 << 40, u64::MAX - PAGE + 1, ARENA_START.wrapping_sub(CHUNKS_START)] {
            assert_eq!(vm.gpa_of(offset).unwrap(), None, "{offset:#x}");
        }
    }
}
