//! Linux: kernel/user_namespace.c, `map_write`, `new_idmap_permitted`, `verify_root_map`.

use crate::{CapSet, Cred, IdMap, IdMapExtent, Kgid, Kuid, MAX_EXTENTS, UserNamespace, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM};
use std::sync::Arc;

/// Which of a namespace's maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// User ids.
    Uid,
    /// Group ids.
    Gid,
    /// Project ids, which anybody may map.
    Projid,
}

/// Linux's `isspace`: of Latin-1.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

/// What is left of a line of a map.
struct Line<'a>(&'a [u8]);

impl Line<'_> {
    fn skip_spaces(&mut self) {
        while let Some((byte, rest)) = self.0.split_first()
            && is_space(*byte)
        {
            self.0 = rest;
        }
    }

    /// A decimal number behind white space; 0 if there is none. What does not fit wraps. Linux: `simple_strtoul`, cut to
    /// 32 bits.
    fn number(&mut self) -> u32 {
        self.skip_spaces();
        let mut value = 0u32;
        while let Some((byte, rest)) = self.0.split_first()
            && byte.is_ascii_digit()
        {
            value = value.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
            self.0 = rest;
        }
        value
    }

    fn at_space(&self) -> bool {
        self.0.first().is_some_and(|b| is_space(*b))
    }

    fn extent(mut self) -> Option<IdMapExtent> {
        let first = self.number();
        if !self.at_space() {
            return None;
        }
        let lower_first = self.number();
        if !self.at_space() {
            return None;
        }
        let count = self.number();
        if !self.0.is_empty() && !self.at_space() {
            return None;
        }
        self.skip_spaces();
        let valid = first != u32::MAX
            && lower_first != u32::MAX
            && count != 0
            && first.checked_add(count).is_some()
            && lower_first.checked_add(count).is_some();
        (self.0.is_empty() && valid).then_some(IdMapExtent { first, lower_first, count })
    }
}

/// Whether `id` begins a run of `count` that meets the run of `other_count` from `other`.
fn meet(id: u32, count: u32, other: u32, other_count: u32) -> bool {
    u64::from(id) < u64::from(other) + u64::from(other_count)
        && u64::from(other) < u64::from(id) + u64::from(count)
}

/// The extents of a written map, lower ids being the parent's.
///
/// # Errors
/// `EINVAL`.
fn parse(text: &[u8]) -> Result<Vec<IdMapExtent>, Errno> {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut extents: Vec<IdMapExtent> = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        let new = Line(line).extent().ok_or(EINVAL)?;
        let overlaps = extents.iter().any(|e| {
            meet(new.first, new.count, e.first, e.count)
                || meet(new.lower_first, new.count, e.lower_first, e.count)
        });
        if overlaps || extents.len() >= MAX_EXTENTS {
            return Err(EINVAL);
        }
        extents.push(new);
    }
    Ok(extents)
}

impl UserNamespace {
    /// Sets a map, once. `opener` opened the file that `writer` writes `text` to; that the file is the namespace's, and its
    /// opener of it or its parent, the caller has checked.
    ///
    /// # Errors
    /// In Linux's order: `EPERM` if the map is set; `EPERM` if the opener lacks CAP_SYS_ADMIN over the namespace; `EINVAL`
    /// for text that is no map; `EPERM` for ids that opener and writer may not give away, or that the parent has not.
    pub fn map_write(
        self: &Arc<Self>,
        kind: IdKind,
        text: &[u8],
        opener: &Cred,
        writer: &Cred,
    ) -> Result<(), Errno> {
        let parent = self.parent().ok_or(EPERM)?;
        let parent_map = match kind {
            IdKind::Uid => parent.uid_map(),
            IdKind::Gid => parent.gid_map(),
            IdKind::Projid => parent.projid_map(),
        };
        let mut state = self.state.write();
        let setgroups_allowed = state.setgroups_allowed;
        let map = match kind {
            IdKind::Uid => &mut state.uid_map,
            IdKind::Gid => &mut state.gid_map,
            IdKind::Projid => &mut state.projid_map,
        };
        if !map.is_empty() {
            return Err(EPERM);
        }
        if kind != IdKind::Projid && !ns_capable(opener, self, CapSet::SYS_ADMIN) {
            return Err(EPERM);
        }
        let mut extents = parse(text)?;
        let request = Request { kind, extents: &extents, parent_map: &parent_map, setgroups_allowed };
        if !request.permitted(self, parent, opener, writer) {
            return Err(EPERM);
        }
        for e in &mut extents {
            e.lower_first = parent_map.map_range_down(e.lower_first, e.count).ok_or(EPERM)?;
        }
        *map = Arc::new(IdMap::from_extents(extents));
        Ok(())
    }
}

/// A map that somebody wants to set.
struct Request<'a> {
    kind: IdKind,
    extents: &'a [IdMapExtent],
    parent_map: &'a IdMap,
    setgroups_allowed: bool,
}

impl Request<'_> {
    /// Linux: `new_idmap_permitted`.
    fn permitted(
        &self,
        ns: &Arc<UserNamespace>,
        parent: &Arc<UserNamespace>,
        opener: &Cred,
        writer: &Cred,
    ) -> bool {
        let cap = match self.kind {
            IdKind::Uid if !self.root_map_permitted(ns, parent, opener) => return false,
            IdKind::Uid => CapSet::SETUID,
            IdKind::Gid => CapSet::SETGID,
            IdKind::Projid => return true,
        };
        self.is_own_id(ns, opener) || (ns_capable(writer, parent, cap) && ns_capable(opener, parent, cap))
    }

    /// A namespace in which the parent's root is mapped can make file capabilities that hold in the parent: whoever lets it
    /// must be able to do so itself. Linux: `verify_root_map`.
    fn root_map_permitted(
        &self,
        ns: &Arc<UserNamespace>,
        parent: &Arc<UserNamespace>,
        opener: &Cred,
    ) -> bool {
        if self.extents.iter().all(|e| e.lower_first != 0) {
            true
        } else if Arc::ptr_eq(ns, &opener.user_ns) {
            ns.parent_could_setfcap()
        } else {
            ns_capable(opener, parent, CapSet::SETFCAP)
        }
    }

    /// Whether nothing but the maker's own id is mapped, which needs no privilege; a group only where groups can no longer
    /// be dropped.
    fn is_own_id(&self, ns: &UserNamespace, opener: &Cred) -> bool {
        let [IdMapExtent { lower_first, count: 1, .. }] = self.extents else { return false };
        let kernel_id = self.parent_map.map_down(*lower_first);
        ns.owner() == opener.euid
            && match self.kind {
                IdKind::Uid => kernel_id.map(Kuid::from_global) == Some(opener.euid),
                IdKind::Gid => {
                    !self.setgroups_allowed && kernel_id.map(Kgid::from_global) == Some(opener.egid)
                }
                IdKind::Projid => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupInfo;

    fn extent(first: u32, lower_first: u32, count: u32) -> IdMapExtent {
        IdMapExtent { first, lower_first, count }
    }

    #[test]
    fn text_of_a_map() {
        assert_eq!(parse(b"0 1000 1"), Ok(vec![extent(0, 1000, 1)]));
        assert_eq!(parse(b" 0\t1000  1 \n1 2000 5\n"), Ok(vec![extent(0, 1000, 1), extent(1, 2000, 5)]));
        assert_eq!(parse(b"0 1000 1\0junk"), Ok(vec![extent(0, 1000, 1)]));
        for bad in [
            &b""[..],
            b"\n",
            b"0",
            b"0 0",
            b"0 0 ",
            b"0 0 0",
            b"0 0 1 1",
            b"a 0 1",
            b"0 0 1x",
            b"-1 0 1",
            b"4294967295 0 1",
            b"0 4294967295 1",
            b"1 0 4294967295",
            b"0 1 4294967295",
            b"0 0 1\n\n1 1 1",
            b"0 10 5\n4 20 1",
            b"0 10 5\n5 14 1",
            b"0 0 1\n\n",
        ] {
            assert_eq!(parse(bad), Err(EINVAL), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(parse(b"0 0 4294967295").map(|e| e.len()), Ok(1));
    }

    #[test]
    fn at_most_340_lines() {
        let lines = |n: u32| -> String { (0..n).map(|i| format!("{i} {i} 1\n")).collect() };
        assert_eq!(parse(lines(340).as_bytes()).map(|e| e.len()), Ok(340));
        assert_eq!(parse(lines(341).as_bytes()), Err(EINVAL));
    }

    fn user(ns: &Arc<UserNamespace>, id: u32) -> Cred {
        Cred::user(ns.clone(), Kuid::from_global(id), Kgid::from_global(id), GroupInfo::default())
    }

    #[test]
    fn the_maker_may_map_itself_and_a_group_once_setgroups_is_denied() {
        let init = UserNamespace::new_initial();
        let maker = user(&init, 1000);
        let Ok(ns) = UserNamespace::create_user_ns(&maker, false) else { unreachable!("the ids are mapped") };
        let inside = maker.in_user_ns(ns.clone());
        assert_eq!(ns.map_write(IdKind::Uid, b"0 0 1", &inside, &inside), Err(EPERM));
        assert_eq!(ns.map_write(IdKind::Uid, b"0 1001 1", &inside, &inside), Err(EPERM));
        assert_eq!(ns.map_write(IdKind::Uid, b"0 1000 2", &inside, &inside), Err(EPERM));
        assert_eq!(ns.map_write(IdKind::Uid, b"0 1000 1", &inside, &inside), Ok(()));
        assert_eq!(ns.map_write(IdKind::Uid, b"0 1000 1", &inside, &inside), Err(EPERM));
        assert_eq!(ns.make_kuid(0), Kuid::from_global(1000));
        assert_eq!(ns.map_write(IdKind::Gid, b"0 1000 1", &inside, &inside), Err(EPERM));
        assert_eq!(ns.set_setgroups(false), Ok(()));
        assert_eq!(ns.map_write(IdKind::Gid, b"0 1000 1", &inside, &inside), Ok(()));
        assert_eq!(ns.set_setgroups(false), Err(EPERM));
        assert!(!ns.may_setgroups());
    }

    #[test]
    fn both_who_opened_and_who_writes_must_hold_the_capability() {
        let init = UserNamespace::new_initial();
        let (root, maker) = (Cred::root(init.clone()), user(&init, 1000));
        let Ok(ns) = UserNamespace::create_user_ns(&maker, false) else { unreachable!("the ids are mapped") };
        assert_eq!(ns.map_write(IdKind::Uid, b"0 5000 10", &root, &maker), Err(EPERM));
        assert_eq!(ns.map_write(IdKind::Uid, b"0 5000 10", &maker, &root), Err(EPERM));
        assert_eq!(ns.map_write(IdKind::Uid, b"0 0 10", &root, &root), Ok(()));
        let below = Cred { cap_effective: CapSet::all(), ..root.in_user_ns(ns.clone()) };
        let Ok(deeper) = UserNamespace::create_user_ns(&below, false) else { return };
        let inside = below.in_user_ns(deeper.clone());
        assert_eq!(deeper.map_write(IdKind::Uid, b"0 9 2", &below, &inside), Err(EPERM));
    }
}
