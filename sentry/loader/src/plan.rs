//! Linux: fs/binfmt_elf.c, past the point of no return: `elf_load` and the loops around it, as a list of mappings.
//!
//! The caller has given the old program up when it asks for a plan: an error kills the task with SIGSEGV. The
//! interpreter's bss is treated segment by segment like the program's, as Linux does from 6.7 on.

use crate::elf::{ElfImage, Load};
use crate::{PAGE_SIZE, page_align, page_offset, page_start};
use object::elf::{PF_R, PF_W, PF_X};
use platform::Prot;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOMEM};

/// Where the mappings of an image may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// At the addresses the file names: the bias is 0. For a program, the first segment must find its place free
    /// (`MAP_FIXED_NOREPLACE`); everything else is `MAP_FIXED`.
    Fixed,
    /// A program with an interpreter: its lowest page at [`crate::Aslr::et_dyn_base`] for this alignment.
    EtDynBase {
        /// Alignment of the base, a power of two.
        align: u64,
    },
    /// An interpreter, or a program without one: its lowest page wherever the mmap area has `len` bytes free, rounded
    /// down to `align`.
    MmapArea {
        /// Bytes from the lowest page to the end of the highest.
        len: u64,
        /// Alignment of the base, a power of two.
        align: u64,
    },
}

/// The part of a segment that comes from the file, whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMap {
    /// First address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u64,
    /// Where in the file it starts.
    pub offset: u64,
}

/// What one PT_LOAD asks for; in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentMap {
    /// Access to the file's pages.
    pub prot: Prot,
    /// Private mapping of the file.
    pub file: Option<FileMap>,
    /// Bytes `start..end` at the end of the file's last page that are to be zeroed. As in Linux, that this fails
    /// because the segment is not writable is no error.
    pub zero: (u64, u64),
    /// Anonymous pages `start..end` for the rest, readable and writable (and executable if `prot` is).
    pub bss: (u64, u64),
}

/// Everything exec has to map for one image, with final addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// What was added to the file's addresses.
    pub bias: u64,
    /// From the lowest page to the end of the highest.
    pub range: (u64, u64),
    /// The mappings, in the order to be made.
    pub segments: Vec<SegmentMap>,
    /// Entry point of this image: AT_ENTRY for a program; where the task starts for an interpreter.
    pub entry: u64,
    /// Address of the program headers, for AT_PHDR.
    pub phdr_addr: u64,
    /// Code, as `/proc/[pid]/stat` has it.
    pub code: (u64, u64),
    /// Data, as `/proc/[pid]/stat` has it.
    pub data: (u64, u64),
    /// End of the highest segment, not rounded: where the break would start. See [`crate::Aslr::brk`].
    pub brk: u64,
}

impl ElfImage {
    /// Where the image wants to go.
    ///
    /// # Errors
    /// `EINVAL` for a position-independent file without anything to load, or with addresses that wrap.
    pub fn placement(&self) -> Result<Placement, Errno> {
        if !self.dynamic {
            return Ok(Placement::Fixed);
        }
        let (low, high) = self.extent()?;
        let align = self.alignment();
        if self.interp().is_some() {
            return Ok(Placement::EtDynBase { align });
        }
        Ok(Placement::MmapArea { len: high - low, align })
    }

    /// Lowest page and end of the highest page of the segments, in the file's terms. Linux: `total_mapping_size`.
    fn extent(&self) -> Result<(u64, u64), Errno> {
        let low = self.loads.iter().map(|l| page_start(l.vaddr)).min().ok_or(EINVAL)?;
        let ends = self.loads.iter().map(|l| l.vaddr.checked_add(l.memsz).and_then(page_align));
        let high = ends.collect::<Option<Vec<u64>>>().and_then(|e| e.into_iter().max()).ok_or(EINVAL)?;
        if high == low { Err(EINVAL) } else { Ok((low, high)) }
    }

    /// The mappings of the image with its lowest page at `base`, which is ignored for [`Placement::Fixed`].
    /// `user_end` is the end of the guest's addresses.
    ///
    /// # Errors
    /// `EINVAL` or `ENOMEM` for segments that wrap, leave the address space, have more bytes in the file than in
    /// memory, or lie differently in file pages and memory pages; `EINVAL` for an entry point outside.
    pub fn plan(&self, base: u64, user_end: u64) -> Result<LoadPlan, Errno> {
        let bias = match self.placement()? {
            Placement::Fixed => 0,
            // Wrapping is meant: a file may be linked above the base it gets.
            _ => page_start(base).wrapping_sub(self.extent()?.0),
        };
        let mut plan = LoadPlan {
            bias,
            range: (0, 0),
            segments: Vec::with_capacity(self.loads.len()),
            entry: self.entry.wrapping_add(bias),
            phdr_addr: bias,
            code: (u64::MAX, 0),
            data: (0, 0),
            brk: 0,
        };
        let mut low = u64::MAX;
        for load in &self.loads {
            let start = load.vaddr.wrapping_add(bias);
            let segment = SegmentMap::new(load, start, user_end)?;
            let file_end = start + load.filesz;
            if load.flags & PF_X != 0 {
                plan.code = (plan.code.0.min(start), plan.code.1.max(file_end));
            }
            plan.data = (plan.data.0.max(start), plan.data.1.max(file_end));
            plan.brk = plan.brk.max(start + load.memsz);
            low = low.min(page_start(start));
            let in_file = load.offset.checked_add(load.filesz).is_some_and(|end| self.phoff < end);
            if load.offset <= self.phoff && in_file {
                plan.phdr_addr = start + (self.phoff - load.offset);
            }
            plan.segments.push(segment);
        }
        plan.range = (low.min(plan.brk), page_align(plan.brk).ok_or(ENOMEM)?);
        if plan.code.0 > plan.code.1 {
            plan.code = (plan.code.1, plan.code.1);
        }
        // Where an interpreter runs first, what it makes of the program's entry point is its own affair.
        if self.interp().is_none() && plan.entry >= user_end { Err(EINVAL) } else { Ok(plan) }
    }
}

impl SegmentMap {
    /// Linux: `elf_load` and `elf_map`, and the checks that follow them in `load_elf_binary`.
    fn new(load: &Load, start: u64, user_end: u64) -> Result<SegmentMap, Errno> {
        if load.filesz > load.memsz {
            return Err(EINVAL);
        }
        let end = start.checked_add(load.memsz).and_then(page_align).ok_or(ENOMEM)?;
        if start >= user_end || end > user_end {
            return Err(ENOMEM);
        }
        let file_end = start + load.filesz;
        let first = page_start(start);
        let mut map = SegmentMap { prot: make_prot(load.flags), file: None, zero: (0, 0), bss: (0, 0) };
        let mut mapped_to = first;
        if load.filesz != 0 {
            let offset = load.offset.checked_sub(page_offset(load.vaddr)).ok_or(EINVAL)?;
            mapped_to = page_align(file_end).ok_or(ENOMEM)?;
            let len = mapped_to - first;
            if !offset.is_multiple_of(PAGE_SIZE) || offset.checked_add(len).is_none() {
                return Err(EINVAL);
            }
            map.file = Some(FileMap { addr: first, len, offset });
            if load.memsz > load.filesz {
                map.zero = (file_end, mapped_to);
            }
        }
        if load.memsz > load.filesz {
            map.bss = (mapped_to, end.max(mapped_to));
        }
        Ok(map)
    }
}

/// Linux: `make_prot`.
fn make_prot(flags: u32) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, flags & PF_R != 0);
    prot.set(Prot::WRITE, flags & PF_W != 0);
    prot.set(Prot::EXEC, flags & PF_X != 0);
    prot
}
