//! Linux: fs/pnode.c. Which mounts hear of a mount or unmount elsewhere.
//!
//! Linux keeps rings of peers and lists of slaves that hang on one of the peers; here a group is an object, and slaves hang
//! on the group, which is what the rings amount to. Everything here runs under the lock of the [`MountTable`].

use crate::mount_tree::{CopyFlags, copy_tree};
use crate::{Dentry, Mount, MountFlags, MountTable, Vfs};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

/// Mounts that share what is mounted on any of them.
pub(crate) struct PeerGroup {
    /// Number shown in mountinfo as `shared:N` and `master:N`.
    pub(crate) id: u64,
    members: Mutex<Members, { level::LEAF }>,
}

/// Mounts by address: a guest may put very many into one group.
type MountMap = HashMap<usize, Weak<Mount>>;

#[derive(Default)]
struct Members {
    peers: MountMap,
    slaves: MountMap,
}

/// How a mount takes part in propagation. Linux: `MS_SHARED` …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Shares with its peers.
    Shared,
    /// Receives, and does not send.
    Slave,
    /// Neither.
    Private,
    /// Neither, and cannot be bind mounted.
    Unbindable,
}

/// Set of mounts, by address.
pub(crate) type MountSet = HashSet<usize>;

pub(crate) fn address(mnt: &Arc<Mount>) -> usize {
    Arc::as_ptr(mnt).addr()
}

/// The mounts that are still there, oldest first.
fn live(map: &MountMap) -> Vec<Arc<Mount>> {
    let mut mounts: Vec<Arc<Mount>> = map.values().filter_map(Weak::upgrade).collect();
    mounts.sort_by_key(|m| m.id);
    mounts
}

impl PeerGroup {
    fn new(table: &MountTable) -> Arc<PeerGroup> {
        Arc::new(PeerGroup { id: table.next_group(), members: Mutex::default() })
    }

    pub(crate) fn peers(&self) -> Vec<Arc<Mount>> {
        live(&self.members.lock().peers)
    }

    fn slaves(&self) -> Vec<Arc<Mount>> {
        live(&self.members.lock().slaves)
    }

    /// The group it receives from itself.
    pub(crate) fn master(&self) -> Option<Arc<PeerGroup>> {
        let peer = self.members.lock().peers.values().find_map(Weak::upgrade);
        peer.and_then(|m| m.master())
    }
}

/// Makes `mnt` one of the group.
pub(crate) fn join_group(mnt: &Arc<Mount>, group: &Arc<PeerGroup>) {
    group.members.lock().peers.insert(address(mnt), Arc::downgrade(mnt));
    mnt.tree.write().group = Some(group.clone());
    mnt.set_flags(mnt.flags() - MountFlags::UNBINDABLE);
}

/// Makes `mnt` receive from `master`, and from nobody else.
pub(crate) fn set_master(mnt: &Arc<Mount>, master: Option<Arc<PeerGroup>>) {
    if let Some(master) = &master {
        master.members.lock().slaves.insert(address(mnt), Arc::downgrade(mnt));
    }
    let old = std::mem::replace(&mut mnt.tree.write().master, master.clone());
    if let Some(old) = old
        && !master.is_some_and(|m| Arc::ptr_eq(&m, &old))
    {
        old.members.lock().slaves.remove(&address(mnt));
    }
}

/// Makes `mnt` share, in a group of its own if it is in none. Linux: `set_mnt_shared`.
pub(crate) fn make_shared(table: &MountTable, mnt: &Arc<Mount>) {
    if mnt.group().is_none() {
        join_group(mnt, &PeerGroup::new(table));
    }
}

/// Takes `mnt` out of its group, to receive from it; the last one to go leaves the group's slaves to its own master.
/// Linux: `do_make_slave`.
fn make_slave(mnt: &Arc<Mount>) {
    let Some(group) = mnt.tree.write().group.take() else { return };
    let (alone, slaves) = {
        let mut members = group.members.lock();
        members.peers.remove(&address(mnt));
        // A copy that came to nothing leaves a dead entry.
        let alone = members.peers.values().all(|m| m.strong_count() == 0);
        (alone, if alone { std::mem::take(&mut members.slaves) } else { MountMap::new() })
    };
    if !alone {
        set_master(mnt, Some(group));
        return;
    }
    let master = mnt.master();
    for slave in slaves.values().filter_map(Weak::upgrade) {
        slave.tree.write().master = master.clone();
    }
    if let Some(master) = master {
        master.members.lock().slaves.extend(slaves);
    }
}

/// Linux: `change_mnt_propagation`.
pub(crate) fn change_propagation(table: &MountTable, mnt: &Arc<Mount>, to: Propagation) {
    if to == Propagation::Shared {
        make_shared(table, mnt);
        mnt.set_flags(mnt.flags() - MountFlags::UNBINDABLE);
        return;
    }
    make_slave(mnt);
    if to != Propagation::Slave {
        set_master(mnt, None);
        let flags = mnt.flags() - MountFlags::UNBINDABLE;
        let unbindable = to == Propagation::Unbindable;
        mnt.set_flags(if unbindable { flags | MountFlags::UNBINDABLE } else { flags });
    }
}

/// All mounts that hear of what happens on `mnt`: its peers, their slaves, and so on. Linux: `propagation_next`.
pub(crate) fn receivers(mnt: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let mut seen = MountSet::from([address(mnt)]);
    let mut groups: Vec<Arc<PeerGroup>> = mnt.group().into_iter().collect();
    let mut known: HashSet<u64> = groups.iter().map(|g| g.id).collect();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(group) = groups.get(at).cloned() {
        at += 1;
        out.extend(group.peers().into_iter().filter(|m| seen.insert(address(m))));
        for slave in group.slaves() {
            match slave.group() {
                Some(g) => {
                    if known.insert(g.id) {
                        groups.push(g);
                    }
                }
                None => {
                    if seen.insert(address(&slave)) {
                        out.push(slave);
                    }
                }
            }
        }
    }
    out
}

/// Mounts that get the same copy of a new mount: the peers of a group, or a slave that shares with nobody.
struct Destination {
    mounts: Vec<Arc<Mount>>,
    /// Where among the destinations the one stands that it receives from.
    from: usize,
    shared: bool,
    /// What those that receive from here get a copy of.
    source: Option<Arc<Mount>>,
}

fn destinations(dest: &Arc<Mount>) -> Vec<Destination> {
    let Some(group) = dest.group() else { return Vec::new() };
    let peers = group.peers().into_iter().filter(|m| !Arc::ptr_eq(m, dest)).collect();
    let mut out = vec![Destination { mounts: peers, from: 0, shared: true, source: None }];
    let mut known = HashSet::from([group.id]);
    let mut groups = vec![(group, 0)];
    let mut at = 0;
    while let Some((group, from)) = groups.get(at).cloned() {
        at += 1;
        for slave in group.slaves() {
            match slave.group() {
                Some(g) => {
                    if known.insert(g.id) {
                        let mounts = g.peers();
                        groups.push((g, out.len()));
                        out.push(Destination { mounts, from, shared: true, source: None });
                    }
                }
                None => out.push(Destination { mounts: vec![slave], from, shared: false, source: None }),
            }
        }
    }
    out
}

/// A copy of a new mount, and where it is to be mounted: on `parent`, at the mountpoint of the original.
pub(crate) struct Propagated {
    pub(crate) copy: Arc<Mount>,
    pub(crate) parent: Arc<Mount>,
}

/// Copies `source`, a tree of shared mounts about to be mounted on `mountpoint` of `dest`, for every mount that hears of
/// it. Linux: `propagate_mnt`.
///
/// # Errors
/// `ENOSPC` where a namespace would have too many mounts; those of `copy_tree`.
pub(crate) fn propagate_mnt(
    vfs: &Vfs,
    dest: &Arc<Mount>,
    mountpoint: &Arc<Dentry>,
    source: &Arc<Mount>,
) -> Result<Vec<Propagated>, Errno> {
    let mut copies = Vec::new();
    let size = source.subtree().len();
    let mut pending: HashMap<u64, usize> = dest.ns().map(|ns| (ns.id, size)).into_iter().collect();
    let mut all = destinations(dest);
    for at in 0..all.len() {
        let Some((before, here)) = all.split_at_mut_checked(at) else { break };
        let Some(here) = here.first_mut() else { break };
        let received = before.get(here.from).and_then(|d| d.source.clone());
        let received = received.unwrap_or_else(|| source.clone());
        here.source = Some(received.clone());
        let mut first: Option<Arc<Mount>> = None;
        for m in &here.mounts {
            // A mount that does not show the place has nothing to mount on.
            let Some(ns) = m.ns().filter(|_| mountpoint.is_subdir(&m.root)) else { continue };
            let more = pending.entry(ns.id).or_default();
            *more += size;
            ns.count_mounts(*more)?;
            let (from, flags) = match (&first, at) {
                (Some(first), _) => (first, CopyFlags::MAKE_SHARED),
                (None, 0) => (&received, CopyFlags::MAKE_SHARED),
                (None, _) if here.shared => (&received, CopyFlags::SLAVE | CopyFlags::MAKE_SHARED),
                (None, _) => (&received, CopyFlags::SLAVE),
            };
            let copy = copy_tree(vfs, from, &from.root, flags)?;
            if at > 0 && here.shared && first.is_none() {
                here.source = Some(copy.clone());
            }
            first.get_or_insert_with(|| copy.clone());
            copies.push(Propagated { copy, parent: m.clone() });
        }
    }
    Ok(copies)
}

/// What is mounted at the same place on the mounts that hear of `mnt`'s parent.
fn counterparts(mnt: &Arc<Mount>) -> Vec<Arc<Mount>> {
    let Some((parent, mountpoint)) = mnt.parent() else { return Vec::new() };
    receivers(&parent).iter().filter_map(|m| m.lookup_mnt(&mountpoint)).collect()
}

/// The one mount that covers `mnt` completely, if it is all there is on it. Linux: `find_topper`.
fn find_topper(mnt: &Arc<Mount>) -> Option<Arc<Mount>> {
    let tree = mnt.tree.read();
    let mut children = tree.children.values();
    let only = children.next().filter(|_| tree.children.len() == 1)?.clone();
    drop(tree);
    is_topper(&only, mnt).then_some(only)
}

fn is_topper(child: &Arc<Mount>, mnt: &Mount) -> bool {
    child.tree.read().mountpoint.as_ref().is_some_and(|m| Arc::ptr_eq(m, &mnt.root))
}

/// Whether `mnt`, or a mount that would go with it, is in use; the caller and the tree hold `expected` references.
/// Linux: `propagate_mount_busy`.
pub(crate) fn propagate_mount_busy(mnt: &Arc<Mount>, expected: usize) -> bool {
    if !mnt.tree.read().children.is_empty() || Arc::strong_count(mnt) > expected {
        return true;
    }
    let others = counterparts(mnt);
    others.iter().any(|child| {
        let ignored = child.tree.read().children.is_empty() || find_topper(child).is_some();
        // The tree's reference, and ours.
        ignored && Arc::strong_count(child) > 2
    })
}

/// Lets mounts go that were locked, since what they cover is shown anyway once `mnt` goes. Linux:
/// `propagate_mount_unlock`.
pub(crate) fn propagate_mount_unlock(mnt: &Arc<Mount>) {
    for child in counterparts(mnt) {
        child.set_flags(child.flags() - MountFlags::LOCKED);
    }
}

/// Finds what goes along with `list`, mounts being unmounted, and marks it so; a mount that covers one of those completely
/// takes its place. Linux: `propagate_umount`.
pub(crate) fn propagate_umount(list: &[Arc<Mount>]) -> Vec<Arc<Mount>> {
    let mut candidates: Vec<Arc<Mount>> = Vec::new();
    let mut known = MountSet::new();
    for mnt in list.iter().rev() {
        for child in counterparts(mnt) {
            if !child.flags().contains(MountFlags::UMOUNT) && known.insert(address(&child)) {
                candidates.push(child);
            }
        }
    }
    // A candidate can go if everything on it can, or covers it.
    let mut marked = MountSet::new();
    loop {
        let before = marked.len();
        for c in &candidates {
            let goes = |child: &Arc<Mount>| {
                is_topper(child, c)
                    || marked.contains(&address(child))
                    || child.flags().contains(MountFlags::UMOUNT)
            };
            if !marked.contains(&address(c)) && c.children().iter().all(goes) {
                marked.insert(address(c));
            }
        }
        if marked.len() == before {
            break;
        }
    }
    let may_go = |c: &Arc<Mount>| marked.contains(&address(c)) && !c.flags().contains(MountFlags::LOCKED);
    let mut gone: Vec<Arc<Mount>> = candidates.iter().filter(|c| may_go(c)).cloned().collect();
    let mut going: MountSet = gone.iter().map(address).collect();
    let mut toppers = Vec::new();
    let mut at = 0;
    while let Some(mnt) = gone.get(at).cloned() {
        at += 1;
        mnt.set_flags(mnt.flags() | MountFlags::UMOUNT);
        for child in mnt.children() {
            if child.flags().contains(MountFlags::UMOUNT) || going.contains(&address(&child)) {
                continue;
            }
            if is_topper(&child, &mnt) {
                toppers.push(child);
            } else {
                going.insert(address(&child));
                gone.push(child);
            }
        }
    }
    for topper in toppers {
        let mut above = topper.parent();
        while let Some((parent, _)) = &above
            && parent.flags().contains(MountFlags::UMOUNT)
        {
            above = parent.parent();
        }
        if let Some((parent, mountpoint)) = above {
            topper.reattach(&parent, &mountpoint);
        }
    }
    gone
}
