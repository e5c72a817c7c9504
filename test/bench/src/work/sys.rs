//! The calls for which neither the standard library nor nix has a safe form that costs nothing besides the call.
#![allow(unsafe_code, reason = "raw memory, processes and threads are what is measured")]

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::{CStr, c_void};
use std::ptr;

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;

/// An anonymous mapping.
pub(super) struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    /// Maps `length` bytes, with `MAP_PRIVATE` or `MAP_SHARED`.
    pub(super) fn new(length: usize, sharing: libc::c_int) -> Result<Self> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address the kernel chooses.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), length, prot, sharing | libc::MAP_ANONYMOUS, -1, 0) };
        ensure!(start != libc::MAP_FAILED, "mmap: {}", Errno::last());
        Ok(Self { start: start.cast(), length })
    }

    /// Keeps huge pages out, so that each page is a fault of its own.
    pub(super) fn no_huge_pages(&self) {
        // SAFETY: advice about our own mapping. A kernel without huge pages refuses it, which is as good.
        let _ = unsafe { libc::madvise(self.start.cast(), self.length, libc::MADV_NOHUGEPAGE) };
    }

    /// Writes a byte to each page.
    pub(super) fn touch(&self) {
        for offset in (0..self.length).step_by(PAGE) {
            // SAFETY: within the mapping, which nothing else refers to.
            unsafe { self.start.add(offset).write_volatile(1) };
        }
    }

    /// The object at the start of the mapping, which is zeros to begin with.
    pub(super) fn shared<T: Zeroed>(&self) -> &T {
        assert!(size_of::<T>() <= self.length, "the object fits its mapping");
        // SAFETY: mappings begin on pages, it fits, zeros are a value of it, and it is made of atomics only.
        unsafe { &*self.start.cast::<T>() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, to which no reference is left.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// Objects that are made of atomics alone and may be all zeros.
///
/// # Safety
/// As said.
pub(super) unsafe trait Zeroed {}

/// Forks a child that runs `body` and exits with its status.
pub(super) fn fork(body: impl FnOnce() -> i32) -> Result<Pid> {
    // SAFETY: this process has one thread, so the child may do whatever it could.
    match unsafe { libc::fork() } {
        -1 => bail!("fork: {}", Errno::last()),
        // SAFETY: ends the child without running what the parent registered.
        0 => unsafe { libc::_exit(body()) },
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Waits for a child that must end well.
pub(super) fn wait(pid: Pid) -> Result<()> {
    match waitpid(pid, None).context("wait")? {
        WaitStatus::Exited(_, 0) => Ok(()),
        status => bail!("child: {status:?}"),
    }
}

/// Starts a program without arguments as `vfork` and `execve` do.
pub(super) fn spawn(path: &CStr) -> Result<Pid> {
    let argv = [path.as_ptr().cast_mut(), ptr::null_mut()];
    let envp = [ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: terminated arrays of terminated strings, which outlive the call.
    let error = unsafe {
        libc::posix_spawn(&raw mut pid, path.as_ptr(), ptr::null(), ptr::null(), argv.as_ptr(), envp.as_ptr())
    };
    ensure!(error == 0, "{}: {}", path.to_string_lossy(), Errno::from_raw(error));
    Ok(Pid::from_raw(pid))
}

/// Creates a thread that does nothing, and joins it. The standard library's would map a signal stack, too.
pub(super) fn create_and_join() -> Result<()> {
    extern "C" fn nothing(argument: *mut c_void) -> *mut c_void {
        argument
    }
    let mut thread = 0;
    // SAFETY: the thread touches nothing.
    let error = unsafe { libc::pthread_create(&raw mut thread, ptr::null(), nothing, ptr::null_mut()) };
    ensure!(error == 0, "pthread_create: {}", Errno::from_raw(error));
    // SAFETY: a thread that was created above and is joined once.
    let error = unsafe { libc::pthread_join(thread, ptr::null_mut()) };
    ensure!(error == 0, "pthread_join: {}", Errno::from_raw(error));
    Ok(())
}
