//! The data of programs and libraries.
//!
//! A loader writes to nearly every page of it (relocations, the program's own variables), and each of these writes would be
//! a fault that asks for a copy. So small segments get their copies when they are mapped, and of larger ones a fault copies
//! what is about the page on both sides.

use crate::fault::FaultError;
use crate::mm::{Inner, push_map};
use crate::vma::{Pma, Vma, insert_pma};
use crate::{MapFault, MemoryManager};
use platform::{MapOp, Prot};
use std::sync::Arc;

/// Longest segment that is copied when it is mapped.
const MAX_LEN: u64 = 64 << 10;
/// Mappings looked at below a segment for one of the same file's text. Linkers put at most read-only data between the two.
const NEIGHBOURS: usize = 3;

impl MemoryManager {
    /// Whether a fresh private mapping is a small data segment of a program.
    pub(crate) fn is_small_data(inner: &Inner, vma: &Vma, from: u64, len: u64) -> bool {
        len <= MAX_LEN && MemoryManager::is_program_data(inner, vma, from)
    }

    /// Whether a private mapping is the data segment of a program whose text has been mapped.
    pub(crate) fn is_program_data(inner: &Inner, vma: &Vma, from: u64) -> bool {
        let Some(own) = vma.file.as_ref().filter(|_| !vma.is_shared() && vma.prot.contains(Prot::WRITE))
        else {
            return false;
        };
        let is_text = |other: &Vma| {
            let file = other.file.as_ref().filter(|_| other.prot.contains(Prot::EXEC));
            file.is_some_and(|file| Arc::ptr_eq(&file.mappable, &own.mappable))
        };
        inner.vmas.range(..from).rev().take(NEIGHBOURS).any(|(_, other)| is_text(other))
    }

    /// Enters copies of pages `from..to` of a private file mapping, as far as the file has them. Fails only if there is
    /// none at `from`, or no memory.
    pub(crate) fn map_copies(
        &self,
        inner: &mut Inner,
        start: u64,
        vma: &Vma,
        from: u64,
        to: u64,
    ) -> Result<(), FaultError> {
        let Some(file) = &vma.file else { return Ok(()) };
        let mut ops: Vec<MapOp> = Vec::new();
        let mut at = from;
        let mut result = Ok(());
        while at < to {
            let source = match self.pages_of(file, vma.file_offset(start, at), to - at, false) {
                Ok(source) => source,
                Err(MapFault::Bus) if at > from => break,
                Err(fault) => {
                    result = Err(fault.into());
                    break;
                }
            };
            let copied = self.memory.allocate_copy(source.start, source.len());
            self.memory.dec_ref(source);
            let frames = match copied {
                Ok(frames) => frames,
                Err(e) => {
                    result = Err(FaultError::of_copy(e));
                    break;
                }
            };
            let end = at + frames.len();
            let pma = Pma { end, frame: frames.start, write_protected: false, anonymous: true, shown: None };
            insert_pma(&mut inner.pmas, at, pma);
            push_map(&self.memory, &mut ops, at, &pma, vma, true);
            at = end;
        }
        self.apply(ops).map_err(|_| FaultError::OutOfMemory)?;
        result
    }
}
