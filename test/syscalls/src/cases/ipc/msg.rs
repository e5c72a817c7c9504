//! Message queues.

use crate::prelude::*;
use libc::*;

const MSG_COPY: i32 = 0o40000;

/// A message as the calls take it.
#[repr(C)]
struct Msg {
    mtype: i64,
    text: [u8; 64],
}

struct Queue(i32);

impl Queue {
    fn new() -> Queue {
        Queue(sys!(msgget(IPC_PRIVATE, 0o600)).fd())
    }

    fn send(&self, mtype: i64, text: &str) {
        let msg = message(mtype, text);
        sys!(msgsnd(self.0, &raw const msg, text.len(), IPC_NOWAIT)).ok();
    }

    /// Type and text of the message received.
    fn receive(&self, mtype: i64, flags: i32) -> (i64, String) {
        let mut msg = message(0, "");
        let len = sys!(msgrcv(self.0, &raw mut msg, 64, mtype, flags | IPC_NOWAIT)).size();
        (msg.mtype, String::from_utf8_lossy(&msg.text[..len]).into_owned())
    }

    fn stat(&self) -> msqid_ds {
        let mut ds: msqid_ds = zeroed();
        sys!(msgctl(self.0, IPC_STAT, &raw mut ds)).ok();
        ds
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = sys!(msgctl(self.0, IPC_RMID, 0));
    }
}

fn message(mtype: i64, text: &str) -> Msg {
    let mut msg = Msg { mtype, text: [0; 64] };
    msg.text[..text.len()].copy_from_slice(text.as_bytes());
    msg
}

fn got(mtype: i64, text: &str) -> (i64, String) {
    (mtype, text.to_owned())
}

#[case(as_root, as_user)]
fn messages_come_in_order_or_by_type(_t: &mut Guest) {
    let q = Queue::new();
    for (mtype, text) in [(5, "a"), (3, "b"), (7, "c"), (3, "d"), (9, "e"), (5, "f")] {
        q.send(mtype, text);
    }
    expect_eq!(q.receive(7, 0), got(7, "c"));
    expect_eq!(q.receive(5, MSG_EXCEPT), got(3, "b"));
    expect_eq!(q.receive(-5, 0), got(3, "d"));
    expect_eq!(q.receive(-5, 0), got(5, "a"));
    expect_eq!(q.receive(0, 0), got(9, "e"));
    let mut msg = message(0, "");
    sys!(msgrcv(q.0, &raw mut msg, 64, -4, IPC_NOWAIT)).fails(ENOMSG);
    sys!(msgrcv(q.0, &raw mut msg, 64, 4, IPC_NOWAIT)).fails(ENOMSG);
    expect_eq!(q.receive(i64::MIN, 0), got(5, "f"));
    sys!(msgrcv(q.0, &raw mut msg, 64, 0, IPC_NOWAIT)).fails(ENOMSG);
}

#[case(as_root, as_user)]
fn arguments_are_checked(_t: &mut Guest) {
    let q = Queue::new();
    let msg = message(1, "text");
    sys!(msgsnd(q.0, 8, 4, 0)).fails(EFAULT);
    sys!(msgsnd(-1, 8, 4, 0)).fails(EFAULT);
    sys!(msgsnd(-1, &raw const msg, 4, 0)).fails(EINVAL);
    sys!(msgsnd(q.0, &raw const msg, 8193, 0)).fails(EINVAL);
    sys!(msgsnd(q.0, &raw const msg, usize::MAX, 0)).fails(EINVAL);
    sys!(msgsnd(q.0, &[message(0, "x")], 1, 0)).fails(EINVAL);
    sys!(msgsnd(q.0, &[message(-1, "x")], 1, 0)).fails(EINVAL);
    sys!(msgrcv(-1, &raw const msg, 1, 0, 0)).fails(EINVAL);
    sys!(msgrcv(q.0, &raw const msg, usize::MAX, 0, IPC_NOWAIT)).fails(EINVAL);
    sys!(msgctl(q.0, 99, 0)).fails(EINVAL);
    sys!(msgctl(q.0, -1, 0)).fails(EINVAL);
    sys!(msgctl(q.0, IPC_STAT, 8)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn a_message_too_long_stays_unless_it_may_be_cut(_t: &mut Guest) {
    let q = Queue::new();
    q.send(1, "longer");
    let mut msg = message(0, "");
    sys!(msgrcv(q.0, &raw mut msg, 4, 0, 0)).fails(E2BIG);
    expect_eq!(q.stat().msg_qnum, 1);
    sys!(msgrcv(q.0, &raw mut msg, 4, 0, MSG_NOERROR)).is(4);
    expect_eq!(&msg.text[..6], b"long\0\0");
    expect_eq!(q.stat().msg_qnum, 0);
    q.send(1, "");
    expect_eq!(q.receive(0, 0), got(1, ""));
}

#[case(as_root, as_user)]
fn a_copy_leaves_the_message(_t: &mut Guest) {
    let q = Queue::new();
    q.send(1, "one");
    q.send(2, "two");
    let mut msg = message(0, "");
    sys!(msgrcv(q.0, &raw mut msg, 64, 1, MSG_COPY | IPC_NOWAIT))
        .or_skip(ENOSYS, "no checkpoint and restore")
        .is(3);
    expect_eq!((msg.mtype, &msg.text[..3]), (2, &b"two"[..]));
    sys!(msgrcv(q.0, &raw mut msg, 64, 2, MSG_COPY | IPC_NOWAIT)).fails(ENOMSG);
    sys!(msgrcv(q.0, &raw mut msg, 64, 0, MSG_COPY)).fails(EINVAL);
    sys!(msgrcv(q.0, &raw mut msg, 64, 0, MSG_COPY | IPC_NOWAIT | MSG_EXCEPT)).fails(EINVAL);
    expect_eq!(q.stat().msg_qnum, 2);
}

#[case(as_root, as_user)]
fn a_full_queue_makes_the_sender_wait(t: &mut Guest) {
    let q = Queue::new();
    let mut ds = q.stat();
    ds.msg_qbytes = 10;
    sys!(msgctl(q.0, IPC_SET, &raw const ds)).ok();
    q.send(1, "12345678");
    let msg = message(2, "abcd");
    sys!(msgsnd(q.0, &raw const msg, 4, IPC_NOWAIT)).fails(EAGAIN);
    let child = t.fork(|| {
        sys!(msgsnd(q.0, &[message(2, "abcd")], 4, 0)).ok();
    });
    t.until_asleep(child.pid);
    expect_eq!(q.receive(0, 0), got(1, "12345678"));
    child.done();
    expect_eq!(q.receive(0, 0), got(2, "abcd"));
    expect_eq!(q.stat().msg_lspid, child.pid);
}

#[case(as_root, as_user)]
fn a_receiver_waits_for_its_type(t: &mut Guest) {
    let q = Queue::new();
    let child = t.fork(|| {
        let mut msg = message(0, "");
        sys!(msgrcv(q.0, &raw mut msg, 64, 7, 0)).is(3);
        expect_eq!((msg.mtype, &msg.text[..3]), (7, &b"yes"[..]));
    });
    t.until_asleep(child.pid);
    q.send(6, "no");
    q.send(7, "yes");
    child.done();
    expect_eq!(q.stat().msg_qnum, 1);
    expect_eq!(q.stat().msg_lrpid, child.pid);
}

#[case(as_root, as_user)]
fn a_waiting_receiver_with_too_small_a_buffer_fails_and_the_message_stays(t: &mut Guest) {
    let q = Queue::new();
    let child = t.fork(|| {
        let mut msg = message(0, "");
        sys!(msgrcv(q.0, &raw mut msg, 2, 0, 0)).fails(E2BIG);
    });
    t.until_asleep(child.pid);
    q.send(1, "long");
    child.done();
    expect_eq!(q.receive(0, 0), got(1, "long"));
}

#[case(as_root, as_user)]
fn removal_ends_waits_with_eidrm(t: &mut Guest) {
    let q = Queue::new();
    let receiver = t.fork(|| {
        let mut msg = message(0, "");
        sys!(msgrcv(q.0, &raw mut msg, 64, 7, 0)).fails(EIDRM);
    });
    let full = Queue::new();
    let mut ds = full.stat();
    ds.msg_qbytes = 0;
    sys!(msgctl(full.0, IPC_SET, &raw const ds)).ok();
    let sender = t.fork(|| {
        sys!(msgsnd(full.0, &[message(1, "x")], 1, 0)).fails(EIDRM);
    });
    t.until_asleep(receiver.pid);
    t.until_asleep(sender.pid);
    sys!(msgctl(q.0, IPC_RMID, 0)).ok();
    sys!(msgctl(full.0, IPC_RMID, 0)).ok();
    receiver.done();
    sender.done();
    sys!(msgctl(q.0, IPC_RMID, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_handler_ends_a_wait_with_eintr(t: &mut Guest) {
    extern "C" fn nothing(_signal: i32) {}
    let q = Queue::new();
    let child = t.fork(|| {
        let mut action: sigaction = zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = SA_RESTART;
        // SAFETY: a handler that does nothing.
        unsafe { sigaction(SIGUSR1, &raw const action, std::ptr::null_mut()) };
        let mut msg = message(0, "");
        sys!(msgrcv(q.0, &raw mut msg, 64, 0, 0)).fails(EINTR);
    });
    t.until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.done();
}

#[case(as_user)]
fn more_bytes_than_the_limit_are_not_for_everybody(_t: &mut Guest) {
    let q = Queue::new();
    let mut ds = q.stat();
    ds.msg_qbytes = 1 << 30;
    sys!(msgctl(q.0, IPC_SET, &raw const ds)).fails(EPERM);
}

#[case(as_root, as_user)]
fn info_and_proc_tell_what_is_there(t: &mut Guest) {
    const MSG_STAT: i32 = 11;
    const MSG_INFO: i32 = 12;
    let q = Queue::new();
    q.send(1, "1234");
    let mut info: msginfo = zeroed();
    let max = sys!(msgctl(0, IPC_INFO, &raw mut info)).ok();
    check!(max >= i64::from(q.0 & 0x7fff));
    check!(info.msgmax > 0 && info.msgmnb > 0 && info.msgmni > 0);
    sys!(msgctl(0, MSG_INFO, &raw mut info)).ok();
    check!(info.msgpool >= 1 && info.msgmap >= 1 && info.msgtql >= 4);
    let mut ds: msqid_ds = zeroed();
    sys!(msgctl(q.0 & 0x7fff, MSG_STAT, &raw mut ds)).is(q.0);
    expect_eq!((ds.msg_qnum, ds.msg_perm.cuid), (1, t.uid()));
    let text = std::fs::read_to_string("/proc/sysvipc/msg").unwrap();
    let line = text.lines().find(|l| l.split_whitespace().nth(1) == Some(&q.0.to_string())).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    expect_eq!((words[2], words[3], words[4], words.len()), ("600", "4", "1", 14));
}
