//! Linux: security/keys/key.c, permission.c; include/linux/key.h.

use crate::{Cred, Kgid, Kuid};
use bitflags::bitflags;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EKEYEXPIRED, EKEYREVOKED, ENODEV, ENOKEY, ENOTDIR, EOPNOTSUPP};
use std::sync::Arc;

bitflags! {
    /// What can be done with a key, by the lowest byte of a mask; the bytes above are for the owner's group, the owner, and
    /// those who possess it. Linux: include/uapi/linux/keyctl.h and include/linux/key.h, `KEY_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct KeyPerm: u32 {
        /// See its attributes.
        const VIEW = 0x01;
        /// Read its payload.
        const READ = 0x02;
        /// Change its payload, or its links.
        const WRITE = 0x04;
        /// Be found, or searched.
        const SEARCH = 0x08;
        /// Be linked to.
        const LINK = 0x10;
        /// Change its attributes.
        const SETATTR = 0x20;
    }
}

impl KeyPerm {
    /// All bits of a mask with a meaning. Linux: `KEY_POS_ALL | KEY_USR_ALL | KEY_GRP_ALL | KEY_OTH_ALL`.
    pub const MASK: u32 = 0x3f3f_3f3f;

    /// For whoever possesses the key.
    pub(crate) const fn possessor(self) -> u32 {
        self.bits() << 24
    }

    /// For its owner.
    pub(crate) const fn user(self) -> u32 {
        self.bits() << 16
    }
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// Holds links to keys.
    Keyring,
    /// Bytes that can be read back.
    User,
    /// Bytes that only the kernel uses.
    Logon,
}

impl KeyType {
    /// The type of this name.
    ///
    /// # Errors
    /// `ENODEV`.
    pub fn from_name(name: &[u8]) -> Result<KeyType, Errno> {
        [KeyType::Keyring, KeyType::User, KeyType::Logon]
            .into_iter()
            .find(|t| t.name().as_bytes() == name)
            .ok_or(ENODEV)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            KeyType::Keyring => "keyring",
            KeyType::User => "user",
            KeyType::Logon => "logon",
        }
    }
}

/// What a key holds.
#[derive(Debug)]
pub(crate) enum Payload {
    Bytes(Vec<u8>),
    Links(Vec<Arc<Key>>),
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) uid: Kuid,
    pub(crate) gid: Kgid,
    pub(crate) perm: u32,
    pub(crate) payload: Payload,
    /// Seconds since the epoch.
    expiry: Option<i64>,
    revoked: bool,
    invalidated: bool,
}

/// A key or a keyring.
#[derive(Debug)]
pub struct Key {
    serial: i32,
    key_type: KeyType,
    description: Vec<u8>,
    pub(crate) state: Mutex<State, { level::LEAF }>,
}

/// What KEYCTL_DESCRIBE tells, ids aside as the kernel has them.
#[derive(Clone, Copy, Debug)]
pub struct KeyOwner {
    /// Owner.
    pub uid: Kuid,
    /// Owner's group.
    pub gid: Kgid,
    /// Permission mask.
    pub perm: u32,
}

impl Key {
    pub(crate) fn new(
        serial: i32,
        key_type: KeyType,
        description: &[u8],
        owner: KeyOwner,
        payload: Vec<u8>,
    ) -> Key {
        let payload = match key_type {
            KeyType::Keyring => Payload::Links(Vec::new()),
            KeyType::User | KeyType::Logon => Payload::Bytes(payload),
        };
        let KeyOwner { uid, gid, perm } = owner;
        let state = State { uid, gid, perm, payload, expiry: None, revoked: false, invalidated: false };
        Key { serial, key_type, description: description.to_vec(), state: Mutex::new(state) }
    }

    /// Its number.
    pub fn serial(&self) -> i32 {
        self.serial
    }

    /// Its type.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// What it is found by, with the type.
    pub fn description(&self) -> &[u8] {
        &self.description
    }

    /// Whom it belongs to, and who may do what.
    pub fn owner(&self) -> KeyOwner {
        let s = self.state.lock();
        KeyOwner { uid: s.uid, gid: s.gid, perm: s.perm }
    }

    /// Bytes that count against its owner's quota.
    pub(crate) fn quota(&self) -> usize {
        let payload = match &self.state.lock().payload {
            Payload::Bytes(bytes) => bytes.len(),
            Payload::Links(links) => links.len() * size_of::<usize>(),
        };
        self.description.len() + 1 + payload
    }

    /// Whether `cred`, who possesses the key or does not, may do this with it. Linux: `key_task_permission`.
    ///
    /// # Errors
    /// `EACCES`.
    pub fn check_permission(&self, cred: &Cred, possessed: bool, need: KeyPerm) -> Result<(), Errno> {
        let KeyOwner { uid, gid, perm } = self.owner();
        let group_counts = gid.is_valid() && perm & 0x3f00 != 0;
        let mut granted = if uid == cred.fsuid {
            perm >> 16
        } else if group_counts && cred.in_group_p(gid) {
            perm >> 8
        } else {
            perm
        };
        if possessed {
            granted |= perm >> 24;
        }
        if KeyPerm::from_bits_truncate(granted).contains(need) { Ok(()) } else { Err(EACCES) }
    }

    /// Whether it can still be used, at `now` in seconds since the epoch. Linux: `key_validate`.
    ///
    /// # Errors
    /// `ENOKEY` once invalidated, `EKEYREVOKED`, `EKEYEXPIRED`.
    pub fn validate(&self, now: i64) -> Result<(), Errno> {
        let s = self.state.lock();
        if s.invalidated {
            Err(ENOKEY)
        } else if s.revoked {
            Err(EKEYREVOKED)
        } else if s.expiry.is_some_and(|at| now >= at) {
            Err(EKEYEXPIRED)
        } else {
            Ok(())
        }
    }

    /// KEYCTL_REVOKE.
    pub fn revoke(&self) {
        let old = {
            let mut s = self.state.lock();
            s.revoked = true;
            std::mem::replace(&mut s.payload, Payload::Bytes(Vec::new()))
        };
        drop(old);
    }

    /// KEYCTL_INVALIDATE.
    pub fn invalidate(&self) {
        self.state.lock().invalidated = true;
    }

    /// KEYCTL_SET_TIMEOUT: when it ends, in seconds since the epoch.
    pub fn set_expiry(&self, at: Option<i64>) {
        self.state.lock().expiry = at;
    }

    /// KEYCTL_SETPERM.
    pub fn set_perm(&self, perm: u32) {
        self.state.lock().perm = perm;
    }

    /// KEYCTL_CHOWN.
    pub fn set_owner(&self, uid: Option<Kuid>, gid: Option<Kgid>) {
        let mut s = self.state.lock();
        s.uid = uid.unwrap_or(s.uid);
        s.gid = gid.unwrap_or(s.gid);
    }

    /// What KEYCTL_READ gives: the payload, or the numbers of what a keyring links to.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a type that is not read.
    pub fn read(&self) -> Result<Vec<u8>, Errno> {
        if self.key_type == KeyType::Logon {
            return Err(EOPNOTSUPP);
        }
        Ok(match &self.state.lock().payload {
            Payload::Bytes(bytes) => bytes.clone(),
            Payload::Links(links) => links.iter().flat_map(|key| key.serial.to_ne_bytes()).collect(),
        })
    }

    /// Replaces the payload.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a keyring.
    pub(crate) fn update(&self, payload: Vec<u8>) -> Result<(), Errno> {
        if self.key_type == KeyType::Keyring {
            return Err(EOPNOTSUPP);
        }
        let mut s = self.state.lock();
        s.payload = Payload::Bytes(payload);
        s.expiry = None;
        Ok(())
    }

    /// What a keyring links to.
    ///
    /// # Errors
    /// `ENOTDIR` for what is none.
    pub(crate) fn links(&self) -> Result<Vec<Arc<Key>>, Errno> {
        match &self.state.lock().payload {
            Payload::Links(links) => Ok(links.clone()),
            Payload::Bytes(_) => Err(ENOTDIR),
        }
    }
}
