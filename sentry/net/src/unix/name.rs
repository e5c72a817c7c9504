//! Names of local sockets: paths, abstract names, and those the kernel makes up.
//!
//! The walk along a path is the caller's; a socket file leads to its socket through what is attached to the inode.

use super::{CLOSE, UnixSock};
use crate::{SockAddr, Socket};
use fs_vfs::{Access, File, FileType, Inode};
use sentry_auth::Cred;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EADDRINUSE, ECONNREFUSED, EINVAL, ENOSPC, EPROTOTYPE};
use sentry_uapi::socket::AF_UNIX;
use sentry_uapi::un::{SOCKADDR_UN_SIZE, SUN_PATH_OFFSET};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};

/// The name of a socket: `sun_path` as getsockname(2) gives it.
pub(super) struct UnixAddr {
    sun_path: Vec<u8>,
}

/// What hangs on the inode of a socket file.
struct BoundSocket(Mutex<Weak<UnixSock>, { level::LEAF }>);

/// Abstract names of a namespace.
pub(crate) struct UnixNames {
    table: Mutex<Table, { level::NET_TABLE }>,
}

struct Table {
    /// By type and name: sockets of different types may have the same one.
    names: HashMap<(u32, Vec<u8>), Weak<UnixSock>>,
    /// Where the search for a name to make up begins.
    next: u32,
}

impl UnixNames {
    pub(crate) fn new(seed: u64) -> UnixNames {
        let next = u32::try_from(seed >> 12 & 0xf_ffff).unwrap_or(0);
        UnixNames { table: Mutex::new(Table { names: HashMap::new(), next }) }
    }
}

impl UnixAddr {
    /// What a socket without a name answers.
    pub(super) fn unnamed() -> SockAddr {
        SockAddr::from_struct(&AF_UNIX)
    }

    pub(super) fn to_sockaddr(&self) -> SockAddr {
        let mut bytes = [0; SOCKADDR_UN_SIZE + 1];
        let len = SUN_PATH_OFFSET + self.sun_path.len();
        bytes[..SUN_PATH_OFFSET].copy_from_slice(&AF_UNIX.to_ne_bytes());
        bytes[SUN_PATH_OFFSET..len].copy_from_slice(&self.sun_path);
        SockAddr::from_bytes(&bytes[..len]).unwrap_or_else(|_| UnixAddr::unnamed())
    }

    fn is_abstract(&self) -> bool {
        self.sun_path.first() == Some(&0)
    }
}

/// The bytes of `sun_path`, never none. Linux: `unix_validate_addr`.
fn sun_path(addr: &SockAddr) -> Result<&[u8], Errno> {
    let bytes = addr.as_bytes();
    if bytes.len() <= SUN_PATH_OFFSET || bytes.len() > SOCKADDR_UN_SIZE || addr.family() != Some(AF_UNIX) {
        return Err(EINVAL);
    }
    Ok(&bytes[SUN_PATH_OFFSET..])
}

fn path_of(sun_path: &[u8]) -> &[u8] {
    sun_path.split(|b| *b == 0).next().unwrap_or_default()
}

/// The path in `addr`, if `file` is a unix socket and `addr` names a file: what the caller has to make (bind) or find
/// (connect, sendmsg) before it calls `bind_inode`, `connect_inode`, or sets `SendMsg::inode`. None for everything else,
/// bad addresses included, which the call itself refuses.
pub fn unix_path<'a>(file: &File, addr: &'a SockAddr) -> Option<&'a [u8]> {
    let socket = file.downcast::<Socket>()?;
    if socket.family() != AF_UNIX {
        return None;
    }
    Some(path_of(sun_path(addr).ok()?)).filter(|path| !path.is_empty())
}

impl UnixSock {
    /// Linux: `unix_bind`.
    pub(super) fn unix_bind(&self, addr: &SockAddr, inode: Option<&Arc<Inode>>) -> Result<(), Errno> {
        if addr.len() == SUN_PATH_OFFSET && addr.family() == Some(AF_UNIX) {
            return self.autobind();
        }
        let sun_path = sun_path(addr)?;
        let Some(inode) = inode else {
            if sun_path.first() != Some(&0) {
                return Err(EINVAL);
            }
            return self.bind_abstract(sun_path);
        };
        let mut name = path_of(sun_path).to_vec();
        name.push(0);
        let _state = self.state.lock();
        self.set_addr(name)?;
        let bound = inode.attached_or(|| BoundSocket(Mutex::new(Weak::new())));
        *bound.0.lock() = self.this.clone();
        Ok(())
    }

    /// Gives the socket its name. `EINVAL` if it has one.
    fn set_addr(&self, sun_path: Vec<u8>) -> Result<(), Errno> {
        self.addr.set(Arc::new(UnixAddr { sun_path })).map_err(|_| EINVAL)
    }

    fn bind_abstract(&self, name: &[u8]) -> Result<(), Errno> {
        let mut table = self.sock.net.unix.table.lock();
        if self.addr.get().is_some() {
            return Err(EINVAL);
        }
        let key = (self.sock.ty, name.to_vec());
        if table.names.contains_key(&key) {
            return Err(EADDRINUSE);
        }
        self.set_addr(name.to_vec())?;
        table.names.insert(key, self.this.clone());
        Ok(())
    }

    /// Gives the socket an abstract name of five hexadecimal digits, unless it has a name. Linux: `unix_autobind`.
    pub(super) fn autobind(&self) -> Result<(), Errno> {
        const NAMES: u32 = 1 << 20;
        let mut table = self.sock.net.unix.table.lock();
        if self.addr.get().is_some() {
            return Ok(());
        }
        for _ in 0..NAMES {
            table.next = (table.next + 1) % NAMES;
            let name = format!("\0{:05x}", table.next).into_bytes();
            let key = (self.sock.ty, name.clone());
            if let Entry::Vacant(free) = table.names.entry(key) {
                self.set_addr(name)?;
                free.insert(self.this.clone());
                return Ok(());
            }
        }
        Err(ENOSPC)
    }

    /// Gives the abstract name back. A connection that shares the name of its listener does not own it.
    pub(super) fn unbind(&self) {
        let Some(addr) = self.addr.get().filter(|a| a.is_abstract()) else { return };
        let mut table = self.sock.net.unix.table.lock();
        let key = (self.sock.ty, addr.sun_path.clone());
        if table.names.get(&key).is_some_and(|s| s.ptr_eq(&self.this)) {
            table.names.remove(&key);
        }
    }

    /// The socket an address leads to. Linux: `unix_find_other`.
    ///
    /// # Errors
    /// `EINVAL` for a bad address; `ECONNREFUSED` if there is nobody; `EACCES` and `EPROTOTYPE` for a path.
    pub(super) fn find_other(
        &self,
        cred: &Cred,
        addr: &SockAddr,
        inode: Option<&Arc<Inode>>,
    ) -> Result<Arc<UnixSock>, Errno> {
        let sun_path = sun_path(addr)?;
        let Some(inode) = inode else {
            let key = (self.sock.ty, sun_path.to_vec());
            let found = self.sock.net.unix.table.lock().names.get(&key).and_then(Weak::upgrade);
            return found.filter(|s| !s.is_dead()).ok_or(ECONNREFUSED);
        };
        inode.permission(cred, Access::WRITE)?;
        if inode.file_type() != FileType::Socket {
            return Err(ECONNREFUSED);
        }
        let bound = inode.attached::<BoundSocket>().ok_or(ECONNREFUSED)?;
        let found = bound.0.lock().upgrade().filter(|s| !s.is_dead()).ok_or(ECONNREFUSED)?;
        if found.sock.ty == self.sock.ty { Ok(found) } else { Err(EPROTOTYPE) }
    }

    /// With SO_PASSCRED the receiver must be able to answer. Linux: the check before `unix_autobind` in connect and send.
    pub(super) fn autobind_for_creds(&self) -> Result<(), Errno> {
        let wanted = self.sock.opts.pass_cred() || self.sock.opts.pass_pidfd();
        if wanted && self.addr.get().is_none() && self.phase() == CLOSE { self.autobind() } else { Ok(()) }
    }

    pub(super) fn sockaddr(&self) -> Option<Arc<UnixAddr>> {
        self.addr.get().cloned()
    }

    /// Shares the name of the socket that listens.
    pub(super) fn share_addr(&self, listener: &UnixSock) {
        if let Some(addr) = listener.sockaddr() {
            // A new connection has no name yet, so this cannot fail.
            let _ = self.addr.set(addr);
        }
    }
}
