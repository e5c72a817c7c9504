//! Linux: ipc/util.c. What the three kinds of objects have in common: ids, keys, permissions.

use sentry_auth::{CapSet, Cred, Kgid, Kuid, UserNamespace, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EEXIST, EINVAL, ENOENT, ENOSPC, EPERM};
use sentry_uapi::ipc::{IPC_CREAT, IPC_EXCL, IPC_PRIVATE, Ipc64Perm};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Objects of a kind a namespace may have at most, whatever its limits.
pub const IPCMNI: i32 = 1 << IPCMNI_SHIFT;
/// Bits of an id that are its index; the sequence number stands above them.
const IPCMNI_SHIFT: u32 = 15;
/// Sequence numbers stay below this.
const SEQ_MAX: u16 = u16::MAX;
/// Indices are used in turn among at least so many, so that ids are not used again soon.
const MIN_CYCLE: usize = 64;
/// The bits of a mode that say who may do what.
pub(crate) const S_IRWXUGO: i32 = 0o777;
/// To look at an object.
pub(crate) const S_IRUGO: i32 = 0o444;
/// To change an object.
pub(crate) const S_IWUGO: i32 = 0o222;
/// To execute what is in it.
pub(crate) const S_IXUGO: i32 = 0o111;

/// Whose an object is and who may use it. Linux: `struct kern_ipc_perm`.
#[derive(Clone, Debug)]
pub struct IpcPerm {
    /// The key that finds it; IPC_PRIVATE for none.
    pub key: i32,
    /// Its id.
    pub id: i32,
    /// Owner.
    pub uid: Kuid,
    /// Group.
    pub gid: Kgid,
    /// Creator.
    pub cuid: Kuid,
    /// The creator's group.
    pub cgid: Kgid,
    /// Mode, and flags of the kind.
    pub mode: u32,
    seq: u16,
}

/// What IPC_SET asks for: ids of the caller's user namespace have been converted.
#[derive(Clone, Copy, Debug)]
pub struct PermUpdate {
    uid: Kuid,
    gid: Kgid,
    mode: u32,
}

impl PermUpdate {
    /// As the caller in `user_ns` has written it. An id without a mapping is found out when it is applied.
    pub fn from_user(perm: &Ipc64Perm, user_ns: &UserNamespace) -> PermUpdate {
        PermUpdate { uid: user_ns.make_kuid(perm.uid), gid: user_ns.make_kgid(perm.gid), mode: perm.mode }
    }
}

impl IpcPerm {
    /// Of an object its creator has just asked for.
    pub(crate) fn new(key: i32, flags: i32, cred: &Cred) -> IpcPerm {
        let (uid, gid) = (cred.euid, cred.egid);
        let mode = (flags & S_IRWXUGO).unsigned_abs();
        IpcPerm { key, id: 0, uid, gid, cuid: uid, cgid: gid, mode, seq: 0 }
    }

    /// Whether `cred` may do what the bits of `flag` say. Linux: `ipcperms`.
    pub(crate) fn permits(&self, cred: &Cred, owner: &Arc<UserNamespace>, flag: i32) -> bool {
        let requested = ((flag >> 6) | (flag >> 3) | flag).cast_unsigned();
        let mut granted = self.mode;
        if cred.euid == self.cuid || cred.euid == self.uid {
            granted >>= 6;
        } else if cred.in_group_p(self.cgid) || cred.in_group_p(self.gid) {
            granted >>= 3;
        }
        requested & !granted & 7 == 0 || ns_capable(cred, owner, CapSet::IPC_OWNER)
    }

    /// Whether `cred` owns or made it.
    pub(crate) fn is_owner(&self, cred: &Cred) -> bool {
        cred.euid == self.cuid || cred.euid == self.uid
    }

    /// As a caller in `user_ns` sees it. Linux: `kernel_to_ipc64_perm`. No lock of this crate is held.
    pub fn to_user(&self, user_ns: &UserNamespace) -> Ipc64Perm {
        Ipc64Perm {
            key: self.key,
            uid: user_ns.from_kuid_munged(self.uid),
            gid: user_ns.from_kgid_munged(self.gid),
            cuid: user_ns.from_kuid_munged(self.cuid),
            cgid: user_ns.from_kgid_munged(self.cgid),
            mode: self.mode,
            seq: self.seq,
            ..Ipc64Perm::default()
        }
    }

    /// Linux: `ipc_update_perm`.
    ///
    /// # Errors
    /// `EINVAL` for ids that have no mapping.
    pub(crate) fn update(&mut self, new: &PermUpdate) -> Result<(), Errno> {
        if !new.uid.is_valid() || !new.gid.is_valid() {
            return Err(EINVAL);
        }
        let mask = S_IRWXUGO.unsigned_abs();
        (self.uid, self.gid) = (new.uid, new.gid);
        self.mode = (self.mode & !mask) | (new.mode & mask);
        Ok(())
    }
}

/// An object that has an id.
pub(crate) trait IpcObject {
    fn perm(&self) -> &IpcPerm;
    fn perm_mut(&mut self) -> &mut IpcPerm;
}

/// What a key has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An object, by its id.
    Id(i32),
    /// None: one is to be made.
    New,
}

/// The objects of a kind. Linux: `struct ipc_ids`.
pub(crate) struct IpcIds<T> {
    objects: BTreeMap<usize, T>,
    keys: HashMap<i32, i32>,
    /// Where the search for a free index begins.
    cursor: usize,
    last_idx: Option<usize>,
    seq: u16,
    /// The id the next object is to get: `/proc/sys/kernel/*_next_id`.
    pub(crate) next_id: i32,
}

fn index(id: i32) -> Option<usize> {
    usize::try_from(id).ok().map(|id| id & ((1 << IPCMNI_SHIFT) - 1))
}

impl<T: IpcObject> IpcIds<T> {
    pub(crate) fn new() -> IpcIds<T> {
        IpcIds {
            objects: BTreeMap::new(),
            keys: HashMap::new(),
            cursor: 0,
            last_idx: None,
            seq: 0,
            next_id: -1,
        }
    }

    /// Number of objects.
    pub(crate) fn in_use(&self) -> usize {
        self.objects.len()
    }

    /// The highest index in use; 0 for none.
    pub(crate) fn max_idx(&self) -> u64 {
        self.objects.keys().next_back().and_then(|i| u64::try_from(*i).ok()).unwrap_or(0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.objects.values()
    }

    /// The first half of `ipcget`.
    ///
    /// # Errors
    /// `ENOENT` when there is no such object and none is to be made; `EEXIST`.
    pub(crate) fn find(&self, key: i32, flags: i32) -> Result<Found, Errno> {
        if key == IPC_PRIVATE {
            return Ok(Found::New);
        }
        match self.keys.get(&key) {
            None if flags & IPC_CREAT == 0 => Err(ENOENT),
            None => Ok(Found::New),
            Some(_) if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 => Err(EEXIST),
            Some(id) => Ok(Found::Id(*id)),
        }
    }

    /// Enters an object. Returns its id. Linux: `ipc_addid`.
    ///
    /// # Errors
    /// `ENOSPC` beyond `limit`.
    pub(crate) fn add(&mut self, mut object: T, limit: i32) -> Result<i32, Errno> {
        let limit = usize::try_from(limit.min(IPCMNI)).unwrap_or(0);
        if self.in_use() >= limit {
            return Err(ENOSPC);
        }
        let wanted = std::mem::replace(&mut self.next_id, -1);
        let (idx, seq) = match index(wanted) {
            Some(first) => {
                let all = usize::try_from(IPCMNI).unwrap_or(0);
                let idx = (first..all).find(|i| !self.objects.contains_key(i)).ok_or(ENOSPC)?;
                (idx, u16::try_from(wanted >> IPCMNI_SHIFT).unwrap_or(0))
            }
            None => self.next_index()?,
        };
        let id = (i32::from(seq) << IPCMNI_SHIFT) | i32::try_from(idx).map_err(|_| ENOSPC)?;
        let perm = object.perm_mut();
        (perm.id, perm.seq) = (id, seq);
        if perm.key != IPC_PRIVATE {
            self.keys.insert(perm.key, id);
        }
        self.objects.insert(idx, object);
        Ok(id)
    }

    /// The next free index, going round, and the sequence number that goes with it. Linux: `ipc_idr_alloc`.
    fn next_index(&mut self) -> Result<(usize, u16), Errno> {
        let all = usize::try_from(IPCMNI).unwrap_or(0);
        let max = (self.in_use() * 3 / 2).max(MIN_CYCLE).min(all);
        let from = if self.cursor < max { self.cursor } else { 0 };
        let free = |i: &usize| !self.objects.contains_key(i);
        let idx = (from..max).find(free).or_else(|| (0..from).find(free)).ok_or(ENOSPC)?;
        self.cursor = idx + 1;
        if self.last_idx.is_some_and(|last| idx <= last) {
            let next = self.seq.saturating_add(1);
            self.seq = if next == SEQ_MAX { 0 } else { next };
        }
        self.last_idx = Some(idx);
        Ok((idx, self.seq))
    }

    /// The object with this id. Linux: `ipc_obtain_object_check`.
    ///
    /// # Errors
    /// `EINVAL`.
    pub(crate) fn get(&self, id: i32) -> Result<&T, Errno> {
        let idx = index(id).ok_or(EINVAL)?;
        self.objects.get(&idx).filter(|o| o.perm().id == id).ok_or(EINVAL)
    }

    /// As [`IpcIds::get`].
    pub(crate) fn get_mut(&mut self, id: i32) -> Result<&mut T, Errno> {
        let idx = index(id).ok_or(EINVAL)?;
        self.objects.get_mut(&idx).filter(|o| o.perm().id == id).ok_or(EINVAL)
    }

    /// The object at the index of this id, whatever its sequence number. Linux: `ipc_obtain_object_idr`.
    ///
    /// # Errors
    /// `EINVAL`.
    pub(crate) fn at(&self, id: i32) -> Result<&T, Errno> {
        index(id).and_then(|idx| self.objects.get(&idx)).ok_or(EINVAL)
    }

    /// The object with this id, which `cred` may change or remove. Linux: `ipcctl_obtain_check`.
    ///
    /// # Errors
    /// `EINVAL`; `EPERM` for whoever neither owns it nor is an administrator.
    pub(crate) fn get_owned(
        &mut self,
        id: i32,
        cred: &Cred,
        owner: &Arc<UserNamespace>,
    ) -> Result<&mut T, Errno> {
        let object = self.get_mut(id)?;
        if object.perm().is_owner(cred) || ns_capable(cred, owner, CapSet::SYS_ADMIN) {
            Ok(object)
        } else {
            Err(EPERM)
        }
    }

    /// Takes an object out. Linux: `ipc_rmid`.
    pub(crate) fn remove(&mut self, id: i32) -> Option<T> {
        let idx = index(id)?;
        let object = self.objects.remove(&idx)?;
        let key = object.perm().key;
        if key != IPC_PRIVATE {
            self.keys.remove(&key);
        }
        Some(object)
    }

    /// Lets no key find the object any more. Linux: `ipc_set_key_private`.
    pub(crate) fn set_key_private(&mut self, id: i32) {
        let Ok(object) = self.get_mut(id) else { return };
        let key = std::mem::replace(&mut object.perm_mut().key, IPC_PRIVATE);
        self.keys.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain(IpcPerm);

    impl IpcObject for Plain {
        fn perm(&self) -> &IpcPerm {
            &self.0
        }
        fn perm_mut(&mut self) -> &mut IpcPerm {
            &mut self.0
        }
    }

    fn plain(key: i32) -> Plain {
        Plain(IpcPerm::new(key, 0o600, &Cred::root(UserNamespace::new_initial())))
    }

    #[test]
    fn an_index_comes_again_late_and_with_another_sequence_number() {
        let mut ids = IpcIds::new();
        for round in 0..MIN_CYCLE {
            let id = ids.add(plain(0), 10);
            assert_eq!(id, i32::try_from(round).map_err(|_| ENOSPC));
            assert!(ids.remove(id.unwrap_or(-1)).is_some());
        }
        assert_eq!(ids.add(plain(0), 10), Ok(1 << IPCMNI_SHIFT));
        assert!(ids.get(0).is_err());
        assert!(ids.at(0).is_ok());
    }

    #[test]
    fn keys_find_what_has_not_been_removed() {
        let mut ids = IpcIds::new();
        assert_eq!(ids.find(7, 0), Err(ENOENT));
        assert_eq!(ids.find(7, IPC_CREAT), Ok(Found::New));
        assert_eq!(ids.add(plain(7), 1), Ok(0));
        assert_eq!(ids.add(plain(8), 1), Err(ENOSPC));
        assert_eq!(ids.find(7, 0), Ok(Found::Id(0)));
        assert_eq!(ids.find(7, IPC_CREAT | IPC_EXCL), Err(EEXIST));
        ids.set_key_private(0);
        assert_eq!(ids.find(7, 0), Err(ENOENT));
        ids.next_id = (5 << IPCMNI_SHIFT) | 3;
        assert_eq!(ids.add(plain(7), 2), Ok((5 << IPCMNI_SHIFT) | 3));
        assert!(ids.remove((5 << IPCMNI_SHIFT) | 3).is_some());
        assert_eq!(ids.find(7, 0), Err(ENOENT));
    }
}
