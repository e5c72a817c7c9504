//! Directories whose entries are put in by the kernel. Linux: fs/proc/generic.c, `proc_mkdir` and `proc_register`.

use crate::{Attrs, DirNode, Emit, Node, NodeAttr, NodeOps};
use fs_vfs::{FIRST_ENTRY, FileType, SetAttr, TaskContext};
use sentry_sync::{RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOENT;
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A directory with a table of entries. More can be added, and some removed, while it is in use.
pub struct StaticDir {
    attrs: Attrs,
    entries: RwLock<Entries, { level::LEAF }>,
}

#[derive(Default)]
struct Entries {
    by_name: HashMap<Arc<[u8]>, (u64, Node)>,
    by_pos: BTreeMap<u64, Arc<[u8]>>,
    dirs: u32,
    last: u64,
}

impl StaticDir {
    /// An empty directory of root's with these permission bits.
    pub fn new(perm: u32) -> StaticDir {
        StaticDir::with_attr(NodeAttr::root(perm))
    }

    /// An empty directory with these attributes; the number of links is counted from the entries.
    pub fn with_attr(attr: NodeAttr) -> StaticDir {
        StaticDir { attrs: Attrs::new(attr), entries: RwLock::default() }
    }

    /// The directory with one more entry: for building a tree in one expression.
    #[must_use]
    pub fn with(self, name: impl AsRef<[u8]>, node: Node) -> StaticDir {
        self.add(name, node);
        self
    }

    /// The directory as a node.
    pub fn node(self) -> Node {
        Node::dir(self)
    }

    /// Adds an entry, or puts it in the place of the one with its name.
    pub fn add(&self, name: impl AsRef<[u8]>, node: Node) {
        let name: Arc<[u8]> = name.as_ref().into();
        let is_dir = node.file_type() == FileType::Directory;
        let old = {
            let mut e = self.entries.write();
            let pos = match e.by_name.get(&name) {
                Some((pos, _)) => *pos,
                None => {
                    e.last = e.last.max(FIRST_ENTRY) + 1;
                    let pos = e.last;
                    e.by_pos.insert(pos, name.clone());
                    pos
                }
            };
            let old = e.by_name.insert(name, (pos, node));
            e.count_dir(old.as_ref().map(|(_, node)| node), is_dir);
            old
        };
        drop(old);
    }

    /// Removes an entry; gives it back if it was there.
    pub fn remove(&self, name: &[u8]) -> Option<Node> {
        let mut e = self.entries.write();
        let (pos, node) = e.by_name.remove(name)?;
        e.by_pos.remove(&pos);
        e.count_dir(Some(&node), false);
        Some(node)
    }

    /// What a name stands for.
    pub fn get(&self, name: &[u8]) -> Option<Node> {
        self.entries.read().by_name.get(name).map(|(_, node)| node.clone())
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.read().by_name.is_empty()
    }
}

impl Entries {
    fn count_dir(&mut self, old: Option<&Node>, new_is_dir: bool) {
        if old.is_some_and(|n| n.file_type() == FileType::Directory) {
            self.dirs = self.dirs.saturating_sub(1);
        }
        if new_is_dir {
            self.dirs = self.dirs.saturating_add(1);
        }
    }
}

impl NodeOps for StaticDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        let dirs = self.entries.read().dirs;
        Ok(NodeAttr { nlink: dirs.saturating_add(2), ..self.attrs.get() })
    }

    fn setattr(&self, change: &SetAttr) -> Result<(), Errno> {
        self.attrs.set(change);
        Ok(())
    }
}

impl DirNode for StaticDir {
    fn lookup(&self, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        self.get(name).ok_or(ENOENT)
    }

    fn still_missing(&self, name: &[u8]) -> bool {
        !self.entries.read().by_name.contains_key(name)
    }

    fn list(&self, _ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let mut at = from;
        loop {
            // One at a time: the sink is not ours, so the lock is not held while it is called.
            let next = {
                let e = self.entries.read();
                e.by_pos.range(at.saturating_add(1)..).next().map(|(pos, name)| {
                    let file_type = e.by_name.get(name).map_or(FileType::Regular, |(_, n)| n.file_type());
                    (*pos, name.clone(), file_type)
                })
            };
            let Some((pos, name, file_type)) = next else { return Ok(()) };
            if !emit(&name, file_type, pos) {
                return Ok(());
            }
            at = pos;
        }
    }
}
