//! Mappings of host files out of the host's page cache, on the scripted platform.
#![allow(clippy::unwrap_used)]

use platform::{AccessType, Backing};
use platform_scripted::{ScriptedAddressSpace, ScriptedPlatform};
use sentry_mm::*;
use sentry_uapi::Errno;
use sentry_uapi::errno::EFAULT;
use sentry_uapi::signal::{BUS_ADRERR, SIGBUS};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const P: u64 = PAGE_SIZE;
const PAGES: u64 = 8;
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// A file of eight pages, each full of its number.
struct HostFile {
    memory: Arc<MemoryFile>,
    frames: FrameRange,
    writer: File,
    fd: Arc<OwnedFd>,
    mappings: MappingSet,
}

impl HostFile {
    fn new(memory: &Arc<MemoryFile>) -> Arc<HostFile> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mm-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let bytes: Vec<u8> = (0..8).flat_map(|page| [page; 4096]).collect();
        std::fs::write(&path, bytes).unwrap();
        let writer = File::options().write(true).open(&path).unwrap();
        let fd: Arc<OwnedFd> = Arc::new(File::open(&path).unwrap().into());
        std::fs::remove_file(&path).unwrap();
        let frames = memory.map_host_file(&fd, 0, PAGES * P).unwrap();
        let mappings = MappingSet::default();
        Arc::new(HostFile { memory: memory.clone(), frames, writer, fd, mappings })
    }
}

impl Mappable for HostFile {
    fn map_pages(&self, offset: u64, max: u64, _write: bool) -> Result<FrameRange, MapFault> {
        let frames = self.frames.slice(offset, max);
        self.memory.inc_ref(frames);
        Ok(frames)
    }

    fn is_host_mapped(&self) -> bool {
        true
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

fn new_mm() -> Arc<MemoryManager> {
    let memory = MemoryFile::new().unwrap();
    memory.use_host_files().unwrap();
    MemoryManager::new(memory, ScriptedPlatform::new(Vec::new())).unwrap()
}

fn map(mm: &MemoryManager, file: &Arc<HostFile>, place: Placement, offset: u64, len: u64) -> u64 {
    let file = VmaFile { mappable: file.clone(), file: None, offset };
    let request = MmapRequest { file: Some(file), ..MmapRequest::anonymous(place, len, RW) };
    mm.mmap(&request, &MmLimits::NONE).unwrap()
}

/// The host file and offset that guest code sees at `addr`; none for memory of the sandbox's.
fn host_at(mm: &MemoryManager, addr: u64) -> Option<(i32, u64)> {
    let space = mm.address_space().as_any().downcast_ref::<ScriptedAddressSpace>().unwrap();
    match space.lookup_backing(addr).unwrap() {
        (Backing::HostFile { fd, offset }, prot) => {
            assert!(!prot.contains(Prot::WRITE));
            Some((fd.as_raw_fd(), offset))
        }
        (Backing::Memory { .. }, _) => None,
    }
}

fn store(mm: &MemoryManager, addr: u64) -> Result<(), FaultError> {
    mm.handle_guest_fault(addr, AccessType::Write, 0, &mut FaultHistory::default(), &MmLimits::NONE)
}

fn byte(mm: &MemoryManager, addr: u64) -> u8 {
    mm.read_obj(addr).unwrap()
}

#[test]
fn all_of_a_private_mapping_is_the_hosts_until_it_is_written_to() {
    let mm = new_mm();
    let file = HostFile::new(mm.memory());
    let a = map(&mm, &file, Placement::Hint(0), P, 7 * P);
    let fd = file.fd.as_raw_fd();
    assert_eq!(host_at(&mm, a + 6 * P), Some((fd, 7 * P)));
    assert_eq!((byte(&mm, a), mm.memory().allocated()), (1, 0));
    store(&mm, a + 6 * P).unwrap();
    assert_eq!((host_at(&mm, a + 5 * P), host_at(&mm, a + 6 * P)), (Some((fd, 6 * P)), None));
    mm.write_obj(a + 6 * P, &9_u8).unwrap();
    assert_eq!((byte(&mm, a + 6 * P), byte(&mm, a + 5 * P)), (9, 6));
    assert_eq!(mm.usage().resident, 7 * P);
    let child = mm.fork(0).unwrap();
    assert_eq!((host_at(&child, a), byte(&child, a + 6 * P)), (Some((fd, P)), 9));
    child.write_obj(a + 6 * P, &8_u8).unwrap();
    assert_eq!((byte(&mm, a + 6 * P), byte(&child, a + 6 * P)), (9, 8));
    mm.madvise(a + 6 * P, P, Advice::DontNeed(false)).unwrap();
    assert_eq!(byte(&mm, a + 6 * P), 7);
    drop((mm, child));
    assert_eq!(file.memory.allocated(), 0);
}

#[test]
fn changes_of_access_and_place_keep_the_file() {
    let mm = new_mm();
    let file = HostFile::new(mm.memory());
    let fd = file.fd.as_raw_fd();
    let a = map(&mm, &file, Placement::Hint(0), 0, 8 * P);
    mm.mprotect(a + 2 * P, P, Prot::empty(), false, &MmLimits::NONE).unwrap();
    mm.mprotect(a + 2 * P, P, Prot::READ | Prot::EXEC, false, &MmLimits::NONE).unwrap();
    mm.mprotect(a + 3 * P, P, RW, false, &MmLimits::NONE).unwrap();
    for page in 0..8 {
        assert_eq!(host_at(&mm, a + page * P), Some((fd, page * P)));
    }
    let to = mm.mmap(&MmapRequest::anonymous(Placement::Hint(0), 8 * P, RW), &MmLimits::NONE).unwrap();
    mm.mremap(a + 4 * P, 4 * P, 4 * P, MremapMode::Fixed(to), false, &MmLimits::NONE).unwrap();
    assert_eq!((host_at(&mm, to + 3 * P), byte(&mm, to)), (Some((fd, 7 * P)), 4));
}

#[test]
fn two_files_side_by_side_are_two_mappings() {
    let mm = new_mm();
    let (one, two) = (HostFile::new(mm.memory()), HostFile::new(mm.memory()));
    let place = mm.mmap(&MmapRequest::anonymous(Placement::Hint(0), 16 * P, RW), &MmLimits::NONE).unwrap();
    map(&mm, &one, Placement::Fixed(place), 0, 8 * P);
    map(&mm, &two, Placement::Fixed(place + 8 * P), 0, 8 * P);
    assert_eq!(host_at(&mm, place + 7 * P), Some((one.fd.as_raw_fd(), 7 * P)));
    assert_eq!(host_at(&mm, place + 8 * P), Some((two.fd.as_raw_fd(), 0)));
}

#[test]
fn a_file_that_the_host_cuts_short_is_an_error_and_no_more() {
    let mm = new_mm();
    let file = HostFile::new(mm.memory());
    let a = map(&mm, &file, Placement::Hint(0), 0, 8 * P);
    file.writer.set_len(4 * P).unwrap();
    assert_eq!(mm.read_obj::<u8>(a + 5 * P), Err(EFAULT));
    assert_eq!(mm.write_obj(a + 5 * P, &1_u8), Err(EFAULT));
    assert_eq!(mm.load_u32(a + 5 * P), Err(EFAULT));
    assert_eq!(store(&mm, a + 5 * P), Err(FaultError::Signal { signo: SIGBUS, code: BUS_ADRERR }));
    assert_eq!(mm.madvise(a, 8 * P, Advice::Populate(false)), Err(EFAULT));
    assert_eq!(store(&mm, a + 3 * P), Ok(()));
    assert_eq!(byte(&mm, a + 3 * P), 3);
}
