//! Kinds of values. Linux: kernel/sysctl.c, `proc_dointvec_minmax`, `proc_dostring`; fs/proc/proc_sysctl.c,
//! `sysctl_perm`.

use crate::procfs::current;
use crate::seq::put_tabbed;
use fs_kernfs::{Node, NodeAttr, NodeOps, SeqNode, StaticDir};
use fs_vfs::{Access, Attr, File, FileType, TaskContext};
use sentry_auth::{CapSet, Cred, Kgid, Kuid, ns_capable};
use sentry_mm::IoSrc;
use sentry_net::NetNamespace;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, EPERM, ESRCH};
use std::any::Any;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Most bytes one write may have.
const STORE_MAX: usize = 4096;

/// A value of `/proc/sys`.
pub(super) trait Value: Send + Sync + 'static {
    /// Puts it out.
    fn show(&self, ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno>;

    /// Takes a new one.
    fn store(&self, ctx: &dyn TaskContext, bytes: &[u8]) -> Result<(), Errno> {
        let _ = (ctx, bytes);
        Err(EINVAL)
    }
}

/// Whose value it is, and so who may change it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The kernel's: the first user namespace's root may.
    Kernel,
    /// A network namespace's: who administrates it may. Linux: net/sysctl_net.c, `net_ctl_permissions`.
    Net,
    /// An IPC namespace's: the root of its user namespace may. Linux: ipc/ipc_sysctl.c, `ipc_permissions`.
    Ipc,
}

struct Ctl<V> {
    perm: u32,
    scope: Scope,
    value: V,
}

/// A directory of values.
pub(super) fn dir<const N: usize>(entries: [(&str, Node); N]) -> Node {
    dir_of(entries.into_iter())
}

/// As [`dir`], of any number.
pub(super) fn dir_of<'a>(entries: impl Iterator<Item = (&'a str, Node)>) -> Node {
    entries.fold(StaticDir::new(0o555), |dir, (name, node)| dir.with(name, node)).node()
}

/// A value of the caller's IPC namespace.
pub(super) fn ipc_ctl(perm: u32, value: impl Value) -> Node {
    Node::seq(Ctl { perm, scope: Scope::Ipc, value })
}

/// A value of the kernel's.
pub(super) fn ctl(perm: u32, value: impl Value) -> Node {
    Node::seq(Ctl { perm, scope: Scope::Kernel, value })
}

impl<V: Value> NodeOps for Ctl<V> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(NodeAttr::root(self.perm))
    }

    /// Neither capabilities nor ownership count, only being root. Linux: `test_perm`.
    fn permission(
        &self,
        attr: &Attr,
        _file_type: FileType,
        cred: &Cred,
        access: Access,
    ) -> Result<(), Errno> {
        let as_owner = cred.euid == Kuid::GLOBAL_ROOT
            || (self.scope == Scope::Net && cred.cap_effective.contains(CapSet::NET_ADMIN))
            || (self.scope == Scope::Ipc && cred.euid == cred.user_ns.make_kuid(0));
        let bits = if as_owner {
            attr.perm >> 6
        } else if cred.in_egroup_p(Kgid::GLOBAL_ROOT) {
            attr.perm >> 3
        } else {
            attr.perm
        };
        if access.bits() & !bits & 7 == 0 { Ok(()) } else { Err(EACCES) }
    }
}

impl<V: Value> SeqNode for Ctl<V> {
    fn show(&self, _file: &File, ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.value.show(ctx, out)
    }

    /// A write is a whole value; one that does not begin at the start is taken and forgotten. Linux:
    /// `proc_first_pos_non_zero_ignore`.
    fn write(
        &self,
        _file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        if src.remaining() > STORE_MAX {
            return Err(EINVAL);
        }
        let bytes = src.read_vec(STORE_MAX)?;
        if self.scope == Scope::Net {
            // What was opened may be another namespace's by now.
            let net = net_ns(ctx)?;
            let cred = ctx.cred();
            if cred.euid != Kuid::GLOBAL_ROOT && !ns_capable(&cred, &net.user_ns, CapSet::NET_ADMIN) {
                return Err(EPERM);
            }
        }
        if pos == 0 {
            self.value.store(ctx, &bytes)?;
        }
        Ok(bytes.len())
    }
}

/// The caller's network namespace.
pub(super) fn net_ns(ctx: &dyn TaskContext) -> Result<Arc<NetNamespace>, Errno> {
    Ok(current(ctx).ok_or(ESRCH)?.task().ns().net.clone())
}

/// Numbers with blanks between them, base 10, 16 after `0x` or 8 after `0`; at most `max` are looked at. Linux:
/// `proc_get_long`.
///
/// # Errors
/// `EINVAL` for anything else, and for no number at all.
pub(super) fn parse_numbers(bytes: &[u8], max: usize) -> Result<Vec<i128>, Errno> {
    let bytes = bytes.split(|b| *b == 0).next().unwrap_or_default();
    let text = str::from_utf8(bytes).map_err(|_| EINVAL)?;
    let numbers: Result<Vec<i128>, Errno> =
        text.split_ascii_whitespace().take(max).map(|word| parse_number(word).ok_or(EINVAL)).collect();
    numbers.and_then(|n| if n.is_empty() { Err(EINVAL) } else { Ok(n) })
}

fn parse_number(word: &str) -> Option<i128> {
    let (sign, digits) = word.strip_prefix('-').map_or((1, word), |rest| (-1, rest));
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    value.ok().map(|v| sign * i128::from(v))
}

/// Numbers that are kept and mean nothing more.
struct Kept {
    values: Mutex<Vec<i128>, { level::LEAF }>,
    range: RangeInclusive<i128>,
}

impl Value for Kept {
    fn show(&self, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        put_tabbed(out, &self.values.lock());
        Ok(())
    }

    fn store(&self, _ctx: &dyn TaskContext, bytes: &[u8]) -> Result<(), Errno> {
        let mut values = self.values.lock();
        let new = parse_numbers(bytes, values.len())?;
        if !new.iter().all(|v| self.range.contains(v)) {
            return Err(EINVAL);
        }
        for (old, new) in values.iter_mut().zip(new) {
            *old = new;
        }
        Ok(())
    }
}

fn kept(values: &[i128], range: RangeInclusive<i128>) -> Kept {
    Kept { values: Mutex::new(values.to_vec()), range }
}

/// A number that is kept.
pub(super) fn int(perm: u32, value: i128, range: RangeInclusive<i128>) -> Node {
    ctl(perm, kept(&[value], range))
}

/// A number from 0 up that is kept.
pub(super) fn uint(perm: u32, value: i128) -> Node {
    int(perm, value, 0..=i32::MAX.into())
}

/// 0 or 1, kept.
pub(super) fn flag(perm: u32, value: bool) -> Node {
    int(perm, i128::from(value), 0..=1)
}

/// Several numbers that are kept.
pub(super) fn vector(perm: u32, values: &[i128]) -> Node {
    ctl(perm, kept(values, i64::MIN.into()..=u64::MAX.into()))
}

/// A network namespace's number that means nothing here. It is kept once for the kernel, so only the first user
/// namespace's network may change it.
struct NetKept(Kept);

impl Value for NetKept {
    fn show(&self, ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        self.0.show(ctx, out)
    }

    fn store(&self, ctx: &dyn TaskContext, bytes: &[u8]) -> Result<(), Errno> {
        if !Arc::ptr_eq(&net_ns(ctx)?.user_ns, ctx.vfs().user_ns()) {
            return Err(EPERM);
        }
        self.0.store(ctx, bytes)
    }
}

/// Numbers of a network namespace that are kept.
pub(super) fn net_kept(values: &[i128]) -> Node {
    let value = NetKept(kept(values, i32::MIN.into()..=u32::MAX.into()));
    Node::seq(Ctl { perm: 0o644, scope: Scope::Net, value })
}

/// Numbers of a network namespace that it heeds: how they are read and set.
struct NetNumbers {
    get: fn(&NetNamespace) -> Vec<i128>,
    set: fn(&NetNamespace, &[i128]) -> Result<(), Errno>,
}

impl Value for NetNumbers {
    fn show(&self, ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        put_tabbed(out, &(self.get)(&*net_ns(ctx)?));
        Ok(())
    }

    fn store(&self, ctx: &dyn TaskContext, bytes: &[u8]) -> Result<(), Errno> {
        let net = net_ns(ctx)?;
        let mut values = (self.get)(&net);
        for (old, new) in values.iter_mut().zip(parse_numbers(bytes, 8)?) {
            *old = new;
        }
        (self.set)(&net, &values)
    }
}

/// Numbers of a network namespace that it heeds.
pub(super) fn net_numbers(
    get: fn(&NetNamespace) -> Vec<i128>,
    set: fn(&NetNamespace, &[i128]) -> Result<(), Errno>,
) -> Node {
    Node::seq(Ctl { perm: 0o644, scope: Scope::Net, value: NetNumbers { get, set } })
}

/// Text that cannot be changed.
struct Fixed(Vec<u8>);

impl Value for Fixed {
    fn show(&self, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        out.extend_from_slice(&self.0);
        out.push(b'\n');
        Ok(())
    }
}

/// What this kernel is built with: text, shown with a newline.
pub(super) fn fixed(text: impl Display) -> Node {
    ctl(0o444, Fixed(format!("{text}").into_bytes()))
}

/// A string that is kept.
struct KeptString {
    value: Mutex<Vec<u8>, { level::LEAF }>,
    max: usize,
}

/// A written string: up to a newline or zero, cut to `max` bytes. Linux: `_proc_do_string`.
pub(super) fn parse_string(bytes: &[u8], max: usize) -> Vec<u8> {
    let line = bytes.split(|b| matches!(b, 0 | b'\n')).next().unwrap_or_default();
    line.get(..max).unwrap_or(line).to_vec()
}

impl Value for KeptString {
    fn show(&self, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        out.extend_from_slice(&self.value.lock());
        out.push(b'\n');
        Ok(())
    }

    fn store(&self, _ctx: &dyn TaskContext, bytes: &[u8]) -> Result<(), Errno> {
        let new = parse_string(bytes, self.max);
        let old = std::mem::replace(&mut *self.value.lock(), new);
        drop(old);
        Ok(())
    }
}

/// A string that is kept, of at most `max` bytes.
pub(super) fn string(perm: u32, value: &str, max: usize) -> Node {
    ctl(perm, KeptString { value: Mutex::new(value.as_bytes().to_vec()), max })
}

/// Puts a value out that is kept elsewhere.
type ShowFn = fn(&dyn TaskContext, &mut Vec<u8>) -> Result<(), Errno>;
/// Sets a value that is kept elsewhere.
type StoreFn = fn(&dyn TaskContext, &[u8]) -> Result<(), Errno>;

struct Computed {
    show: ShowFn,
    store: Option<StoreFn>,
}

impl Value for Computed {
    fn show(&self, ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        (self.show)(ctx, out)
    }

    fn store(&self, ctx: &dyn TaskContext, bytes: &[u8]) -> Result<(), Errno> {
        self.store.ok_or(EINVAL)?(ctx, bytes)
    }
}

/// A value that is kept elsewhere, and only shown.
pub(super) fn computed(show: ShowFn) -> Node {
    ctl(0o444, Computed { show, store: None })
}

/// A value that is kept elsewhere.
pub(super) fn stored(perm: u32, show: ShowFn, store: StoreFn) -> Node {
    ctl(perm, Computed { show, store: Some(store) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_vfs::TestContext;

    #[test]
    fn numbers_are_parsed_as_linux_does() {
        assert_eq!(parse_numbers(b"1\t2 3\n", 3), Ok(vec![1, 2, 3]));
        assert_eq!(parse_numbers(b"0x10 010 -5", 8), Ok(vec![16, 8, -5]));
        assert_eq!(parse_numbers(b"1 x", 1), Ok(vec![1]));
        for bad in [&b""[..], b"\n", b"x", b"1x", b"- 1", b"--1", b"99999999999999999999"] {
            assert_eq!(parse_numbers(bad, 3), Err(EINVAL));
        }
    }

    #[test]
    fn a_kept_value_stays_in_its_range_and_a_short_vector_keeps_its_tail() {
        let ctx = TestContext::new();
        let sem = kept(&[250, 32000, 32, 128], 0..=i128::from(i32::MAX));
        assert_eq!(sem.store(&ctx, b"500 -1"), Err(EINVAL));
        assert_eq!(sem.store(&ctx, b"500 64000\n"), Ok(()));
        let mut out = Vec::new();
        assert_eq!(sem.show(&ctx, &mut out), Ok(()));
        assert_eq!(out, b"500\t64000\t32\t128\n");
    }

    #[test]
    fn strings_end_at_a_newline() {
        assert_eq!(parse_string(b"core.%p\nrest", 128), b"core.%p");
        assert_eq!(parse_string(b"abcdef", 3), b"abc");
    }

    #[test]
    fn only_root_may_write_whatever_its_capabilities() {
        let ctx = TestContext::new();
        let node = uint(0o644, 1);
        let attr = |perm| Attr {
            ino: 1,
            perm,
            nlink: 1,
            uid: Kuid::GLOBAL_ROOT,
            gid: Kgid::GLOBAL_ROOT,
            rdev: 0,
            size: 0,
            blksize: 4096,
            blocks: 0,
            atime: Default::default(),
            mtime: Default::default(),
            ctime: Default::default(),
            btime: None,
        };
        let root = (*ctx.cred).clone();
        let user = Cred { euid: Kuid::from_global(5), egid: Kgid::from_global(5), ..root.clone() };
        let may =
            |cred: &Cred, perm, access| node.ops().permission(&attr(perm), FileType::Regular, cred, access);
        assert_eq!(may(&root, 0o644, Access::WRITE), Ok(()));
        assert_eq!(may(&root, 0o444, Access::WRITE), Err(EACCES));
        assert_eq!(may(&user, 0o644, Access::WRITE), Err(EACCES));
        assert_eq!(may(&user, 0o644, Access::READ), Ok(()));
    }
}
