//! What the tests of all families share.
#![allow(dead_code, unreachable_pub)]

use fs_vfs::{
    FdTable, File, FsStruct, MountNamespace, PollTable, Resource, Sleep, TaskContext, TestContext, Vfs,
};
use sentry_auth::{Cred, GroupInfo, Kgid, Kuid};
use sentry_mm::{IoDst, IoSrc, MemoryManager};
use sentry_net::{NetNamespace, Received, SendMsg, SockAddr, recvmsg, sendmsg, socket, socketpair};
use sentry_sync::{WaitQueue, Wake};
use sentry_uapi::Errno;
use sentry_uapi::errno::ERESTARTSYS;
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::signal::{SigInfo, SigSet};
use sentry_uapi::socket::*;
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

pub const NOSIGNAL: MsgFlags = MsgFlags::NOSIGNAL;
pub const DONTWAIT: MsgFlags = MsgFlags::DONTWAIT;

/// A kernel with one task and one network namespace.
pub struct Net {
    pub ctx: TestContext,
    pub ns: Arc<NetNamespace>,
}

impl Net {
    pub fn new() -> Net {
        let ctx = TestContext::new();
        let ns = NetNamespace::new_initial(ctx.cred.user_ns.clone(), ctx.vfs.clocks.clone(), None);
        Net { ctx, ns }
    }

    /// The same kernel, seen by another task.
    pub fn other_task(&self, tgid: u32) -> Net {
        Net { ctx: self.ctx.sibling(tgid, (*self.ctx.cred).clone()), ns: self.ns.clone() }
    }

    /// The same kernel, seen by an ordinary user.
    pub fn other_user(&self, uid: u32) -> Net {
        let user_ns = self.ctx.cred.user_ns.clone();
        let cred = Cred::user(user_ns, Kuid::from_global(uid), Kgid::from_global(uid), GroupInfo::default());
        Net { ctx: self.ctx.sibling(uid, cred), ns: self.ns.clone() }
    }

    pub fn socket(&self, family: u16, ty: u32) -> Result<Arc<File>, Errno> {
        socket(&self.ctx, &self.ns, i32::from(family), ty.cast_signed(), 0)
    }

    pub fn pair(&self, ty: u32) -> Result<(Arc<File>, Arc<File>), Errno> {
        socketpair(&self.ctx, &self.ns, i32::from(AF_UNIX), ty.cast_signed(), 0)
    }

    pub fn send(&self, file: &File, bytes: &[u8]) -> Result<usize, Errno> {
        self.send_flags(file, bytes, MsgFlags::empty())
    }

    pub fn send_flags(&self, file: &File, bytes: &[u8], flags: MsgFlags) -> Result<usize, Errno> {
        sendmsg(&self.ctx, file, &mut SendMsg { flags, ..SendMsg::default() }, &mut IoSrc::from_slice(bytes))
    }

    pub fn send_to(&self, file: &File, bytes: &[u8], addr: SockAddr) -> Result<usize, Errno> {
        let mut msg = SendMsg { addr: Some(addr), flags: DONTWAIT, ..SendMsg::default() };
        sendmsg(&self.ctx, file, &mut msg, &mut IoSrc::from_slice(bytes))
    }

    pub fn recv(&self, file: &File, max: usize) -> Result<Vec<u8>, Errno> {
        self.recv_flags(file, max, MsgFlags::empty())
    }

    pub fn recv_flags(&self, file: &File, max: usize, flags: MsgFlags) -> Result<Vec<u8>, Errno> {
        self.recv_msg(file, max, flags).map(|(bytes, _)| bytes)
    }

    pub fn recv_msg(&self, file: &File, max: usize, flags: MsgFlags) -> Result<(Vec<u8>, Received), Errno> {
        let mut buf = vec![0; max];
        let mut dst = IoDst::from_slice(&mut buf);
        let received = recvmsg(&self.ctx, file, &mut dst, flags)?;
        let done = dst.done();
        drop(dst);
        buf.truncate(done);
        Ok((buf, received))
    }
}

/// A task with a signal pending, which no sleep survives.
pub struct Interrupted<'a>(pub &'a TestContext);

impl TaskContext for Interrupted<'_> {
    fn cred(&self) -> Arc<Cred> {
        self.0.cred()
    }
    fn fs(&self) -> Arc<FsStruct> {
        self.0.fs()
    }
    fn mnt_ns(&self) -> Arc<MountNamespace> {
        self.0.mnt_ns()
    }
    fn files(&self) -> Arc<FdTable> {
        self.0.files()
    }
    fn mm(&self) -> Result<Arc<MemoryManager>, Errno> {
        self.0.mm()
    }
    fn rlimit(&self, resource: Resource) -> u64 {
        self.0.rlimit(resource)
    }
    fn ids(&self) -> (u32, u32) {
        self.0.ids()
    }
    fn send_sig(&self, signo: i32) {
        self.0.send_sig(signo);
    }
    fn vfs(&self) -> &Arc<Vfs> {
        self.0.vfs()
    }
    fn dequeue_signal(&self, set: SigSet) -> Option<SigInfo> {
        self.0.dequeue_signal(set)
    }
    fn pending_signals(&self) -> SigSet {
        self.0.pending_signals()
    }
    fn signal_queue(&self) -> WaitQueue {
        self.0.signal_queue()
    }
    fn waker(&self) -> Arc<dyn Wake> {
        self.0.waker()
    }
    fn sleep(&self, _deadline: Option<Instant>) -> Result<Sleep, Errno> {
        Err(ERESTARTSYS)
    }
    fn as_any(&self) -> &dyn Any {
        self.0.as_any()
    }
}

pub fn set_nonblock(file: &File) -> Result<(), Errno> {
    file.set_status_flags(file.flags() | OpenFlags::NONBLOCK)
}

pub fn events(file: &File) -> u32 {
    file.ops().poll(file, &mut PollTable::query())
}

pub fn abstract_name(name: &str) -> SockAddr {
    let mut bytes = AF_UNIX.to_ne_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(name.as_bytes());
    SockAddr::from_bytes(&bytes).unwrap_or_else(|_| unreachable!())
}

pub fn unix_addr(path: &str) -> SockAddr {
    let mut bytes = AF_UNIX.to_ne_bytes().to_vec();
    bytes.extend_from_slice(path.as_bytes());
    SockAddr::from_bytes(&bytes).unwrap_or_else(|_| unreachable!())
}

pub fn unspec() -> SockAddr {
    SockAddr::from_bytes(&[0; 16]).unwrap_or_else(|_| unreachable!())
}

pub fn v4(ip: [u8; 4], port: u16) -> SockAddr {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4..8].copy_from_slice(&ip);
    SockAddr::from_bytes(&bytes).unwrap_or_else(|_| unreachable!())
}

pub fn v6(ip: std::net::Ipv6Addr, port: u16) -> SockAddr {
    let mut bytes = [0; 28];
    bytes[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[8..24].copy_from_slice(&ip.octets());
    SockAddr::from_bytes(&bytes).unwrap_or_else(|_| unreachable!())
}

pub fn port(addr: &SockAddr) -> u16 {
    u16::from_be_bytes([addr.as_bytes()[2], addr.as_bytes()[3]])
}
