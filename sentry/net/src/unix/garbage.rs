//! Linux: net/unix/garbage.c and scm.c: files in flight, and the sockets among them that nobody can reach any more.
//!
//! A socket sent over a socket may come to lie in a queue that only queues lead to. Such a socket's file is referred to by
//! nothing but messages; the collector finds sets of them that are held only from within the set, and empties their
//! queues. It runs when a local socket is released while others are in flight; not each time if those are many, so that
//! its cost stays in proportion.
//!
//! It is safe against everything that goes on meanwhile, because counts rise only under its lock: what a task gains, it
//! gains from a queue that it can reach, and whatever is reachable from a reachable queue stays.

use super::UnixSock;
use crate::{NetNamespace, Socket};
use fs_vfs::{File, Resource, TaskContext};
use sentry_auth::{CapSet, Kuid};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::ETOOMANYREFS;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

/// Everything in flight in one kernel.
#[derive(Default)]
pub(crate) struct Inflight {
    table: Mutex<Table, { level::NET_TABLE }>,
}

#[derive(Default)]
struct Table {
    /// Local sockets in flight, by the address of their file.
    sockets: HashMap<usize, Entry>,
    /// Files in flight by who sent them.
    per_user: HashMap<Kuid, u64>,
    /// Releases since the collector ran.
    releases: usize,
}

/// The collector looks at this many sockets for each release.
const WORK_PER_RELEASE: usize = 16;

struct Entry {
    file: Weak<File>,
    /// How often it is in flight.
    count: usize,
}

fn key(file: &Arc<File>) -> usize {
    Arc::as_ptr(file).addr()
}

fn unix_sock(file: &File) -> Option<&UnixSock> {
    UnixSock::of(&*file.downcast::<Socket>()?.ops)
}

/// Files in a message. Linux: `struct scm_fp_list` once `unix_attach_fds` has been through.
pub(super) struct Rights {
    files: Vec<Arc<File>>,
    sender: Kuid,
    net: Arc<NetNamespace>,
}

impl Rights {
    /// Counts the files as in flight. Linux: `unix_attach_fds`.
    ///
    /// # Errors
    /// `ETOOMANYREFS` if the user has as many in flight as it may have files, and is not privileged.
    pub(super) fn attach(
        ctx: &dyn TaskContext,
        net: &Arc<NetNamespace>,
        files: Vec<Arc<File>>,
    ) -> Result<Rights, Errno> {
        let cred = ctx.cred();
        let limit = ctx.rlimit(Resource::Nofile);
        let mut table = net.kernelwide.inflight.table.lock();
        let mine = table.per_user.entry(cred.uid).or_default();
        let privileged = || {
            cred.user_ns.level() == 0
                && (cred.capable(CapSet::SYS_RESOURCE) || cred.capable(CapSet::SYS_ADMIN))
        };
        if *mine > limit && !privileged() {
            return Err(ETOOMANYREFS);
        }
        *mine += files.len() as u64;
        for file in files.iter().filter(|f| unix_sock(f).is_some()) {
            let new = || Entry { file: Arc::downgrade(file), count: 0 };
            table.sockets.entry(key(file)).or_insert_with(new).count += 1;
        }
        Ok(Rights { files, sender: cred.uid, net: net.clone() })
    }

    /// The files, in flight no more.
    pub(super) fn detach(mut self) -> Vec<Arc<File>> {
        let files = std::mem::take(&mut self.files);
        self.net.kernelwide.inflight.forget(self.sender, &files);
        files
    }

    /// The files, for a reader that leaves them in the queue.
    pub(super) fn peek(&self) -> Vec<Arc<File>> {
        self.files.clone()
    }

    pub(super) fn count(&self) -> usize {
        self.files.len()
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let files = std::mem::take(&mut self.files);
        self.net.kernelwide.inflight.forget(self.sender, &files);
        delayed_fput(files);
    }
}

thread_local! {
    /// Files to drop, while this thread is dropping some.
    static DELAYED: RefCell<Option<Vec<Arc<File>>>> = const { RefCell::new(None) };
}

/// Drops files one after the other. A file dropped here may be a socket with files in its queue, those again, and so on as
/// deep as a guest likes; so they are put on a list instead of the stack. Linux: fs/file_table.c, `delayed_fput`.
fn delayed_fput(files: Vec<Arc<File>>) {
    if files.is_empty() {
        return;
    }
    let begun = DELAYED.with_borrow_mut(|list| match list {
        Some(list) => {
            list.extend(files);
            true
        }
        None => {
            *list = Some(files);
            false
        }
    });
    if begun {
        return;
    }
    while let Some(file) = DELAYED.with_borrow_mut(|list| list.as_mut()?.pop()) {
        drop(file);
    }
    DELAYED.set(None);
}

impl Inflight {
    fn forget(&self, sender: Kuid, files: &[Arc<File>]) {
        if files.is_empty() {
            return;
        }
        let mut table = self.table.lock();
        if let Some(left) = table.per_user.get_mut(&sender) {
            *left = left.saturating_sub(files.len() as u64);
            if *left == 0 {
                table.per_user.remove(&sender);
            }
        }
        for file in files {
            if let Some(entry) = table.sockets.get_mut(&key(file)) {
                entry.count -= 1;
                if entry.count == 0 {
                    table.sockets.remove(&key(file));
                }
            }
        }
    }

    /// Runs the collector if there can be garbage at all.
    pub(super) fn collect_if_needed(&self) {
        let mut table = self.table.lock();
        table.releases += 1;
        if table.sockets.is_empty() || table.sockets.len() > table.releases.saturating_mul(WORK_PER_RELEASE) {
            return;
        }
        table.releases = 0;
        let (garbage, held) = table.garbage();
        drop(table);
        drop(garbage);
        delayed_fput(held);
    }
}

impl Table {
    /// Empties the queues of all unreachable sockets; what was in them is returned, to be dropped without the lock.
    /// Linux: `unix_gc`.
    fn garbage(&self) -> (Vec<Rights>, Vec<Arc<File>>) {
        // Held by messages only, as far as the counts tell: the file is upgraded here, which adds one.
        let candidates: HashMap<usize, (Arc<File>, usize)> = self
            .sockets
            .iter()
            .filter_map(|(at, entry)| {
                let file = entry.file.upgrade()?;
                (Arc::strong_count(&file) == entry.count + 1).then_some((*at, (file, entry.count)))
            })
            .collect();
        let mut held_within: HashMap<usize, usize> = HashMap::new();
        for (file, _) in candidates.values() {
            for_each_inflight(file, &mut |inner| {
                if candidates.contains_key(&inner) {
                    *held_within.entry(inner).or_default() += 1;
                }
            });
        }
        // Whatever is held from without is reachable, and what it holds is, too.
        let within = |at: &usize| held_within.get(at).copied().unwrap_or(0);
        let mut todo: Vec<usize> =
            candidates.iter().filter(|(at, (_, count))| within(at) < *count).map(|(at, _)| *at).collect();
        let mut reachable: HashSet<usize> = todo.iter().copied().collect();
        while let Some(at) = todo.pop() {
            if let Some((file, _)) = candidates.get(&at) {
                for_each_inflight(file, &mut |inner| {
                    if candidates.contains_key(&inner) && reachable.insert(inner) {
                        todo.push(inner);
                    }
                });
            }
        }
        let mut rights = Vec::new();
        let mut files = Vec::new();
        for (at, (file, _)) in candidates {
            if !reachable.contains(&at)
                && let Some(sock) = unix_sock(&file)
            {
                sock.take_all_rights(&mut rights);
            }
            // Not here: the last reference would run release under the lock.
            files.push(file);
        }
        (rights, files)
    }
}

/// Calls `f` with the key of each local socket in the queues of a socket, those of connections not yet accepted included.
/// Linux: `scan_children`.
fn for_each_inflight(file: &File, f: &mut impl FnMut(usize)) {
    let Some(sock) = unix_sock(file) else { return };
    sock.for_each_rights(&mut |rights| {
        for inner in &rights.files {
            if unix_sock(inner).is_some() {
                f(key(inner));
            }
        }
    });
}

impl UnixSock {
    fn backlog(&self) -> Vec<Arc<UnixSock>> {
        self.state.lock().backlog.iter().cloned().collect()
    }

    pub(super) fn for_each_rights(&self, f: &mut impl FnMut(&Rights)) {
        for embryo in self.backlog() {
            embryo.for_each_rights(f);
        }
        if let Some(connection) = self.connection.get() {
            connection.rx.for_each_rights(&mut *f);
        }
        self.dgrams.lock().rights().for_each(f);
    }

    fn take_all_rights(&self, into: &mut Vec<Rights>) {
        for embryo in self.backlog() {
            embryo.take_all_rights(into);
        }
        if let Some(connection) = self.connection.get() {
            into.extend(connection.rx.take_all_rights());
        }
        into.extend(self.dgrams.lock().take_all_rights());
    }
}
