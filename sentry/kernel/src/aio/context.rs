//! Contexts and their rings. Linux: fs/aio.c, `struct kioctx`.

use super::poll::AioPoll;
use crate::{CurrentTask, Kernel};
use sentry_mm::{
    MappedFile, MemoryFile, MmapRequest, PAGE_SIZE, Placement, Prot, SharedAnon, VmFlags, VmaFile,
};
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::aio_abi::{AIO_RING_MAGIC, AioRing, IoEvent};
use sentry_uapi::errno::{EAGAIN, EFAULT, EINVAL, ENOMEM};
use sentry_uapi::poll::POLLIN;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use zerocopy::{FromBytes, IntoBytes};

/// Requests all contexts may have, to begin with.
const AIO_MAX_NR: u64 = 65536;
/// Bytes of an event, and of the header before the first.
const SLOT: u64 = 32;
/// Most bytes of a ring's events.
const RING_MAX: u64 = 0x1000_0000;

/// `/proc/sys/fs/aio-nr` and `/proc/sys/fs/aio-max-nr`.
pub struct AioCounters {
    nr: AtomicU64,
    max: AtomicU64,
}

impl Default for AioCounters {
    fn default() -> AioCounters {
        AioCounters { nr: AtomicU64::new(0), max: AtomicU64::new(AIO_MAX_NR) }
    }
}

impl AioCounters {
    /// Requests the contexts there are may have.
    pub fn nr(&self) -> u64 {
        self.nr.load(Ordering::Relaxed)
    }

    /// The most of that.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// Changes the most.
    pub fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }
}

/// A context.
pub struct Kioctx {
    /// The address space it belongs to; one that was forked from it has only the memory.
    mm: u64,
    memory: Arc<MemoryFile>,
    ring: Arc<SharedAnon>,
    nr_events: u32,
    max_reqs: u64,
    counters: Arc<AioCounters>,
    pub(super) kernel: Weak<Kernel>,
    state: Mutex<State, { level::BUFFER }>,
    /// Woken when a request has completed.
    pub wait: WaitQueue,
    dead: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Where the next event goes; what the ring says of it is not trusted.
    tail: u32,
    /// Requests that have not completed.
    in_flight: u32,
    polls: Vec<Arc<AioPoll>>,
}

/// The mapping of a ring.
struct RingFile(Arc<Kioctx>);

impl MappedFile for RingFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn dev_ino(&self) -> (u64, u64) {
        (0, 0)
    }

    fn map_writable(&self, _come: bool) -> Result<(), Errno> {
        Ok(())
    }
}

impl Drop for RingFile {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl CurrentTask {
    /// io_setup(2): a context for at least `nr` requests. Returns its id, which is the address of its ring. Linux:
    /// `ioctx_alloc`.
    ///
    /// # Errors
    /// `EINVAL` for none or for far too many; `EAGAIN` beyond the limit; `ENOMEM`.
    pub fn io_setup(&self, nr: u32) -> Result<u64, Errno> {
        let kernel = self.kernel();
        let cpus = u32::try_from(kernel.cpus).unwrap_or(1);
        let events = u64::from(nr.max(cpus.saturating_mul(4))) * 2;
        if nr == 0 || events > RING_MAX / SLOT {
            return Err(EINVAL);
        }
        let counters = kernel.aio.clone();
        let max_reqs = u64::from(nr);
        if max_reqs > counters.max() {
            return Err(EAGAIN);
        }
        // One slot more for the header, and two so that a full ring is told from an empty one.
        let size = ((events + 3) * SLOT).next_multiple_of(PAGE_SIZE);
        let nr_events = u32::try_from(size / SLOT - 1).map_err(|_| EINVAL)?;
        let mm = self.user()?;
        let ring = SharedAnon::new(mm.memory(), size)?;
        let take = |used: u64| used.checked_add(max_reqs).filter(|used| *used <= counters.max());
        counters.nr.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| EAGAIN)?;
        let ctx = Arc::new(Kioctx {
            mm: mm.id(),
            memory: mm.memory().clone(),
            ring: ring.clone(),
            nr_events,
            max_reqs,
            counters,
            kernel: Arc::downgrade(kernel),
            state: Mutex::new(State::default()),
            wait: WaitQueue::new(),
            dead: AtomicBool::new(false),
        });
        let header = AioRing {
            nr: nr_events,
            magic: AIO_RING_MAGIC,
            compat_features: 1,
            header_length: u32::try_from(SLOT).unwrap_or(0),
            ..AioRing::default()
        };
        let file: Arc<dyn MappedFile> = Arc::new(RingFile(ctx.clone()));
        ctx.memory.write_at(ring.frames().start, header.as_bytes())?;
        let request = MmapRequest {
            place: Placement::Hint(0),
            len: size,
            prot: Prot::READ | Prot::WRITE,
            max_prot: Prot::READ | Prot::WRITE,
            flags: VmFlags::SHARED,
            file: Some(VmaFile { mappable: ring, file: Some(file), offset: 0 }),
            name: Some("/[aio] (deleted)"),
            populate: false,
        };
        mm.mmap(&request, &self.mm_limits()).map_err(|_| ENOMEM)
    }

    /// The context with this id. Linux: `lookup_ioctx`.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn lookup_ioctx(&self, id: u64) -> Result<Arc<Kioctx>, Errno> {
        let mm = self.user()?;
        let vma = mm.vma_at(id).filter(|v| v.start == id).ok_or(EINVAL)?;
        let mapped = vma.file.filter(|f| f.offset == 0).and_then(|f| f.file).ok_or(EINVAL)?;
        let ctx = &mapped.as_any().downcast_ref::<RingFile>().ok_or(EINVAL)?.0;
        if ctx.mm == mm.id() && !ctx.is_dead() { Ok(ctx.clone()) } else { Err(EINVAL) }
    }

    /// io_destroy(2).
    ///
    /// # Errors
    /// `EINVAL` if there is no such context.
    pub fn io_destroy(&self, id: u64) -> Result<(), Errno> {
        let ctx = self.lookup_ioctx(id)?;
        if !ctx.kill() {
            return Err(EINVAL);
        }
        self.user()?.munmap(id, ctx.ring.frames().len())
    }
}

impl Kioctx {
    /// Whether it has been destroyed.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Most requests of a call.
    pub fn nr_events(&self) -> u32 {
        self.nr_events
    }

    /// Gives up what is outstanding. False if that has been done already. Linux: `kill_ioctx`.
    fn kill(&self) -> bool {
        if self.dead.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.counters.nr.fetch_sub(self.max_reqs, Ordering::Relaxed);
        let polls = std::mem::take(&mut self.state.lock().polls);
        drop(polls);
        self.wait.wake_all(POLLIN);
        true
    }

    fn header(&self) -> Result<AioRing, Errno> {
        let mut bytes = [0; size_of::<AioRing>()];
        self.memory.read_at(self.ring.frames().start, &mut bytes)?;
        AioRing::read_from_bytes(&bytes).map_err(|_| EFAULT)
    }

    fn write_header(&self, header: &AioRing) -> Result<(), Errno> {
        self.memory.write_at(self.ring.frames().start, header.as_bytes())
    }

    fn slot(&self, index: u32) -> u64 {
        self.ring.frames().start + SLOT * (u64::from(index % self.nr_events) + 1)
    }

    /// Sets a request under way, for whose event there is room. Linux: `aio_get_req`.
    ///
    /// # Errors
    /// `EAGAIN` if there is none.
    pub fn get_req(&self) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let head = self.header()?.head % self.nr_events;
        let waiting = (state.tail + self.nr_events - head) % self.nr_events;
        if waiting.saturating_add(state.in_flight) >= self.nr_events - 1 {
            return Err(EAGAIN);
        }
        state.in_flight += 1;
        Ok(())
    }

    /// A request has come to nothing.
    pub fn put_req(&self) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// A request has completed. Linux: `aio_complete`.
    pub fn complete(&self, event: &IoEvent) {
        {
            let mut state = self.state.lock();
            state.in_flight = state.in_flight.saturating_sub(1);
            let tail = state.tail;
            // The ring is the kernel's own memory: writing to it fails only when the host has none left.
            let written = self.memory.write_at(self.slot(tail), event.as_bytes());
            state.tail = (tail + 1) % self.nr_events;
            if let (Ok(()), Ok(mut header)) = (written, self.header()) {
                header.tail = state.tail;
                let _ = self.write_header(&header);
            }
        }
        self.wait.wake_all(POLLIN);
    }

    /// Takes at most `max` events off the ring, as `put` takes them. Linux: `aio_read_events_ring`.
    ///
    /// # Errors
    /// Those of `put`; the events stay.
    pub fn read_events(
        &self,
        max: usize,
        mut put: impl FnMut(usize, &[IoEvent]) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        /// Copied in one go.
        const CHUNK: usize = 128;
        let mut done = 0;
        while done < max {
            let (head, events) = {
                let state = self.state.lock();
                let head = self.header()?.head % self.nr_events;
                let waiting = (state.tail + self.nr_events - head) % self.nr_events;
                let count = usize::try_from(waiting).unwrap_or(0).min(max - done).min(CHUNK);
                let mut events = Vec::with_capacity(count);
                for index in (head..).take(count) {
                    let mut bytes = [0; size_of::<IoEvent>()];
                    self.memory.read_at(self.slot(index), &mut bytes)?;
                    events.push(IoEvent::read_from_bytes(&bytes).map_err(|_| EFAULT)?);
                }
                (head, events)
            };
            if events.is_empty() {
                break;
            }
            put(done, &events)?;
            done += events.len();
            let taken = u32::try_from(events.len()).unwrap_or(0);
            let _state = self.state.lock();
            let mut header = self.header()?;
            header.head = (head + taken) % self.nr_events;
            self.write_header(&header)?;
        }
        Ok(done)
    }

    pub(super) fn add_poll(&self, poll: Arc<AioPoll>) {
        self.state.lock().polls.push(poll);
    }

    /// Takes an outstanding poll out; `None` if somebody else has.
    pub(super) fn take_poll(&self, which: impl Fn(&AioPoll) -> bool) -> Option<Arc<AioPoll>> {
        let mut state = self.state.lock();
        let at = state.polls.iter().position(|p| which(p))?;
        Some(state.polls.swap_remove(at))
    }
}
