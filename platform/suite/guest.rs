//! A guest made of hand-assembled code in a small memory file.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::backend;
use platform::{AddressSpace, Backing, Context, MapOp, Platform, Prot, PtRegs, Trap};
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Where guest code is mapped, from offset 0 of the memory file.
pub(crate) const CODE: u64 = 0x40_0000;
/// Where guest data is mapped, from offset `DATA_OFFSET` of the memory file.
pub(crate) const DATA: u64 = 0x80_0000;
pub(crate) const DATA_OFFSET: u64 = 0x10_000;
pub(crate) const PAGE: u64 = 4096;
/// Size of the memory file.
const FILE_SIZE: u64 = 64 << 20;

/// `syscall; jmp .-2`.
pub(crate) const SYSCALL_LOOP: &[u8] = &[0x0f, 0x05, 0xeb, 0xfc];
/// `jmp .`.
pub(crate) const SPIN: &[u8] = &[0xeb, 0xfe];

pub(crate) struct Machine {
    pub(crate) platform: Arc<backend::Backend>,
    pub(crate) memory: File,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine::on(backend::platform)
    }

    /// On the platform that `make` makes for a memory file.
    pub(crate) fn on(make: impl FnOnce(OwnedFd) -> Arc<backend::Backend>) -> Machine {
        // SAFETY: the name is a C string, the descriptor is fresh.
        let fd = unsafe {
            let fd = libc::memfd_create(c"guest-memory".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0);
            OwnedFd::from_raw_fd(fd)
        };
        let memory = File::from(fd);
        memory.set_len(FILE_SIZE).unwrap();
        let platform = make(memory.try_clone().unwrap().into());
        Machine { platform, memory }
    }

    /// Puts code at the start of the memory file.
    pub(crate) fn with_code(code: &[u8]) -> Machine {
        let machine = Machine::new();
        machine.memory.write_all_at(code, 0).unwrap();
        machine
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, offset).unwrap();
    }

    pub(crate) fn read_u64(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, offset).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// An address space with four pages of code and four of data.
    pub(crate) fn aspace(&self) -> Arc<dyn AddressSpace> {
        let aspace = self.platform.new_address_space().unwrap();
        aspace
            .apply(vec![
                map(CODE, 4 * PAGE, Prot::READ | Prot::EXEC, 0),
                map(DATA, 4 * PAGE, Prot::READ | Prot::WRITE, DATA_OFFSET),
            ])
            .unwrap();
        aspace
    }

    pub(crate) fn context(&self) -> Box<dyn Context + Send> {
        self.platform.new_context().unwrap()
    }
}

pub(crate) fn map(addr: u64, len: u64, prot: Prot, offset: u64) -> MapOp {
    MapOp::Map { addr, len, prot, backing: Backing::Memory { offset }, populate: false }
}

pub(crate) fn regs() -> PtRegs {
    PtRegs::for_exec(CODE, DATA + 4 * PAGE)
}

/// Runs once from `regs`.
pub(crate) fn run(
    context: &mut Box<dyn Context + Send>,
    aspace: &Arc<dyn AddressSpace>,
    regs: &mut PtRegs,
) -> Trap {
    context.switch(aspace, regs).unwrap()
}

/// The number of threads of a process.
pub(crate) fn threads_of(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// The number of threads of the child that has the most.
pub(crate) fn most_threads() -> usize {
    children().into_iter().map(threads_of).max().unwrap_or(0)
}

/// The children of this process, dead ones included.
pub(crate) fn children() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            after_name.split_whitespace().nth(1).and_then(|ppid| ppid.parse::<i32>().ok()) == Some(own)
        })
        .collect()
}
