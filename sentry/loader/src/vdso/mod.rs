//! Linux: arch/x86/entry/vdso/vma.c. The vDSO of a kernel: a page of clock parameters and the image behind it.

mod image;

use crate::PAGE_SIZE;
use platform_host::tsc;
use platform_host::vdso::{VVAR_SIZE, Vvar};
use sentry_mm::{FrameRange, MapFault, Mappable, MappingSet, MemoryFile};
use sentry_time::{Clocks, VvarPage};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use zerocopy::IntoBytes;

/// What guests' processes find at AT_SYSINFO_EHDR, and the page before it, as pages of the sandbox's memory.
///
/// As a [`Mappable`] it is one "file": [`Vdso::VVAR_LEN`] bytes of parameters, to be mapped read-only, then
/// [`Vdso::image_len`] bytes of image, to be mapped readable and executable right behind.
pub struct Vdso {
    memory: Arc<MemoryFile>,
    frames: FrameRange,
    mappings: MappingSet,
}

impl Vdso {
    /// Size of the parameters before the image.
    pub const VVAR_LEN: u64 = VVAR_SIZE as u64;

    /// Composes the image and has `clocks` publish into its parameters.
    ///
    /// `version` is LINUX_VERSION_CODE of the kernel that guests see. `host_cpus` says that guests run on CPUs that
    /// have the host's numbers; else getcpu(2) is always a system call. To find out whether the processor tells them,
    /// the calling thread may visit another CPU; so this comes before the sentry's system calls are filtered.
    ///
    /// # Errors
    /// `ENOMEM` when the sandbox has no memory for two pages.
    pub fn new(
        memory: &Arc<MemoryFile>,
        clocks: &Clocks,
        version: u32,
        host_cpus: bool,
    ) -> Result<Arc<Vdso>, Errno> {
        let image = image::build(version).map_err(|_| EINVAL)?;
        let frames = memory.allocate(Vdso::VVAR_LEN + image.len() as u64, PAGE_SIZE)?;
        let vdso = Arc::new(Vdso { memory: memory.clone(), frames, mappings: MappingSet::default() });
        memory.write_at(frames.start + Vdso::VVAR_LEN, &image)?;
        memory.write_at(frames.start, Vvar::default().as_bytes())?;
        let page = VvarFrame { vdso: vdso.clone(), seq: AtomicU32::new(0) };
        clocks.attach_vvar(Arc::new(page), host_cpus && tsc::aux_is_cpu_number());
        Ok(vdso)
    }

    /// Size of the image, whole pages.
    pub fn image_len(&self) -> u64 {
        self.frames.len() - Vdso::VVAR_LEN
    }

    /// Size of parameters and image together.
    pub fn total_len(&self) -> u64 {
        self.frames.len()
    }

    /// The pages: parameters, then image.
    pub fn frames(&self) -> FrameRange {
        self.frames
    }
}

impl Drop for Vdso {
    fn drop(&mut self) {
        self.memory.dec_ref(self.frames);
    }
}

impl Mappable for Vdso {
    fn map_pages(&self, offset: u64, max: u64, write: bool) -> Result<FrameRange, MapFault> {
        let range = self.frames.slice(offset, max);
        if write || range.is_empty() {
            return Err(MapFault::Bus);
        }
        self.memory.inc_ref(range);
        Ok(range)
    }

    fn generation(&self) -> u64 {
        0
    }

    fn mappings(&self) -> &MappingSet {
        &self.mappings
    }

    fn msync(&self, _offset: u64, _len: u64) -> Result<(), Errno> {
        Ok(())
    }
}

/// The parameters, in a frame. That the host has no memory for it leaves them as they are, or all zero, and then guests
/// make system calls.
struct VvarFrame {
    vdso: Arc<Vdso>,
    seq: AtomicU32,
}

impl VvarFrame {
    /// A locked instruction, so a full barrier on both sides.
    fn advance(&self) {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let at = self.vdso.frames.start + offset_of!(Vvar, seq) as u64;
        let _ = self.vdso.memory.cmpxchg32(at, seq, seq.wrapping_add(1));
    }
}

impl VvarPage for VvarFrame {
    fn begin(&self) {
        self.advance();
    }

    fn commit(&self, data: &Vvar) {
        const AFTER_SEQ: usize = offset_of!(Vvar, seq) + size_of::<u32>();
        let bytes = data.as_bytes().get(AFTER_SEQ..).unwrap_or_default();
        let _ = self.vdso.memory.write_at(self.vdso.frames.start + AFTER_SEQ as u64, bytes);
        self.advance();
    }
}
