//! Keys of a kernel: making, linking and finding them. Linux: security/keys/keyring.c, process_keys.c.

use super::key::{Key, KeyOwner, KeyPerm, KeyType, Payload};
use crate::{Cred, Kgid, Kuid, UserNamespace};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EDEADLK, EDQUOT, EINVAL, ELOOP, ENFILE, ENOENT, ENOKEY, ENOTDIR};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Weak};

/// Keyrings within keyrings. Linux: `KEYRING_SEARCH_MAX_DEPTH`.
const MAX_DEPTH: usize = 6;
/// Keys of a user, and the bytes in them: `/proc/sys/kernel/keys/max{keys,bytes}`.
const MAX_KEYS: usize = 200;
const MAX_BYTES: usize = 20_000;
/// The same for root.
const ROOT_MAX_KEYS: usize = 1_000_000;
const ROOT_MAX_BYTES: usize = 25_000_000;
/// Links of a keyring.
const MAX_LINKS: usize = 4096;

const POSSESSOR_ALL: u32 = KeyPerm::all().possessor();

/// Keyrings of a task. Linux: `struct cred`, the keyrings in it.
#[derive(Clone, Debug, Default)]
pub struct Keyrings {
    /// Inherited by children.
    pub session: Option<Arc<Key>>,
    /// Of all threads.
    pub process: Option<Arc<Key>>,
    /// Of one thread.
    pub thread: Option<Arc<Key>>,
}

impl Keyrings {
    /// What a new program has. Linux: `prepare_exec_creds`.
    #[must_use]
    pub fn for_exec(&self) -> Keyrings {
        Keyrings { session: self.session.clone(), ..Keyrings::default() }
    }

    /// What a child, or a new thread, has; a thread of one that has a keyring of its own gets another. Linux: `copy_creds`.
    #[must_use]
    pub fn for_child(&self, is_thread: bool) -> Keyrings {
        let process = self.process.clone().filter(|_| is_thread);
        Keyrings { session: self.session.clone(), process, thread: None }
    }
}

/// A key that was found, and whether the finder possesses it: has it in one of its own keyrings.
#[derive(Clone, Debug)]
pub struct KeyRef {
    /// The key.
    pub key: Arc<Key>,
    /// Whether the permissions of possessors count.
    pub possessed: bool,
}

impl KeyRef {
    /// Checks permission, as [`Key::check_permission`].
    ///
    /// # Errors
    /// `EACCES`.
    pub fn may(&self, cred: &Cred, need: KeyPerm) -> Result<(), Errno> {
        self.key.check_permission(cred, self.possessed, need)
    }
}

#[derive(Debug, Default)]
struct Users {
    /// Keyrings of each user of each user namespace, which is told by its number.
    keyrings: BTreeMap<(u64, Kuid), (Arc<Key>, Arc<Key>)>,
}

/// The keys of a kernel.
#[derive(Debug)]
pub struct KeyTable {
    next: AtomicI32,
    keys: Mutex<BTreeMap<i32, Weak<Key>>, { level::LEAF }>,
    users: Mutex<Users, { level::LEAF }>,
    /// Held while links change, so that no two changes make a cycle together. Linux: `keyring_serialise_link_lock`.
    linking: Mutex<(), { level::KEYRINGS }>,
}

impl Default for KeyTable {
    fn default() -> KeyTable {
        KeyTable {
            // Numbers below 3 are never given out.
            next: AtomicI32::new(3),
            keys: Mutex::default(),
            users: Mutex::default(),
            linking: Mutex::new(()),
        }
    }
}

impl KeyTable {
    /// A new key. Linux: `key_alloc`.
    ///
    /// # Errors
    /// `EDQUOT` when the owner has too many.
    pub fn alloc(
        &self,
        key_type: KeyType,
        description: &[u8],
        owner: KeyOwner,
        payload: Vec<u8>,
    ) -> Result<Arc<Key>, Errno> {
        self.check_quota(owner.uid, description.len() + 1 + payload.len())?;
        let mut keys = self.keys.lock();
        let serial = loop {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            if next < 3 {
                self.next.store(3, Ordering::Relaxed);
            } else if keys.get(&next).is_none_or(|k| k.strong_count() == 0) {
                break next;
            }
        };
        let key = Arc::new(Key::new(serial, key_type, description, owner, payload));
        keys.retain(|_, key| key.strong_count() > 0);
        keys.insert(serial, Arc::downgrade(&key));
        Ok(key)
    }

    fn check_quota(&self, uid: Kuid, more: usize) -> Result<(), Errno> {
        let (max_keys, max_bytes) = match uid {
            Kuid::GLOBAL_ROOT => (ROOT_MAX_KEYS, ROOT_MAX_BYTES),
            _ => (MAX_KEYS, MAX_BYTES),
        };
        let (mut count, mut bytes) = (1usize, more);
        for key in self.all().iter().filter(|key| key.owner().uid == uid) {
            count += 1;
            bytes = bytes.saturating_add(key.quota());
        }
        if count > max_keys || bytes > max_bytes { Err(EDQUOT) } else { Ok(()) }
    }

    fn all(&self) -> Vec<Arc<Key>> {
        self.keys.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// The keyring of `cred`'s user, and the one that is its session where it has no other. Linux: `look_up_user_keyrings`.
    ///
    /// # Errors
    /// `EDQUOT`.
    pub fn user_keyrings(&self, cred: &Cred) -> Result<(Arc<Key>, Arc<Key>), Errno> {
        let at = (cred.user_ns.inum(), cred.uid);
        if let Some((user, session)) = self.users.lock().keyrings.get(&at) {
            return Ok((user.clone(), session.clone()));
        }
        let perm = (KeyPerm::all() - KeyPerm::SETATTR).possessor() | KeyPerm::all().user();
        let owner = KeyOwner { uid: cred.uid, gid: Kgid::INVALID, perm };
        let uid = cred.user_ns.from_kuid_munged(cred.uid);
        let user = self.alloc(KeyType::Keyring, format!("_uid.{uid}").as_bytes(), owner, Vec::new())?;
        let session =
            self.alloc(KeyType::Keyring, format!("_uid_ses.{uid}").as_bytes(), owner, Vec::new())?;
        self.link(&session, &user)?;
        let mut users = self.users.lock();
        let (user, session) = users.keyrings.entry(at).or_insert((user, session));
        Ok((user.clone(), session.clone()))
    }

    /// A new keyring of a task: `_tid`, `_pid` or `_ses`. Linux: `install_thread_keyring_to_cred` and its like.
    ///
    /// # Errors
    /// `EDQUOT`.
    pub fn task_keyring(&self, cred: &Cred, name: &str) -> Result<Arc<Key>, Errno> {
        let more = if name == "_ses" { KeyPerm::VIEW | KeyPerm::READ } else { KeyPerm::VIEW };
        let owner = KeyOwner { uid: cred.uid, gid: cred.gid, perm: POSSESSOR_ALL | more.user() };
        self.alloc(KeyType::Keyring, name.as_bytes(), owner, Vec::new())
    }

    /// The keyring of a session by name, which is made if there is none that `cred` may join. Linux:
    /// `join_session_keyring`.
    ///
    /// # Errors
    /// `EDQUOT`.
    pub fn named_session(&self, cred: &Cred, name: &[u8], now: i64) -> Result<Arc<Key>, Errno> {
        let found = self.all().into_iter().find(|key| {
            key.key_type() == KeyType::Keyring
                && key.description() == name
                && key.validate(now).is_ok()
                && cred.user_ns.from_kuid(key.owner().uid).is_some()
                && key.check_permission(cred, false, KeyPerm::SEARCH).is_ok()
        });
        if let Some(found) = found {
            return Ok(found);
        }
        let user = (KeyPerm::VIEW | KeyPerm::READ | KeyPerm::LINK).user();
        let owner = KeyOwner { uid: cred.uid, gid: cred.gid, perm: POSSESSOR_ALL | user };
        self.alloc(KeyType::Keyring, name, owner, Vec::new())
    }

    /// The key of this number, and whether `cred` possesses it.
    ///
    /// # Errors
    /// `EINVAL` for no number, `ENOKEY`.
    pub fn lookup(&self, cred: &Cred, serial: i32, now: i64) -> Result<KeyRef, Errno> {
        if serial < 1 {
            return Err(EINVAL);
        }
        let key = self.keys.lock().get(&serial).and_then(Weak::upgrade).ok_or(ENOKEY)?;
        let possessed = self.search_own(cred, now, &|k| k.serial() == serial).is_ok();
        Ok(KeyRef { key, possessed })
    }

    /// Finds a key in the keyrings of a task: the thread's, the process's, the session's. Linux:
    /// `search_process_keyrings_rcu`.
    ///
    /// # Errors
    /// `ENOKEY`, or why a key that matches cannot be used.
    pub fn search_own(&self, cred: &Cred, now: i64, wanted: &dyn Fn(&Key) -> bool) -> Result<KeyRef, Errno> {
        let own = &cred.keyrings;
        let session = match &own.session {
            Some(session) => Some(session.clone()),
            None => self.users.lock().keyrings.get(&(cred.user_ns.inum(), cred.uid)).map(|(_, s)| s.clone()),
        };
        let mut worst = ENOKEY;
        for ring in [own.thread.clone(), own.process.clone(), session].into_iter().flatten() {
            let ring = KeyRef { key: ring, possessed: true };
            match search(&ring, cred, now, wanted) {
                Ok(found) => return Ok(found),
                Err(ENOKEY) => {}
                Err(e) => worst = e,
            }
        }
        Err(worst)
    }

    /// Links a keyring to a key; a link to another of the same type and description gives way. Linux: `key_link`.
    ///
    /// # Errors
    /// `ENOTDIR` for what is no keyring; `EDEADLK` and `ELOOP` for keyrings within themselves, or too deep; `EDQUOT`.
    pub fn link(&self, ring: &Arc<Key>, key: &Arc<Key>) -> Result<(), Errno> {
        let _linking = self.linking.lock();
        if key.key_type() == KeyType::Keyring {
            check_cycle(ring, key)?;
        }
        let mut old = None;
        {
            let mut state = ring.state.lock();
            let Payload::Links(links) = &mut state.payload else { return Err(ENOTDIR) };
            let same = |k: &Arc<Key>| k.key_type() == key.key_type() && k.description() == key.description();
            match links.iter().position(same) {
                Some(at) => old = links.get_mut(at).map(|slot| std::mem::replace(slot, key.clone())),
                None if links.len() >= MAX_LINKS => return Err(ENFILE),
                None => links.push(key.clone()),
            }
        }
        drop(old);
        Ok(())
    }

    /// Takes a link away. Linux: `key_unlink`.
    ///
    /// # Errors
    /// `ENOTDIR`, `ENOENT`.
    pub fn unlink(&self, ring: &Key, key: &Arc<Key>) -> Result<(), Errno> {
        let old = {
            let mut state = ring.state.lock();
            let Payload::Links(links) = &mut state.payload else { return Err(ENOTDIR) };
            let at = links.iter().position(|k| Arc::ptr_eq(k, key)).ok_or(ENOENT)?;
            links.remove(at)
        };
        drop(old);
        Ok(())
    }

    /// Takes all links of a keyring away. Linux: `keyring_clear`.
    ///
    /// # Errors
    /// `ENOTDIR`.
    pub fn clear(&self, ring: &Key) -> Result<(), Errno> {
        let old = {
            let mut state = ring.state.lock();
            let Payload::Links(links) = &mut state.payload else { return Err(ENOTDIR) };
            std::mem::take(links)
        };
        drop(old);
        Ok(())
    }

    /// Makes a key in a keyring, or gives the one there is another payload. Linux: `key_create_or_update`.
    ///
    /// # Errors
    /// `ENOTDIR`; `EACCES`; `EDQUOT`.
    pub fn create_or_update(
        &self,
        cred: &Cred,
        ring: &KeyRef,
        key_type: KeyType,
        description: &[u8],
        payload: Vec<u8>,
    ) -> Result<Arc<Key>, Errno> {
        let links = ring.key.links()?;
        let same = |k: &&Arc<Key>| k.key_type() == key_type && k.description() == description;
        if key_type != KeyType::Keyring
            && let Some(found) = links.iter().find(same)
        {
            found.check_permission(cred, ring.possessed, KeyPerm::WRITE)?;
            self.check_quota(found.owner().uid, payload.len())?;
            found.update(payload)?;
            return Ok(found.clone());
        }
        let mut possessor =
            KeyPerm::VIEW | KeyPerm::SEARCH | KeyPerm::LINK | KeyPerm::SETATTR | KeyPerm::WRITE;
        possessor.set(KeyPerm::READ, key_type != KeyType::Logon);
        let perm = possessor.possessor() | KeyPerm::VIEW.user();
        let owner = KeyOwner { uid: cred.fsuid, gid: cred.fsgid, perm };
        let key = self.alloc(key_type, description, owner, payload)?;
        self.link(&ring.key, &key)?;
        Ok(key)
    }

    /// Gives a key another payload. Linux: `key_update`.
    ///
    /// # Errors
    /// `EOPNOTSUPP`, `EDQUOT`.
    pub fn update(&self, key: &Key, payload: Vec<u8>) -> Result<(), Errno> {
        self.check_quota(key.owner().uid, payload.len())?;
        key.update(payload)
    }

    /// Number of keys of a user, and the bytes that count for them.
    pub fn usage(&self, uid: Kuid) -> (usize, usize) {
        let mine = self.all().into_iter().filter(|key| key.owner().uid == uid);
        mine.fold((0, 0), |(count, bytes), key| (count + 1, bytes + key.quota()))
    }

    /// What `ns` knows of the keys that `cred` may see, lowest number first: for `/proc/keys`.
    pub fn visible(&self, cred: &Cred, ns: &UserNamespace, now: i64) -> Vec<KeyRef> {
        let keys = self.all().into_iter().filter(|key| ns.from_kuid(key.owner().uid).is_some());
        let refs = keys.map(|key| {
            let possessed = self.search_own(cred, now, &|k| k.serial() == key.serial()).is_ok();
            KeyRef { key, possessed }
        });
        refs.filter(|r| r.may(cred, KeyPerm::VIEW).is_ok()).collect()
    }
}

/// The keyrings in some keyrings, each once, but for those of which `enter` says no.
fn keyrings_below(level: &[Arc<Key>], enter: impl Fn(&Arc<Key>) -> bool) -> Vec<Arc<Key>> {
    let links = level.iter().flat_map(|ring| ring.links().unwrap_or_default());
    let rings = links.filter(|key| key.key_type() == KeyType::Keyring && enter(key));
    rings.map(|ring| (ring.serial(), ring)).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Whether a link from `ring` to the keyring `within` makes a circle, or is too deep. Linux: `keyring_detect_cycle`.
fn check_cycle(ring: &Arc<Key>, within: &Arc<Key>) -> Result<(), Errno> {
    let mut level = vec![within.clone()];
    for _ in 0..=MAX_DEPTH {
        if level.iter().any(|key| Arc::ptr_eq(key, ring)) {
            return Err(EDEADLK);
        }
        level = keyrings_below(&level, |_| true);
        if level.is_empty() {
            return Ok(());
        }
    }
    Err(ELOOP)
}

/// Finds a key in a keyring and those in it that may be searched. Linux: `keyring_search_rcu`.
///
/// # Errors
/// `ENOTDIR`, `EACCES`; `ENOKEY`, or why a key that matches cannot be used.
pub fn search(ring: &KeyRef, cred: &Cred, now: i64, wanted: &dyn Fn(&Key) -> bool) -> Result<KeyRef, Errno> {
    ring.may(cred, KeyPerm::SEARCH)?;
    if wanted(&ring.key) {
        return Ok(ring.clone());
    }
    let mut worst = ENOKEY;
    let mut level = vec![ring.key.clone()];
    for _ in 0..=MAX_DEPTH {
        level.retain(|ring| ring.validate(now).is_ok());
        for key in level.iter().flat_map(|ring| ring.links().unwrap_or_default()).filter(|key| wanted(key)) {
            let found = KeyRef { key, possessed: ring.possessed };
            match found.key.validate(now).and_then(|()| found.may(cred, KeyPerm::SEARCH)) {
                Ok(()) => return Ok(found),
                Err(e) => worst = e,
            }
        }
        level =
            keyrings_below(&level, |key| key.check_permission(cred, ring.possessed, KeyPerm::SEARCH).is_ok());
    }
    Err(worst)
}
