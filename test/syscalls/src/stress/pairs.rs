//! Pairs: one asks, the other answers, by every way there is to be woken.

use super::signals::{WAKE, WAKE_QUEUED, set_of};
use super::{Doing, Participant, Roll, must, shared};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Asked for when it is time to end.
const END: u32 = u32::MAX;

/// How the one who asks gets the other's attention.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A futex.
    Futex,
    /// A byte in a pipe.
    Pipe,
    /// A signal that interrupts nanosleep(2), again and again, since it may come before the sleep.
    Nanosleep,
    /// The same for a read(2) of an empty pipe.
    Read,
    /// The same for a futex nobody wakes.
    DeadFutex,
    /// A signal, once, that only ppoll(2) lets through.
    Ppoll,
    /// A signal, once, that rt_sigtimedwait(2) waits for.
    Sigwait,
}

/// Which pairs there are, and how many.
const WAYS: [(Way, &str, usize); 7] = [
    (Way::Futex, "futex", 4),
    (Way::Pipe, "pipe", 4),
    (Way::Nanosleep, "nanosleep", 2),
    (Way::Read, "read", 2),
    (Way::DeadFutex, "dead-futex", 1),
    (Way::Ppoll, "ppoll", 2),
    (Way::Sigwait, "sigwait", 2),
];

/// What the two of a pair share.
struct Pair {
    way: Way,
    /// The turn that was asked for, and the one that was answered. Between turns they are the same.
    asked: AtomicU32,
    answered: AtomicU32,
    /// Read and write end of the way there and of the way back.
    there: [i32; 2],
    back: [i32; 2],
    /// Never changes.
    dead: AtomicU32,
    /// Where in the list of participants the one who answers is.
    answerer: usize,
}

fn pipe() -> [i32; 2] {
    let mut ends = [0; 2];
    // SAFETY: the array has the two elements the call writes.
    must("pipe2", unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into());
    ends
}

pub(super) fn add(roll: &mut Roll) {
    for (way, name, many) in WAYS {
        for n in 0..many {
            let group = format!("{name} {n}");
            let answerer = roll.work.len() + 1;
            let (asked, answered, dead) = Default::default();
            let pair = Arc::new(Pair { way, asked, answered, there: pipe(), back: pipe(), dead, answerer });
            let (asking, answering, noted) = (pair.clone(), pair.clone(), pair);
            roll.add(format!("{group} asks"), move |me| asking.ask(me));
            roll.add(format!("{group} answers"), move |me| answering.answer(me));
            roll.note(group, move || {
                let (asked, answered) = (noted.asked.load(SeqCst), noted.answered.load(SeqCst));
                format!("turn {asked} is asked for, {answered} is answered")
            });
        }
    }
}

/// Waits while `word` is `value`, at most `millis` milliseconds if that is not 0.
pub(super) fn futex_wait(word: &AtomicU32, value: u32, op: i32, millis: i64) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: millis * 1_000_000 };
    let time = if millis > 0 { &raw const time } else { std::ptr::null() };
    // SAFETY: the word lives, and so does the time. It may fail: that the word is another already, a signal, the time.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | op, value, time) };
}

pub(super) fn futex_wake(word: &AtomicU32, op: i32) {
    // SAFETY: the word lives.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | op, 1) };
    must("futex wake", woken);
}

/// Reads or writes one byte, through whatever signals come.
fn byte(fd: i32, write: bool) {
    let mut byte = [0_u8; 1];
    loop {
        // SAFETY: the buffer has one byte.
        let done = unsafe {
            match write {
                true => libc::write(fd, byte.as_ptr().cast(), 1),
                false => libc::read(fd, byte.as_mut_ptr().cast(), 1),
            }
        };
        if done == 1 {
            return;
        }
        if done == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            must("a byte", -1);
        }
    }
}

impl Pair {
    fn ask(&self, me: &'static Participant) {
        let private = libc::FUTEX_PRIVATE_FLAG;
        for turn in 1.. {
            let turn = if shared().stop() { END } else { turn };
            let before = self.asked.swap(turn, SeqCst);
            me.now(Doing::AwaitsAnswer);
            match self.way {
                Way::Futex => futex_wake(&self.asked, private),
                Way::Pipe => byte(self.there[1], true),
                Way::Nanosleep | Way::Read | Way::DeadFutex | Way::Ppoll => self.signal(WAKE),
                Way::Sigwait => self.signal(WAKE_QUEUED),
            }
            match self.way {
                Way::Pipe => byte(self.back[0], false),
                Way::Nanosleep | Way::Read | Way::DeadFutex => {
                    while self.answered.load(SeqCst) != turn {
                        futex_wait(&self.answered, before, private, 2);
                        self.signal(WAKE);
                    }
                }
                _ => {
                    while self.answered.load(SeqCst) != turn {
                        futex_wait(&self.answered, before, private, 0);
                    }
                }
            }
            me.did_one();
            if turn == END {
                return;
            }
        }
    }

    fn answer(&self, me: &'static Participant) {
        let private = libc::FUTEX_PRIVATE_FLAG;
        let masked = match self.way {
            Way::Ppoll => Some(WAKE),
            Way::Sigwait => Some(WAKE_QUEUED),
            _ => None,
        };
        if let Some(signal) = masked {
            let set = set_of(&[signal]);
            // SAFETY: the set lives.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        }
        loop {
            let before = self.answered.load(SeqCst);
            me.now(Doing::AwaitsTurn);
            if self.way == Way::Pipe {
                byte(self.there[0], false);
            }
            while self.asked.load(SeqCst) == before {
                self.wait(before);
            }
            let turn = self.asked.load(SeqCst);
            self.answered.store(turn, SeqCst);
            match self.way {
                Way::Pipe => byte(self.back[1], true),
                _ => futex_wake(&self.answered, private),
            }
            me.did_one();
            if turn == END {
                return;
            }
        }
    }

    /// Waits once, for a signal perhaps that has nothing to say.
    fn wait(&self, before: u32) {
        let hour = libc::timespec { tv_sec: 3600, tv_nsec: 0 };
        let mut byte = [0_u8; 1];
        let (empty, sent) = (set_of(&[]), set_of(&[WAKE_QUEUED]));
        // SAFETY: times, sets and buffers live as long as the calls.
        unsafe {
            match self.way {
                Way::Futex => futex_wait(&self.asked, before, libc::FUTEX_PRIVATE_FLAG, 0),
                Way::Pipe => {}
                Way::Nanosleep => {
                    libc::nanosleep(&raw const hour, std::ptr::null_mut());
                }
                Way::Read => {
                    libc::read(self.there[0], byte.as_mut_ptr().cast(), 1);
                }
                Way::DeadFutex => futex_wait(&self.dead, 0, libc::FUTEX_PRIVATE_FLAG, 0),
                Way::Ppoll => {
                    libc::ppoll(std::ptr::null_mut(), 0, &raw const hour, &raw const empty);
                }
                Way::Sigwait => {
                    libc::sigtimedwait(&raw const sent, std::ptr::null_mut(), &raw const hour);
                }
            }
        }
    }

    fn signal(&self, signal: i32) {
        let tid = shared().participants().get(self.answerer).map_or(0, Participant::tid);
        // SAFETY: passes integers only. The other may have ended meanwhile.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal) };
    }
}
