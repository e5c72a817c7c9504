//! Mappings and faults.

use super::signal::{SigInfo, handle};
use super::{Guest, zeroed};
use crate::sys::Ret;
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};
use test_syscalls_macros::sys;

/// The size of a page.
pub const PAGE: usize = 4096;

/// Reads the byte at `address`, once and always.
#[must_use]
pub fn peek(address: usize) -> u8 {
    // SAFETY: an address the case mapped, or one whose fault it catches or dies of.
    unsafe { ptr::with_exposed_provenance::<u8>(address).read_volatile() }
}

/// Reads the byte at `address` for the sake of the access.
pub fn touch(address: usize) {
    let _ = peek(address);
}

/// Writes the byte at `address`, once and always.
pub fn poke(address: usize, value: u8) {
    // SAFETY: an address the case mapped, or one whose fault it catches or dies of.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(value) }
}

/// A mapping of the case's own.
#[derive(Clone, Copy)]
pub struct Map {
    /// Where it starts.
    pub address: usize,
    /// How many bytes it has.
    pub length: usize,
}

impl Map {
    /// The byte at `offset`.
    #[must_use]
    pub fn get(self, offset: usize) -> u8 {
        peek(self.address + offset)
    }

    /// Sets the byte at `offset`.
    pub fn set(self, offset: usize, value: u8) {
        poke(self.address + offset, value);
    }

    /// The address of page `index`.
    #[must_use]
    pub fn page(self, index: usize) -> usize {
        self.address + index * PAGE
    }

    /// Copies `bytes` to `offset`.
    pub fn put(self, offset: usize, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            self.set(offset + at, *byte);
        }
    }

    /// `length` bytes from `offset`.
    #[must_use]
    pub fn bytes(self, offset: usize, length: usize) -> Vec<u8> {
        (offset..offset + length).map(|at| self.get(at)).collect()
    }
}

/// Where the handler of `Guest::fault` puts what it got; points into memory shared with the parent.
static FAULT: AtomicPtr<FaultPage> = AtomicPtr::new(ptr::null_mut());

/// The shared memory of `Guest::fault`.
struct FaultPage(UnsafeCell<libc::siginfo_t>);

/// The status of a child that was caught by the handler of `Guest::fault`.
const CAUGHT: i32 = 77;

extern "C" fn on_fault(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the page is mapped when the guest starts; `info` is the kernel's.
    unsafe {
        (*FAULT.load(SeqCst)).0.get().write(*info);
        libc::_exit(CAUGHT)
    }
}

/// Maps the page of `Guest::fault`, before the case arranges its address space.
pub(super) fn map_fault_page() {
    // SAFETY: a new mapping.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert!(page != libc::MAP_FAILED, "mmap of the fault page: {}", std::io::Error::last_os_error());
    FAULT.store(page.cast(), SeqCst);
}

impl Guest {
    /// A new anonymous or shared-anonymous mapping.
    #[track_caller]
    pub fn map(&self, length: usize, protection: i32, flags: i32) -> Map {
        Map { address: sys!(mmap(0, length, protection, flags, -1, 0)).size(), length }
    }

    /// A new private, readable and writable anonymous mapping of `pages` pages.
    #[track_caller]
    pub fn pages(&self, pages: usize) -> Map {
        self.map(pages * PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)
    }

    /// A mapping of `fd` from `offset`.
    #[track_caller]
    pub fn map_file(&self, fd: i32, length: usize, protection: i32, flags: i32, offset: usize) -> Map {
        Map { address: sys!(mmap(0, length, protection, flags, fd, offset)).size(), length }
    }

    /// Takes the pages of `map` away again.
    pub fn unmap(&self, address: usize, length: usize) -> Ret {
        sys!(munmap(address, length))
    }

    /// An address range of one page with an inaccessible page behind it.
    #[track_caller]
    pub fn page_at_border(&self) -> Map {
        let map = self.pages(2);
        sys!(mprotect(map.page(1), PAGE, libc::PROT_NONE)).ok();
        Map { address: map.address, length: PAGE }
    }

    /// Runs `body` in a child and gives the synchronous signal it got, or none if it came to its end.
    #[track_caller]
    pub fn fault(&self, body: impl FnOnce()) -> Option<SigInfo> {
        let page = FAULT.load(SeqCst);
        let child = self.fork(|| {
            for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
                handle(signal, on_fault as *const () as usize, libc::SA_SIGINFO);
            }
            body();
        });
        let status = child.wait();
        if status.0 == CAUGHT << 8 {
            // SAFETY: the child wrote it before it ended.
            return Some(SigInfo(unsafe { *(*page).0.get() }));
        }
        status.exited(0);
        None
    }

    /// `body` must fault with `signal` and `code`; gives the address in the siginfo.
    #[track_caller]
    pub fn faults(&self, signal: i32, code: i32, body: impl FnOnce()) -> usize {
        let Some(info) = self.fault(body) else { panic!("expected signal {signal}, got no fault") };
        assert!(
            (info.signo(), info.code()) == (signal, code),
            "the fault: expected signal {signal} with code {code}, got signal {} with code {}",
            info.signo(),
            info.code()
        );
        info.address()
    }

    /// The lines of `/proc/self/maps`.
    #[track_caller]
    pub fn maps(&self) -> Vec<String> {
        self.read("/proc/self/maps").ok().lines().map(str::to_owned).collect()
    }

    /// The soft and hard limit of `resource`.
    #[must_use]
    pub fn rlimit(&self, resource: u32) -> libc::rlimit64 {
        let mut limit: libc::rlimit64 = zeroed();
        sys!(prlimit64(0, resource, 0, &raw mut limit)).ok();
        limit
    }

    /// Sets the soft limit of `resource`.
    #[track_caller]
    pub fn limit(&self, resource: u32, soft: u64) {
        let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: self.rlimit(resource).rlim_max };
        sys!(prlimit64(0, resource, &raw const limit, 0)).ok();
    }
}
