//! Linux: fs/overlayfs/readdir.c.

use crate::inode::{Origin, OvlInode, ovl_inode};
use crate::whiteout::{is_opaque, is_whiteout, lookup_real};
use fs_vfs::{DirSink, FIRST_ENTRY, File, FileOps, FileType, Inode, TaskContext, dir_emit_dots};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

/// A directory as all its layers together show it.
pub(crate) struct Merged {
    version: u64,
    entries: Vec<Entry>,
}

struct Entry {
    name: Box<[u8]>,
    ino: u64,
    dtype: u8,
}

/// Collects the entries of one layer.
struct Layer(Vec<(Box<[u8]>, u64, u8)>);

impl DirSink for Layer {
    fn entry(&mut self, name: &[u8], ino: u64, dtype: u8, _next: u64) -> bool {
        if name != b"." && name != b".." {
            self.0.push((name.into(), ino, dtype));
        }
        true
    }
}

fn read_layer(node: &OvlInode, dir: &Arc<Inode>) -> Result<Layer, Errno> {
    let ctx = &node.fs.mounter;
    let file = node.fs.open_real(ctx, dir, OpenFlags::NOATIME)?;
    let mut layer = Layer(Vec::new());
    file.ops().readdir(&file, ctx, 0, &mut layer)?;
    Ok(layer)
}

/// Merges the layers. Linux: `ovl_dir_read_merged`. The caller holds the directory's `entries`.
fn merge(node: &OvlInode, ctx: &dyn TaskContext, version: u64) -> Result<Merged, Errno> {
    let mut found: Vec<Found> = Vec::new();
    let mut seen: HashMap<Box<[u8]>, usize> = HashMap::new();
    let upper = node.upper().cloned();
    for dir in upper.iter().chain(&node.lower) {
        let is_upper = upper.as_ref().is_some_and(|u| Arc::ptr_eq(u, dir));
        for (name, ino, dtype) in read_layer(node, dir)?.0 {
            let ino = node.fs.map_ino(dir.sb(), ino);
            match seen.get(&name).and_then(|at| found.get_mut(*at)) {
                Some(above) => above.merge_below(ino, dtype),
                None => {
                    seen.insert(name.clone(), found.len());
                    found.push(Found::new(ctx, dir, is_upper, Entry { name, ino, dtype })?);
                }
            }
        }
    }
    let entries = found.into_iter().filter_map(Found::shown).collect();
    Ok(Merged { version, entries })
}

/// What a name was found to be in the uppermost layer that has it.
enum Found {
    /// Hidden.
    Whiteout,
    /// Shown with this number.
    Entry(Entry),
    /// An upper directory that shows the number of the uppermost lower one it is merged with.
    Merged(Entry),
}

impl Found {
    fn new(ctx: &dyn TaskContext, dir: &Arc<Inode>, is_upper: bool, entry: Entry) -> Result<Found, Errno> {
        let maybe_whiteout = entry.dtype == FileType::CharDevice.dirent_type();
        if !is_upper && !maybe_whiteout {
            return Ok(Found::Entry(entry));
        }
        let Some(inode) = lookup_real(ctx, dir, &entry.name)? else { return Ok(Found::Whiteout) };
        if is_whiteout(&inode) {
            return Ok(Found::Whiteout);
        }
        Ok(match inode.attached::<Origin>() {
            Some(origin) => Found::Entry(Entry { ino: origin.ino, ..entry }),
            None if inode.is_dir() && !is_opaque(&inode) => Found::Merged(entry),
            None => Found::Entry(entry),
        })
    }

    fn merge_below(&mut self, ino: u64, dtype: u8) {
        if let Found::Merged(entry) = self {
            let name = std::mem::take(&mut entry.name);
            let ino = if dtype == entry.dtype { ino } else { entry.ino };
            *self = Found::Entry(Entry { name, ino, dtype: entry.dtype });
        }
    }

    fn shown(self) -> Option<Entry> {
        match self {
            Found::Whiteout => None,
            Found::Entry(entry) | Found::Merged(entry) => Some(entry),
        }
    }
}

/// Whether a directory shows no entry. The caller holds its `entries`.
pub(crate) fn is_empty(node: &OvlInode, ctx: &dyn TaskContext) -> Result<bool, Errno> {
    Ok(merge(node, ctx, 0)?.entries.is_empty())
}

impl OvlInode {
    /// The merged entries as they are now.
    fn read_merged(&self, ctx: &dyn TaskContext) -> Result<Arc<Merged>, Errno> {
        let _entries = self.entries.read();
        let version = self.version();
        let keep = !self.lower.iter().any(|dir| dir.sb().revalidates());
        if let Some(merged) = self.merged.lock().clone()
            && merged.version == version
        {
            return Ok(merged);
        }
        let merged = Arc::new(merge(self, ctx, version)?);
        if keep {
            let old = self.merged.lock().replace(merged.clone());
            drop(old);
        }
        Ok(merged)
    }
}

/// An open directory.
pub(crate) struct OvlDir {
    view: Mutex<Option<View>, { level::OVERLAY }>,
}

/// What a reader goes through, chosen when it starts at the beginning and kept until it does so again, so that
/// positions keep their meaning.
#[derive(Clone)]
enum View {
    /// The only layer that has the directory, read as it is.
    Single(Arc<File>),
    /// All of them.
    Merged(Arc<Merged>),
}

impl OvlDir {
    pub(crate) fn new() -> OvlDir {
        OvlDir { view: Mutex::new(None) }
    }

    fn view(&self, node: &OvlInode, ctx: &dyn TaskContext, pos: u64) -> Result<View, Errno> {
        if pos != 0
            && let Some(view) = self.view.lock().clone()
        {
            return Ok(view);
        }
        let view = match (node.upper(), node.lower.as_slice()) {
            (Some(dir), []) | (None, [dir]) => {
                View::Single(node.fs.open_real(&node.fs.mounter, dir, OpenFlags::NOATIME)?)
            }
            _ => View::Merged(node.read_merged(ctx)?),
        };
        let old = self.view.lock().replace(view.clone());
        drop(old);
        Ok(view)
    }
}

/// Passes the entries of a single layer on, without whiteouts and with the overlay's numbers.
struct Single<'a> {
    file: &'a File,
    node: &'a OvlInode,
    real: &'a Arc<Inode>,
    is_upper: bool,
    ctx: &'a dyn TaskContext,
    sink: &'a mut dyn DirSink,
}

impl DirSink for Single<'_> {
    fn entry(&mut self, name: &[u8], ino: u64, dtype: u8, next: u64) -> bool {
        let ino = match name {
            b"." => self.file.inode().ino(),
            b".." => {
                let parent = self.file.path().dentry.parent().and_then(|d| d.inode());
                parent.map_or(self.file.inode().ino(), |i| i.ino())
            }
            _ => {
                let ino = self.node.fs.map_ino(self.real.sb(), ino);
                if !self.is_upper && dtype != FileType::CharDevice.dirent_type() {
                    ino
                } else {
                    match lookup_real(self.ctx, self.real, name) {
                        // A whiteout is passed over, as taken; so is what has just gone.
                        Ok(Some(inode)) if is_whiteout(&inode) => return true,
                        Ok(Some(inode)) => inode.attached::<Origin>().map_or(ino, |origin| origin.ino),
                        _ => return true,
                    }
                }
            }
        };
        self.sink.entry(name, ino, dtype, next)
    }
}

impl FileOps for OvlDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Err(EINVAL)
    }

    fn readdir(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        pos: u64,
        sink: &mut dyn DirSink,
    ) -> Result<(), Errno> {
        let node = ovl_inode(file.inode())?;
        match self.view(node, ctx, pos)? {
            View::Single(real) => {
                let is_upper = node.upper().is_some_and(|upper| Arc::ptr_eq(upper, real.inode()));
                let mut single = Single { file, node, real: real.inode(), is_upper, ctx, sink };
                real.ops().readdir(&real, ctx, pos, &mut single)
            }
            View::Merged(merged) => {
                if !dir_emit_dots(file, pos, sink) {
                    return Ok(());
                }
                let first = usize::try_from(pos.saturating_sub(FIRST_ENTRY)).unwrap_or(usize::MAX);
                let mut next = pos.max(FIRST_ENTRY);
                for entry in merged.entries.iter().skip(first) {
                    next = next.saturating_add(1);
                    if !sink.entry(&entry.name, entry.ino, entry.dtype, next) {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    fn pollable(&self) -> bool {
        false
    }

    fn fsync(&self, file: &File, data_only: bool) -> Result<(), Errno> {
        let node = ovl_inode(file.inode())?;
        let Some(upper) = node.upper() else { return Ok(()) };
        let real = node.fs.open_real(&node.fs.mounter, upper, OpenFlags::default())?;
        real.ops().fsync(&real, data_only)
    }
}
