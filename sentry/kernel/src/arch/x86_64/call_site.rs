//! Rewriting system calls that a program makes often into jumps to the platform's gate. There is no counterpart in Linux.
//!
//! Two shapes are known. In the first, `mov $nr, %eax` stands before the `syscall`, and becomes a jump to the cave, where
//! the number is loaded and the gate entered. The `syscall` itself stays, for whoever jumps there. In the second, the
//! `syscall` and the instruction behind it become the jump, and that instruction moves to the cave. It must be one that
//! can be anywhere and that nothing jumps to. Another thread could be just before it, so nobody may execute the page while
//! it is exchanged, and all come by the sentry before they go on ([`MemoryManager::exchange_text`]).
//!
//! What is found nowhere else: the address a call returns to is what it was, so signal frames, unwinders and restarted
//! calls see nothing of it. Guest code that is found in the cave ([`MemoryManager::text_at`]) is put back to where it
//! would be without.

use crate::{CurrentTask, Task};
use iced_x86::{Code, Decoder, DecoderOptions, FlowControl};
use platform::CallGate;
use sentry_loader::{ElfImage, ReadAt};
use sentry_mm::{
    CallSite, CallSites, Cave, FrameRange, MapFault, Mappable, MemoryFile, MemoryManager, PAGE_SIZE,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::EIO;
use std::sync::Arc;

/// Calls from one place after which it is rewritten.
const HOT: u32 = 12;
/// Places counted at a time.
const PLACES: usize = 16;
/// Length of `syscall`, and of a jump with a 32-bit displacement, which `mov $nr, %eax` has, too.
const SYSCALL_LEN: u64 = 2;
const JUMP_LEN: u64 = 5;
/// `mov $imm32, %eax`.
const MOV_EAX: u8 = 0xb8;
/// Least room in a cave that is worth opening.
const MIN_CAVE: u64 = 64;
/// Segments larger than this are not searched for jumps to an instruction.
const MAX_SEARCH: u64 = 8 << 20;
/// Longest instruction.
const MAX_INSTRUCTION: usize = 15;

/// The calls a task has made lately, by the address behind them.
#[derive(Default)]
pub(crate) struct HotCalls {
    places: [(u64, u32); PLACES],
}

impl HotCalls {
    /// Counts a call. Tells whether it has become one to be rewritten.
    fn count(&mut self, behind: u64) -> bool {
        let index = usize::try_from((behind ^ behind >> 6) % PLACES as u64).unwrap_or(0);
        let Some(place) = self.places.get_mut(index) else { return false };
        if place.0 != behind {
            *place = (behind, 0);
        }
        place.1 = place.1.saturating_add(1);
        place.1 == HOT
    }
}

/// A file as the ELF loader reads it.
struct Contents<'a> {
    file: &'a dyn Mappable,
    memory: &'a MemoryFile,
}

impl Contents<'_> {
    /// The frame of a page, with a reference for the caller.
    fn page(&self, offset: u64) -> Result<FrameRange, MapFault> {
        self.pages(offset, PAGE_SIZE)
    }

    /// Frames of at least a page and at most `max` bytes from `offset` on, with a reference for the caller.
    fn pages(&self, offset: u64, max: u64) -> Result<FrameRange, MapFault> {
        self.file.map_pages(offset, max, false)
    }
}

impl ReadAt for Contents<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset.saturating_add(done as u64);
            let left = (buf.len() - done) as u64;
            let max = (at % PAGE_SIZE).saturating_add(left).next_multiple_of(PAGE_SIZE);
            let Ok(frames) = self.pages(at & !(PAGE_SIZE - 1), max) else { break };
            let rest = frames.slice(at & (PAGE_SIZE - 1), left);
            let len = usize::try_from(rest.len()).map_err(|_| EIO)?;
            let part = buf.get_mut(done..done + len).ok_or(EIO)?;
            let result = self.memory.read_at(rest.start, part);
            self.memory.dec_ref(frames);
            result?;
            done += len;
        }
        Ok(done)
    }
}

/// How a call can be rewritten.
enum Shape {
    /// `mov $nr, %eax` stands before it.
    Number(u32),
    /// This instruction stands behind it.
    Followed(Vec<u8>),
}

impl CurrentTask {
    /// Counts a call that has trapped, and has it rewritten when it is made often.
    pub(crate) fn count_call(&mut self) {
        if self.hot_calls.count(self.regs.rip)
            && self.regs.gs_base == 0
            && let (Some(gate), Some(mm)) = (self.call_gate, self.mm.clone())
            && mm.may_show_text()
        {
            let nr = self.regs.orig_rax;
            if let Some(site) = rewritten(&mm, self.regs.rip, nr, &gate) {
                self.show(&mm, &site);
            }
        }
    }

    /// Shows the task's address space the pages of a call at which it is.
    fn show(&self, mm: &Arc<MemoryManager>, site: &CallSite) {
        let limits = self.mm_limits();
        let at = |offset: u64| self.regs.rip.wrapping_add(offset.wrapping_sub(site.behind));
        // First what the jump leads to. It is no harm if one of the two fails: the call traps as before.
        if mm.show_text(at(site.cave.0), &limits).is_err() {
            return;
        }
        // From here on, whoever enters guest code behind the call is sent to the cave instead.
        let others = if site.resume.is_some() { self.others_in(mm) } else { Vec::new() };
        let _ = if others.is_empty() {
            mm.show_text(at(site.start), &limits)
        } else {
            mm.exchange_text(at(site.start), &limits, &|| {
                others.iter().for_each(|task| task.interrupt_guest());
            })
        };
    }

    /// The other tasks that run in an address space.
    fn others_in(&self, mm: &Arc<MemoryManager>) -> Vec<Arc<Task>> {
        let tree = self.kernel().tree.lock();
        let shares = |task: &Arc<Task>| task.mm().is_ok_and(|other| Arc::ptr_eq(&other, mm));
        let tasks = tree.processes.values().flat_map(|process| &process.threads);
        tasks.filter(|task| task.tid() != self.tid() && shares(task)).cloned().collect()
    }

    /// Puts guest code that was found in a cave back to where it would be without.
    pub(crate) fn leave_cave(&mut self, mm: &MemoryManager) {
        let rip = self.regs.rip;
        let Some((text, site)) = site_at(mm, rip, CallSites::site_in_cave) else { return };
        let offset = match site.resume {
            Some((resume, _)) if text < resume => site.start,
            Some((_, back)) if text < back => site.behind,
            Some((resume, back)) => site.behind + (back - resume),
            None => site.start,
        };
        self.regs.rip = rip.wrapping_add(offset.wrapping_sub(text));
    }

    /// Lets guest code that goes on behind a rewritten call go on in the cave, where what stood there is now.
    pub(crate) fn enter_cave(&mut self, mm: &MemoryManager) {
        let rip = self.regs.rip;
        let Some((text, site)) = site_at(mm, rip, CallSites::site) else { return };
        let Some((resume, _)) = site.resume else { return };
        let there = rip.wrapping_add(resume.wrapping_sub(text));
        if mm.is_text_shown(there) {
            self.regs.rip = there;
        }
    }
}

/// The file offset of an address in text, and what `find` finds for it.
fn site_at(
    mm: &MemoryManager,
    addr: u64,
    find: fn(&CallSites, u64) -> Option<CallSite>,
) -> Option<(u64, CallSite)> {
    let text = mm.text_at(addr)?;
    let site = find(text.file.call_sites()?, text.offset)?;
    Some((text.offset, site))
}

/// The rewritten call that returns to `rip`, rewritten now if it has not been; `None` if it cannot be.
fn rewritten(mm: &Arc<MemoryManager>, rip: u64, nr: u64, gate: &CallGate) -> Option<CallSite> {
    let text = mm.text_at(rip.checked_sub(1)?)?;
    let sites = text.file.call_sites()?;
    let behind = text.offset.checked_add(1)?;
    let site = match sites.site(behind) {
        Some(site) => site,
        None if sites.is_refused(behind) => return None,
        None => {
            let contents = Contents { file: &*text.file, memory: mm.memory() };
            let Some((shape, segment)) = shape_of(&contents, behind, nr) else {
                sites.refuse(behind);
                return None;
            };
            if sites.cave().is_none() && open_cave(mm.memory(), &contents, sites, segment).is_none() {
                sites.refuse(u64::MAX);
                return None;
            }
            let Some(site) = rewrite(mm.memory(), &contents, sites, behind, &shape, gate) else {
                sites.refuse(behind);
                return None;
            };
            site
        }
    };
    let mapped = |offset: u64| (text.mapped.0..text.mapped.1).contains(&offset);
    (mapped(site.start) && mapped(site.cave.0)).then_some(site)
}

/// How the call that ends at `behind` can be rewritten, and the segment it is in.
fn shape_of(contents: &Contents<'_>, behind: u64, nr: u64) -> Option<(Shape, (u64, u64))> {
    let segment = ElfImage::parse(contents).ok()?.text_around(behind.checked_sub(1)?)?;
    let call = behind.checked_sub(SYSCALL_LEN)?;
    let page = call & !(PAGE_SIZE - 1);
    let before = call.checked_sub(JUMP_LEN + 1).filter(|start| *start >= segment.0.max(page));
    if let Some(start) = before {
        let mut bytes = [0; 8];
        (contents.read_at(start, &mut bytes).ok()? == bytes.len()).then_some(())?;
        let [prefix, opcode, a, b, c, d, first, second] = bytes;
        let number = u32::from_le_bytes([a, b, c, d]);
        // With a prefix it would be a move of another size or to another register.
        let is_prefix = matches!(prefix, 0x40..=0x4f | 0x66);
        let is_move = opcode == MOV_EAX && !is_prefix && u64::from(number) == nr;
        if is_move && [first, second] == [0x0f, 0x05] && behind <= page + PAGE_SIZE {
            return Some((Shape::Number(number), segment));
        }
    }
    let following = instruction_behind(contents, behind, segment.1.min(page + PAGE_SIZE))?;
    let border = behind + following.len() as u64;
    let is_target = jumps_into(contents, segment, behind, border)?;
    (!is_target).then_some((Shape::Followed(following), segment))
}

/// The instruction at `start`, if it can be moved and fills a jump together with a `syscall`.
fn instruction_behind(contents: &Contents<'_>, start: u64, end: u64) -> Option<Vec<u8>> {
    let len = usize::try_from(end.checked_sub(start)?).ok()?.min(MAX_INSTRUCTION);
    let mut bytes = vec![0; len];
    (contents.read_at(start, &mut bytes).ok()? == len).then_some(())?;
    let mut decoder = Decoder::with_ip(64, &bytes, start, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let movable = !instruction.is_invalid()
        && instruction.flow_control() == FlowControl::Next
        && instruction.code() != Code::Syscall
        && !instruction.is_ip_rel_memory_operand()
        && !instruction.is_privileged()
        && instruction.len() as u64 + SYSCALL_LEN >= JUMP_LEN;
    bytes.truncate(instruction.len());
    movable.then_some(bytes)
}

/// Whether there is something in a segment that could be a direct jump or call to `start..end`. Taking bytes for jumps
/// that are none is no harm. `None`: it is too large to look.
fn jumps_into(contents: &Contents<'_>, segment: (u64, u64), start: u64, end: u64) -> Option<bool> {
    let len = segment.1.checked_sub(segment.0).filter(|len| *len <= MAX_SEARCH)?;
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    (contents.read_at(segment.0, &mut bytes).ok()? == bytes.len()).then_some(())?;
    let lands = |behind: usize, displacement: i64| {
        let target = segment.0.wrapping_add(behind as u64).wrapping_add_signed(displacement);
        (start..end).contains(&target)
    };
    let is_near = |at: usize| match bytes.get(at..at + 2) {
        Some([0x70..=0x7f | 0xe0..=0xe3 | 0xeb, displacement]) => {
            lands(at + 2, i64::from(displacement.cast_signed()))
        }
        _ => false,
    };
    let is_far = |at: usize| match bytes.get(at..at + 5) {
        // Behind 0x0f, the opcodes 0x80 to 0x8f are conditional jumps.
        Some([0xe8 | 0xe9 | 0x80..=0x8f, a, b, c, d]) => {
            lands(at + 5, i64::from(i32::from_le_bytes([*a, *b, *c, *d])))
        }
        _ => false,
    };
    // A short jump comes from no further than this.
    let here = usize::try_from(start - segment.0).ok()?;
    let near = here.saturating_sub(160)..bytes.len().min(here + 160);
    Some(near.into_iter().any(is_near) || (0..bytes.len()).any(is_far))
}

/// Makes the copy of the segment's last page, behind whose contents there is room.
fn open_cave(
    memory: &Arc<MemoryFile>,
    contents: &Contents<'_>,
    sites: &CallSites,
    segment: (u64, u64),
) -> Option<()> {
    let start = segment.1.checked_next_multiple_of(16)?;
    let end = segment.1.checked_next_multiple_of(PAGE_SIZE)?;
    let page = end.checked_sub(PAGE_SIZE)?;
    if end.checked_sub(start)? < MIN_CAVE {
        return None;
    }
    let original = contents.page(page).ok()?;
    let Some(copy) = copy_of(memory, original) else {
        memory.dec_ref(original);
        return None;
    };
    sites.open(memory, page, original, copy, Cave { start, end });
    Some(())
}

/// A copy of a page, with a reference for the caller.
fn copy_of(memory: &MemoryFile, page: FrameRange) -> Option<FrameRange> {
    let copy = memory.allocate(PAGE_SIZE, PAGE_SIZE).ok()?;
    if memory.copy(page.start, copy.start, PAGE_SIZE).is_err() {
        memory.dec_ref(copy);
        return None;
    }
    Some(copy)
}

/// Rewrites a call in a copy of its page.
fn rewrite(
    memory: &Arc<MemoryFile>,
    contents: &Contents<'_>,
    sites: &CallSites,
    behind: u64,
    shape: &Shape,
    gate: &CallGate,
) -> Option<CallSite> {
    let call = behind - SYSCALL_LEN;
    let page = call & !(PAGE_SIZE - 1);
    let original = contents.page(page).ok()?;
    sites.add(behind, page, original, |cave, cave_frames, known| {
        let (start, code, resume) = match shape {
            Shape::Number(nr) => (call - JUMP_LEN, by_number(cave.start, behind, *nr, gate)?, None),
            Shape::Followed(following) => {
                let (code, resume) = by_follower(cave.start, behind, following, gate)?;
                (call, code, Some(resume))
            }
        };
        let end = cave.start.checked_add(code.len() as u64)?;
        if end > cave.end || start < page {
            return None;
        }
        let at_end = cave.end - cave.start;
        memory.write_at(cave_frames.end - at_end, &code).ok()?;
        let copy = copy_of(memory, known.unwrap_or(original))?;
        let jump = jump(start, cave.start)?;
        if memory.write_at(copy.start + (start - page), &jump).is_err() {
            memory.dec_ref(copy);
            return None;
        }
        Some((CallSite { start, behind, cave: (cave.start, end), resume }, copy))
    })
}

/// The displacement at the end of an instruction that ends at `end` and means `target`.
fn displacement(end: u64, target: u64) -> Option<[u8; 4]> {
    let distance = target.wrapping_sub(end).cast_signed();
    i32::try_from(distance).ok().map(i32::to_le_bytes)
}

/// `jmp target`, at `at`.
fn jump(at: u64, target: u64) -> Option<Vec<u8>> {
    Some([&[0xe9][..], &displacement(at + JUMP_LEN, target)?].concat())
}

/// `lea target, %rcx` and `lea target, %r11`, at `at`.
fn lea_rcx(at: u64, target: u64) -> Option<Vec<u8>> {
    Some([&[0x48, 0x8d, 0x0d][..], &displacement(at + 7, target)?].concat())
}

fn lea_r11(at: u64, target: u64) -> Option<Vec<u8>> {
    Some([&[0x4c, 0x8d, 0x1d][..], &displacement(at + 7, target)?].concat())
}

/// `jmp *%gs:offset`.
fn jump_to_gate(offset: u32) -> Vec<u8> {
    [&[0x65, 0xff, 0x24, 0x25][..], &offset.to_le_bytes()].concat()
}

/// What stands in the cave, at `at`, for a call whose number was loaded before it.
fn by_number(at: u64, behind: u64, nr: u32, gate: &CallGate) -> Option<Vec<u8>> {
    let load = [&[MOV_EAX][..], &nr.to_le_bytes()].concat();
    let address = lea_rcx(at + load.len() as u64, behind)?;
    Some([load, address, jump_to_gate(gate.returning)].concat())
}

/// The same for a call and the instruction behind it. Gives also where that is, and the jump back behind it.
fn by_follower(at: u64, behind: u64, following: &[u8], gate: &CallGate) -> Option<(Vec<u8>, (u64, u64))> {
    let enter = jump_to_gate(gate.elsewhere);
    let resume = at + 7 + 7 + enter.len() as u64;
    let back = resume + following.len() as u64;
    let onward = jump(back, behind + following.len() as u64)?;
    let code = [lea_r11(at, resume)?, lea_rcx(at + 7, behind)?, enter, following.to_vec(), onward].concat();
    Some((code, (resume, back)))
}
