//! Mapping a file in memory. Linux: mm/shmem.c, `shmem_fault`.

use crate::shmem::{Data, FaultAround, ShmemFile, page_up};
use fs_vfs::ExtentAt as At;
use sentry_mm::{CallSites, FrameRange, MapFault, Mappable, MappingSet};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOMEM;
use std::sync::atomic::Ordering;

/// Least and most of a hole that a fault fills. The cluster grows with the run before it.
const CLUSTER_MIN: u64 = 64 << 10;
const CLUSTER_MAX: u64 = 4 << 20;

impl ShmemFile {
    /// The frames at `offset`, with a reference for the caller.
    fn take_ref(&self, frames: FrameRange, max: u64) -> FrameRange {
        let frames = frames.slice(0, max);
        self.memory.inc_ref(frames);
        frames
    }

    fn fill_for_fault(&self, data: &mut Data, offset: u64, max: u64) -> Result<FrameRange, MapFault> {
        let At::Hole(until) = data.extents.at(offset) else { return Err(MapFault::Bus) };
        let room = until.min(page_up(data.size)) - offset;
        let want = match self.around {
            FaultAround::All => max,
            FaultAround::Cluster => {
                let before = data.extents.ending_at(offset).map_or(0, FrameRange::len);
                max.min(before.clamp(CLUSTER_MIN, CLUSTER_MAX))
            }
        };
        self.fill_hole(data, offset, want.min(room)).map_err(|e| match e {
            ENOMEM => MapFault::OutOfMemory,
            _ => MapFault::Bus,
        })
    }
}

impl Mappable for ShmemFile {
    fn map_pages(&self, offset: u64, max: u64, _write: bool) -> Result<FrameRange, MapFault> {
        {
            let data = self.data.read();
            if offset >= page_up(data.size) {
                return Err(MapFault::Bus);
            }
            if let At::Data(frames) = data.extents.at(offset) {
                let within = page_up(data.size) - offset;
                return Ok(self.take_ref(frames, max.min(within)));
            }
        }
        let mut data = self.data.write();
        if offset >= page_up(data.size) {
            return Err(MapFault::Bus);
        }
        if !matches!(data.extents.at(offset), At::Data(_)) {
            self.fill_for_fault(&mut data, offset, max)?;
        }
        let within = page_up(data.size) - offset;
        match data.extents.at(offset) {
            At::Data(frames) => Ok(self.take_ref(frames, max.min(within))),
            At::Hole(_) => Err(MapFault::Bus),
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn mappings(&self) -> &MappingSet {
        &self.mappings
    }

    fn call_sites(&self) -> Option<&CallSites> {
        Some(&self.call_sites)
    }

    fn msync(&self, _offset: u64, _len: u64) -> Result<(), Errno> {
        Ok(())
    }
}
