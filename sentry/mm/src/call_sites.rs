//! Program text in which system calls have been rewritten to jumps, by file. There is no counterpart in Linux.
//!
//! The file's own pages stay as they are. Guest code is shown copies: of the page with a call, in which a jump stands in
//! for it, and of the last page of the segment, the *cave*, where behind the end of the program's own bytes there is room
//! for what the jumps lead to. All of it is relative, so one copy serves every process that maps the file, wherever.
//!
//! A copy of a page with calls is never changed: with the next call rewritten, another takes its place for those who
//! map it from then on. The cave grows behind what anybody has a jump to.

use crate::{FrameRange, MemoryFile};
use sentry_sync::{Mutex, level};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A call that has been rewritten. All numbers are offsets in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite {
    /// The first byte rewritten, to which guest code goes back that is found in the cave before it has made the call.
    pub start: u64,
    /// The first byte behind the `syscall` instruction.
    pub behind: u64,
    /// What stands in the cave for it.
    pub cave: (u64, u64),
    /// Where guest code goes on behind the call, if that has been rewritten, too: an instruction that stands in the cave,
    /// and the jump behind it that leads back.
    pub resume: Option<(u64, u64)>,
}

/// The room behind the end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cave {
    /// File offset of its first free byte.
    pub start: u64,
    /// File offset of the end of its page.
    pub end: u64,
}

/// A page as guest code is shown it.
struct Shown {
    /// The frames it stands in for. They are held, so that no other contents come to be there.
    original: FrameRange,
    frames: FrameRange,
}

struct Sites {
    memory: Arc<MemoryFile>,
    cave: Cave,
    pages: BTreeMap<u64, Shown>,
    /// By the offset behind the call.
    sites: BTreeMap<u64, CallSite>,
}

/// What is known of the calls in one file.
#[derive(Default)]
pub struct CallSites {
    any: AtomicBool,
    sites: Mutex<Option<Sites>, { level::CALL_SITES }>,
    /// Calls that cannot be rewritten, and files (by `u64::MAX`) without a cave.
    refused: Mutex<BTreeSet<u64>, { level::CALL_SITES }>,
}

/// Most refused calls that are remembered per file.
const MAX_REFUSED: usize = 4096;

impl CallSites {
    /// Whether a call at this offset is known not to be rewritable.
    pub fn is_refused(&self, behind: u64) -> bool {
        let refused = self.refused.lock();
        refused.contains(&u64::MAX) || refused.contains(&behind)
    }

    /// Remembers that a call, or with `u64::MAX` any, cannot be rewritten.
    pub fn refuse(&self, behind: u64) {
        let mut refused = self.refused.lock();
        if refused.len() < MAX_REFUSED {
            refused.insert(behind);
        }
    }

    /// The rewritten call that returns to this offset.
    pub fn site(&self, behind: u64) -> Option<CallSite> {
        self.sites.lock().as_ref()?.sites.get(&behind).copied()
    }

    /// The rewritten call with this offset in its part of the cave.
    pub fn site_in_cave(&self, offset: u64) -> Option<CallSite> {
        let sites = self.sites.lock();
        let holds = |site: &&CallSite| (site.cave.0..site.cave.1).contains(&offset);
        sites.as_ref()?.sites.values().find(holds).copied()
    }

    /// What is left of the cave.
    pub fn cave(&self) -> Option<Cave> {
        self.sites.lock().as_ref().map(|sites| sites.cave)
    }

    /// The copy shown in place of a page of the file that is at frame `original`, with a reference for the caller.
    pub fn shown(&self, page: u64, original: u64) -> Option<FrameRange> {
        let sites = self.sites.lock();
        let sites = sites.as_ref()?;
        let shown = sites.pages.get(&page).filter(|shown| shown.original.start == original)?;
        sites.memory.inc_ref(shown.frames);
        Some(shown.frames)
    }

    /// The pages of a range of the file that have copies.
    pub fn pages(&self, start: u64, end: u64) -> Vec<u64> {
        let sites = self.sites.lock();
        sites
            .as_ref()
            .map_or_else(Vec::new, |sites| sites.pages.range(start..end).map(|(page, _)| *page).collect())
    }

    /// Enters the copy of the cave's page. The references to it and to what it stands in for become the file's. `cave` is
    /// the room in it.
    pub fn open(
        &self,
        memory: &Arc<MemoryFile>,
        page: u64,
        original: FrameRange,
        frames: FrameRange,
        cave: Cave,
    ) {
        let mut sites = self.sites.lock();
        if sites.is_some() {
            memory.dec_ref(frames);
            memory.dec_ref(original);
            return;
        }
        let pages = BTreeMap::from([(page, Shown { original, frames })]);
        self.any.store(true, Ordering::Relaxed);
        *sites = Some(Sites { memory: memory.clone(), cave, pages, sites: BTreeMap::new() });
    }

    /// Enters a rewritten call. `write` is given the room in the cave, the cave's frames and the copy of the page there is;
    /// it gives the call, and the copy of the page with it. The references to that and to `original` become the file's.
    pub fn add(
        &self,
        behind: u64,
        page: u64,
        original: FrameRange,
        write: impl FnOnce(Cave, FrameRange, Option<FrameRange>) -> Option<(CallSite, FrameRange)>,
    ) -> Option<CallSite> {
        let mut sites = self.sites.lock();
        let sites = sites.as_mut()?;
        let made = match sites.sites.get(&behind) {
            Some(site) => {
                sites.memory.dec_ref(original);
                return Some(*site);
            }
            None => {
                let cave = sites.pages.range(..sites.cave.end).next_back().map(|(_, shown)| shown.frames)?;
                let old = sites.pages.get(&page).filter(|shown| shown.original.start == original.start);
                write(sites.cave, cave, old.map(|shown| shown.frames))
            }
        };
        let Some((site, frames)) = made else {
            sites.memory.dec_ref(original);
            return None;
        };
        sites.cave.start = site.cave.1;
        sites.sites.insert(behind, site);
        if let Some(replaced) = sites.pages.insert(page, Shown { original, frames }) {
            sites.memory.dec_ref(replaced.frames);
            sites.memory.dec_ref(replaced.original);
        }
        Some(site)
    }

    /// Forgets all of it, and remembers that no call is to be rewritten: the file is mapped for writing, which nobody is
    /// told of.
    pub fn refuse_all(&self) {
        self.forget();
        self.refuse(u64::MAX);
    }

    /// Gives up the copies, and makes no more, because the file is written to. Who is shown one keeps it, and what is
    /// known of the calls in it.
    pub fn forget(&self) {
        if self.any.swap(false, Ordering::Relaxed) {
            self.refuse(u64::MAX);
            if let Some(sites) = &mut *self.sites.lock() {
                sites.drop_pages();
            }
        }
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        self.drop_pages();
    }
}

impl Sites {
    fn drop_pages(&mut self) {
        for shown in std::mem::take(&mut self.pages).into_values() {
            self.memory.dec_ref(shown.frames);
            self.memory.dec_ref(shown.original);
        }
    }
}
