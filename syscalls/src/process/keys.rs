//! Linux: security/keys/keyctl.c, process_keys.c, `lookup_user_key`.

use crate::arg::Addr;
use sentry_auth::keys::{KeyOwner, KeyPerm, KeyRef, KeyType, Keyrings, search};
use sentry_auth::{CapSet, Cred};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EFAULT, EINVAL, ENOKEY, ENOTDIR, EOPNOTSUPP, EPERM};
use std::sync::Arc;

/// Longest name of a type, with its zero.
const KEY_TYPE_MAX: usize = 32;
/// Longest description. Linux: `KEY_MAX_DESC_SIZE`.
const KEY_DESC_MAX: usize = 4096;
/// Longest payload that is looked at, and longest of these types.
const PAYLOAD_MAX: usize = (1 << 20) - 1;
const USER_PAYLOAD_MAX: usize = 32767;

/// Keyrings by name rather than number. Linux: `KEY_SPEC_*`.
mod spec {
    pub(super) const THREAD: i32 = -1;
    pub(super) const PROCESS: i32 = -2;
    pub(super) const SESSION: i32 = -3;
    pub(super) const USER: i32 = -4;
    pub(super) const USER_SESSION: i32 = -5;
    pub(super) const GROUP: i32 = -6;
    pub(super) const REQKEY_AUTH: i32 = -7;
    pub(super) const REQUESTOR: i32 = -8;
}

/// Linux: include/uapi/linux/keyctl.h.
mod op {
    pub(super) const GET_KEYRING_ID: i32 = 0;
    pub(super) const JOIN_SESSION_KEYRING: i32 = 1;
    pub(super) const UPDATE: i32 = 2;
    pub(super) const REVOKE: i32 = 3;
    pub(super) const CHOWN: i32 = 4;
    pub(super) const SETPERM: i32 = 5;
    pub(super) const DESCRIBE: i32 = 6;
    pub(super) const CLEAR: i32 = 7;
    pub(super) const LINK: i32 = 8;
    pub(super) const UNLINK: i32 = 9;
    pub(super) const SEARCH: i32 = 10;
    pub(super) const READ: i32 = 11;
    pub(super) const SET_TIMEOUT: i32 = 15;
    pub(super) const GET_SECURITY: i32 = 17;
    pub(super) const INVALIDATE: i32 = 21;
    pub(super) const CAPABILITIES: i32 = 31;
}

fn now(task: &CurrentTask) -> i64 {
    task.kernel().clocks.realtime().tv_sec
}

fn cred(task: &CurrentTask) -> Arc<Cred> {
    task.task().cred()
}

/// A string argument.
///
/// # Errors
/// `EFAULT`; `EINVAL` if it is too long.
fn string(task: &CurrentTask, addr: Addr, max: usize) -> Result<Vec<u8>, Errno> {
    task.user()?.read_cstring(addr.0, max).map_err(|e| if e == EFAULT { EFAULT } else { EINVAL })
}

/// The name of a type. Linux: `key_get_type_from_user`.
fn type_name(task: &CurrentTask, addr: Addr) -> Result<Vec<u8>, Errno> {
    let name = string(task, addr, KEY_TYPE_MAX)?;
    match name.first() {
        None => Err(EINVAL),
        Some(b'.') => Err(EPERM),
        Some(_) => Ok(name),
    }
}

fn serial(number: i32) -> SyscallResult {
    Ok(u64::from(number.unsigned_abs()))
}

fn install(task: &mut CurrentTask, change: impl FnOnce(&mut Keyrings)) {
    let mut new = (*cred(task)).clone();
    change(&mut new.keyrings);
    task.commit_creds(new);
}

/// One of the caller's own keyrings, made if it is missing and `create`.
fn special(task: &mut CurrentTask, id: i32, create: bool) -> Result<KeyRef, Errno> {
    let kernel = task.kernel().clone();
    let cred = cred(task);
    let table = &kernel.keys;
    let own = |key| Ok(KeyRef { key, possessed: true });
    match id {
        spec::THREAD => match &cred.keyrings.thread {
            Some(ring) => own(ring.clone()),
            None if !create => Err(ENOKEY),
            None => {
                let ring = table.task_keyring(&cred, "_tid")?;
                install(task, |keyrings| keyrings.thread = Some(ring.clone()));
                own(ring)
            }
        },
        spec::PROCESS => match &cred.keyrings.process {
            Some(ring) => own(ring.clone()),
            None if !create => Err(ENOKEY),
            None => {
                let ring = table.task_keyring(&cred, "_pid")?;
                install(task, |keyrings| keyrings.process = Some(ring.clone()));
                own(ring)
            }
        },
        spec::SESSION => {
            let (_, of_user) = table.user_keyrings(&cred)?;
            let ring = match &cred.keyrings.session {
                Some(ring) if !create || !Arc::ptr_eq(ring, &of_user) => return own(ring.clone()),
                None if !create => of_user,
                _ => table.task_keyring(&cred, "_ses")?,
            };
            install(task, |keyrings| keyrings.session = Some(ring.clone()));
            own(ring)
        }
        spec::USER => own(table.user_keyrings(&cred)?.0),
        spec::USER_SESSION => own(table.user_keyrings(&cred)?.1),
        spec::GROUP => Err(EINVAL),
        // There are no requests to construct a key.
        spec::REQKEY_AUTH | spec::REQUESTOR => Err(ENOKEY),
        _ => Err(EINVAL),
    }
}

/// The key of a number or name. `need` is what the caller must be allowed; without, the key may also have ended.
fn lookup(task: &mut CurrentTask, id: i32, create: bool, need: Option<KeyPerm>) -> Result<KeyRef, Errno> {
    let now = now(task);
    let found =
        if id < 0 { special(task, id, create)? } else { task.kernel().keys.lookup(&cred(task), id, now)? };
    if let Some(need) = need {
        found.key.validate(now)?;
        found.may(&cred(task), need)?;
    }
    Ok(found)
}

/// add_key(2).
pub(crate) fn add_key(
    task: &mut CurrentTask,
    key_type: Addr,
    description: Addr,
    payload: Addr,
    len: usize,
    ring: i32,
) -> SyscallResult {
    if len > PAYLOAD_MAX {
        return Err(EINVAL.into());
    }
    let name = type_name(task, key_type)?;
    let description = if description.0 == 0 { Vec::new() } else { string(task, description, KEY_DESC_MAX)? };
    if description.first() == Some(&b'.') && name.starts_with(b"keyring") {
        return Err(EPERM.into());
    }
    let mut bytes = vec![0; len];
    task.user()?.copy_from_user(payload.0, &mut bytes)?;
    let ring = lookup(task, ring, true, Some(KeyPerm::WRITE))?;
    let key_type = KeyType::from_name(&name)?;
    if ring.key.key_type() != KeyType::Keyring {
        return Err(ENOTDIR.into());
    }
    check_payload(key_type, len)?;
    let named = match key_type {
        // The kernel's own users of such keys go by what is before the colon.
        KeyType::Logon => description.iter().position(|b| *b == b':').is_some_and(|at| at > 0),
        KeyType::Keyring | KeyType::User => !description.is_empty(),
    };
    if !named {
        return Err(EINVAL.into());
    }
    let kernel = task.kernel().clone();
    let key = kernel.keys.create_or_update(&cred(task), &ring, key_type, &description, bytes)?;
    serial(key.serial())
}

/// Linux: `keyring_preparse`, `user_preparse`.
fn check_payload(key_type: KeyType, len: usize) -> Result<(), Errno> {
    let fits = match key_type {
        KeyType::Keyring => len == 0,
        KeyType::User | KeyType::Logon => (1..=USER_PAYLOAD_MAX).contains(&len),
    };
    if fits { Ok(()) } else { Err(EINVAL) }
}

/// request_key(2). A key that is not there stays missing: there is nobody to ask for it.
pub(crate) fn request_key(
    task: &mut CurrentTask,
    key_type: Addr,
    description: Addr,
    callout: Addr,
    ring: i32,
) -> SyscallResult {
    let name = type_name(task, key_type)?;
    let description = string(task, description, KEY_DESC_MAX)?;
    if callout.0 != 0 {
        string(task, callout, 4096)?;
    }
    let dest = match ring {
        0 => None,
        ring => Some(lookup(task, ring, true, Some(KeyPerm::WRITE))?),
    };
    let key_type = KeyType::from_name(&name).map_err(|_| ENOKEY)?;
    let kernel = task.kernel().clone();
    let found = kernel.keys.search_own(&cred(task), now(task), &|key| {
        key.key_type() == key_type && key.description() == description
    })?;
    link_found(task, dest, &found)?;
    serial(found.key.serial())
}

fn link_found(task: &CurrentTask, dest: Option<KeyRef>, found: &KeyRef) -> Result<(), Errno> {
    let Some(dest) = dest else { return Ok(()) };
    found.may(&cred(task), KeyPerm::LINK)?;
    task.kernel().keys.link(&dest.key, &found.key)
}

/// keyctl(2).
pub(crate) fn keyctl(
    task: &mut CurrentTask,
    option: i32,
    a2: Addr,
    a3: Addr,
    a4: Addr,
    a5: Addr,
) -> SyscallResult {
    // Numbers of keys and ids are 32 bits of their registers.
    let low = |a: Addr| u32::try_from(a.0 & 0xffff_ffff).unwrap_or(0);
    let id = |a: Addr| low(a).cast_signed();
    let kernel = task.kernel().clone();
    let table = &kernel.keys;
    match option {
        op::GET_KEYRING_ID => {
            let found = lookup(task, id(a2), id(a3) != 0, Some(KeyPerm::SEARCH))?;
            serial(found.key.serial())
        }
        op::JOIN_SESSION_KEYRING => join_session_keyring(task, a2),
        op::UPDATE => {
            let len = usize::try_from(a4.0).ok().filter(|len| *len <= 4096).ok_or(EINVAL)?;
            let mut bytes = vec![0; len];
            task.user()?.copy_from_user(a3.0, &mut bytes)?;
            let key = lookup(task, id(a2), false, Some(KeyPerm::WRITE))?.key;
            if key.key_type() == KeyType::Keyring {
                return Err(EOPNOTSUPP.into());
            }
            check_payload(key.key_type(), len)?;
            table.update(&key, bytes)?;
            Ok(0)
        }
        op::REVOKE => {
            let found = match lookup(task, id(a2), false, Some(KeyPerm::WRITE)) {
                Err(EACCES) => lookup(task, id(a2), false, Some(KeyPerm::SETATTR))?,
                found => found?,
            };
            found.key.revoke();
            Ok(0)
        }
        op::CHOWN => chown(task, id(a2), low(a3), low(a4)),
        op::SETPERM => {
            let perm = low(a3);
            if perm & !KeyPerm::MASK != 0 {
                return Err(EINVAL.into());
            }
            let key = lookup(task, id(a2), true, Some(KeyPerm::SETATTR))?.key;
            if key.owner().uid != cred(task).fsuid && !task.capable(CapSet::SYS_ADMIN) {
                return Err(EACCES.into());
            }
            key.set_perm(perm);
            Ok(0)
        }
        op::DESCRIBE => describe(task, id(a2), a3, a4.0),
        op::CLEAR => {
            let ring = lookup(task, id(a2), true, Some(KeyPerm::WRITE))?.key;
            table.clear(&ring)?;
            Ok(0)
        }
        op::LINK => {
            let ring = lookup(task, id(a3), true, Some(KeyPerm::WRITE))?.key;
            let key = lookup(task, id(a2), true, Some(KeyPerm::LINK))?.key;
            table.link(&ring, &key)?;
            Ok(0)
        }
        op::UNLINK => {
            let ring = lookup(task, id(a3), false, Some(KeyPerm::WRITE))?.key;
            let key = lookup(task, id(a2), false, None)?.key;
            table.unlink(&ring, &key)?;
            Ok(0)
        }
        op::SEARCH => {
            let name = type_name(task, a3)?;
            let description = string(task, a4, KEY_DESC_MAX)?;
            let ring = lookup(task, id(a2), false, Some(KeyPerm::SEARCH))?;
            let dest = match id(a5) {
                0 => None,
                dest => Some(lookup(task, dest, true, Some(KeyPerm::WRITE))?),
            };
            let key_type = KeyType::from_name(&name)?;
            if ring.key.key_type() != KeyType::Keyring {
                return Err(ENOTDIR.into());
            }
            let found = search(&ring, &cred(task), now(task), &|key| {
                key.key_type() == key_type && key.description() == description
            })?;
            link_found(task, dest, &found)?;
            serial(found.key.serial())
        }
        op::READ => {
            let found = lookup(task, id(a2), false, None)?;
            found.key.validate(now(task))?;
            // What may not be read may be, by those who would find it anyway.
            if found.may(&cred(task), KeyPerm::READ).is_err() && !found.possessed {
                return Err(EACCES.into());
            }
            copy_if_it_fits(task, &found.key.read()?, a3, a4.0)
        }
        op::SET_TIMEOUT => {
            let key = lookup(task, id(a2), true, Some(KeyPerm::SETATTR))?.key;
            let after = Some(low(a3)).filter(|seconds| *seconds != 0);
            key.set_expiry(after.map(|seconds| now(task).saturating_add(seconds.into())));
            Ok(0)
        }
        op::GET_SECURITY => {
            lookup(task, id(a2), false, Some(KeyPerm::VIEW))?;
            copy_if_it_fits(task, b"\0", a3, a4.0)
        }
        op::INVALIDATE => {
            lookup(task, id(a2), false, Some(KeyPerm::SEARCH))?.key.invalidate();
            Ok(0)
        }
        op::CAPABILITIES => {
            /// KEYCTL_CAPS0_CAPABILITIES, KEYCTL_CAPS0_INVALIDATE; nothing of the second byte.
            const CAPS: [u8; 2] = [0x01 | 0x20, 0];
            let len = usize::try_from(a3.0).unwrap_or(usize::MAX);
            let mm = task.user()?;
            mm.copy_to_user(a2.0, CAPS.get(..len).unwrap_or(&CAPS))?;
            if let Some(rest) = len.checked_sub(CAPS.len()).filter(|rest| *rest > 0) {
                mm.clear_user(a2.0.checked_add(2).ok_or(EFAULT)?, rest)?;
            }
            Ok(CAPS.len() as u64)
        }
        _ => Err(EOPNOTSUPP.into()),
    }
}

/// Linux: `join_session_keyring`.
fn join_session_keyring(task: &mut CurrentTask, name: Addr) -> SyscallResult {
    let kernel = task.kernel().clone();
    let ring = if name.0 == 0 {
        kernel.keys.task_keyring(&cred(task), "_ses")?
    } else {
        let name = string(task, name, KEY_DESC_MAX)?;
        if name.first() == Some(&b'.') {
            return Err(EPERM.into());
        }
        let named = kernel.keys.named_session(&cred(task), &name, now(task))?;
        if cred(task).keyrings.session.as_ref().is_some_and(|own| Arc::ptr_eq(own, &named)) {
            return Ok(0);
        }
        named
    };
    install(task, |keyrings| keyrings.session = Some(ring.clone()));
    serial(ring.serial())
}

/// Linux: `keyctl_chown_key`.
fn chown(task: &mut CurrentTask, id: i32, uid: u32, gid: u32) -> SyscallResult {
    let own = cred(task);
    let uid = Some(uid).filter(|id| *id != u32::MAX).map(|id| own.user_ns.make_kuid(id));
    let gid = Some(gid).filter(|id| *id != u32::MAX).map(|id| own.user_ns.make_kgid(id));
    if uid.is_some_and(|id| !id.is_valid()) || gid.is_some_and(|id| !id.is_valid()) {
        return Err(EINVAL.into());
    }
    if uid.is_none() && gid.is_none() {
        return Ok(0);
    }
    let key = lookup(task, id, true, Some(KeyPerm::SETATTR))?.key;
    let KeyOwner { uid: old_uid, gid: old_gid, .. } = key.owner();
    let changes_uid = uid.is_some_and(|id| id != old_uid);
    let takes_gid = gid.is_some_and(|id| id != old_gid && !own.in_group_p(id));
    if (changes_uid || takes_gid) && !task.capable(CapSet::SYS_ADMIN) {
        return Err(EACCES.into());
    }
    key.set_owner(uid, gid);
    Ok(0)
}

/// Linux: `keyctl_describe_key`.
fn describe(task: &mut CurrentTask, id: i32, buf: Addr, len: u64) -> SyscallResult {
    let key = lookup(task, id, false, Some(KeyPerm::VIEW))?.key;
    let KeyOwner { uid, gid, perm } = key.owner();
    let ns = &cred(task).user_ns;
    let (uid, gid) = (ns.from_kuid_munged(uid), ns.from_kgid_munged(gid));
    let mut text = format!("{};{uid};{gid};{perm:08x};", key.key_type().name()).into_bytes();
    text.extend_from_slice(key.description());
    text.push(0);
    copy_if_it_fits(task, &text, buf, len)
}

/// Gives a program bytes if it has room for all; the number is told in any case.
fn copy_if_it_fits(task: &CurrentTask, bytes: &[u8], buf: Addr, len: u64) -> SyscallResult {
    let size = bytes.len() as u64;
    if buf.0 != 0 && len >= size {
        task.user()?.copy_to_user(buf.0, bytes)?;
    }
    Ok(size)
}
