//! `syscall-cases --stress SECONDS`: threads that signal, wake, fork, execute and start each other all at once.
//!
//! Everybody counts what it has done. Who waits for a partner has a word that says whose turn it is, and is waited for in
//! turn; so a wake-up, a signal, a timer or a child that gets lost leaves somebody without progress, whom the watchdog
//! names. It sleeps and asks, and needs nobody's wake-up but the clock's.

mod pairs;
mod processes;
mod signals;

pub(crate) use processes::helper;

use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// How many looks of the watchdog, a second apart, somebody may be found at the same count.
const PATIENCE: u32 = 20;

/// The work of one thread; it ends soon after [`Stress::stop`].
type Work = Box<dyn FnOnce(&'static Participant) + Send>;

/// A thread that takes part.
pub(crate) struct Participant {
    name: String,
    tid: AtomicI32,
    /// What it has done so far.
    count: AtomicU64,
    /// What it is doing: an index into [`DOING`].
    doing: AtomicUsize,
    ended: AtomicBool,
}

/// What a participant may be at.
#[derive(Clone, Copy)]
pub(crate) enum Doing {
    Starts,
    Works,
    AwaitsTurn,
    AwaitsAnswer,
    AwaitsChild,
    AwaitsThread,
    AwaitsTimer,
    Sleeps,
}

/// As the report says it, in the order of [`Doing`].
const DOING: [&str; 8] = [
    "starting",
    "working",
    "waiting for its turn",
    "waiting for its partner's answer",
    "waiting for a child",
    "waiting for a thread",
    "waiting for a timer",
    "sleeping",
];

impl Participant {
    /// One more is done.
    pub(crate) fn did_one(&self) {
        self.count.fetch_add(1, SeqCst);
        self.now(Doing::Works);
    }

    pub(crate) fn now(&self, doing: Doing) {
        self.doing.store(doing as usize, SeqCst);
    }

    pub(crate) fn tid(&self) -> i32 {
        self.tid.load(SeqCst)
    }

    fn line(&self) -> String {
        let doing = DOING.get(self.doing.load(SeqCst)).unwrap_or(&"lost");
        let end = if self.ended.load(SeqCst) { ", ended" } else { "" };
        format!("{} (thread {}): {} done, {doing}{end}", self.name, self.tid(), self.count.load(SeqCst))
    }
}

/// What all share.
pub(crate) struct Stress {
    participants: Vec<Participant>,
    /// Says more of a group than its counts: whose turn it is.
    notes: Vec<(String, Box<dyn Fn() -> String + Send + Sync>)>,
    stop: AtomicBool,
}

static STRESS: OnceLock<Stress> = OnceLock::new();

/// What all share, once everybody is there.
pub(crate) fn shared() -> &'static Stress {
    STRESS.get().unwrap_or_else(|| fail("nobody", "asked before all were there"))
}

impl Stress {
    /// Whether it is time to end.
    pub(crate) fn stop(&self) -> bool {
        self.stop.load(SeqCst)
    }

    pub(crate) fn participants(&self) -> &[Participant] {
        &self.participants
    }

    /// Names who stands still, and tells what all others are at.
    fn give_up(&self, stuck: &[&str]) -> ! {
        let mut text = String::new();
        for (group, note) in &self.notes {
            if stuck.iter().any(|name| name.starts_with(group.as_str())) {
                text.push_str(&format!("  {group}: {}\n", note()));
            }
        }
        for participant in &self.participants {
            text.push_str(&format!("  {}\n", participant.line()));
        }
        print(&text);
        fail(&stuck.join(", "), &format!("no progress in {PATIENCE} s"))
    }
}

/// The roll of participants while it is made up.
#[derive(Default)]
struct Roll {
    work: Vec<(String, Work)>,
    notes: Vec<(String, Box<dyn Fn() -> String + Send + Sync>)>,
}

impl Roll {
    fn add(&mut self, name: String, work: impl FnOnce(&'static Participant) + Send + 'static) {
        self.work.push((name, Box::new(work)));
    }

    fn note(&mut self, group: String, note: impl Fn() -> String + Send + Sync + 'static) {
        self.notes.push((group, Box::new(note)));
    }
}

/// Runs for so many seconds. Fails loudly, and ends the process, where somebody stands still.
pub(crate) fn run(seconds: u32) -> ExitCode {
    signals::install();
    let mut roll = Roll::default();
    pairs::add(&mut roll);
    processes::add(&mut roll);
    signals::add(&mut roll);
    let participants = roll.work.iter().map(|(name, _)| Participant {
        name: name.clone(),
        tid: AtomicI32::new(0),
        count: AtomicU64::new(0),
        doing: AtomicUsize::new(Doing::Starts as usize),
        ended: AtomicBool::new(false),
    });
    let participants = participants.collect();
    let stress =
        STRESS.get_or_init(|| Stress { participants, notes: roll.notes, stop: AtomicBool::new(false) });
    for (participant, (name, work)) in stress.participants.iter().zip(roll.work) {
        start(&name, move || {
            // SAFETY: has no preconditions.
            participant.tid.store(unsafe { libc::gettid() }, SeqCst);
            // Everybody can be signalled from the beginning.
            while !stress.participants.iter().all(|other| other.tid() != 0) {
                nap(Duration::from_millis(1));
            }
            work(participant);
            participant.ended.store(true, SeqCst);
        });
    }
    signals::block_all();
    signals::start_alarm();
    watch(stress, seconds);
    print(&format!("stress: {seconds} s, {} threads: {}\n", stress.participants.len(), totals(stress)));
    ExitCode::SUCCESS
}

/// Looks every second, until the time is over and everybody has ended.
fn watch(stress: &Stress, seconds: u32) {
    let mut seen: Vec<(u64, u32)> = vec![(0, 0); stress.participants.len()];
    let mut alarms = (0, 0);
    let mut over = 0;
    for second in 0_u32.. {
        nap(Duration::from_secs(1));
        if second >= seconds {
            stress.stop.store(true, SeqCst);
            over += 1;
            let left: Vec<&str> = names(stress.participants.iter().filter(|p| !p.ended.load(SeqCst)));
            if left.is_empty() {
                return;
            }
            if over > PATIENCE {
                stress.give_up(&left);
            }
            continue;
        }
        for (participant, (count, looks)) in stress.participants.iter().zip(&mut seen) {
            let now = participant.count.load(SeqCst);
            *looks = if now == *count { *looks + 1 } else { 0 };
            *count = now;
        }
        let stuck = stress.participants.iter().zip(&seen).filter(|(_, (_, looks))| *looks >= PATIENCE);
        let stuck: Vec<&str> = names(stuck.map(|(participant, _)| participant));
        if !stuck.is_empty() {
            stress.give_up(&stuck);
        }
        let now = signals::alarms();
        alarms = if now == alarms.0 { (now, alarms.1 + 1) } else { (now, 0) };
        if alarms.1 >= PATIENCE {
            stress.give_up(&["the interval timer"]);
        }
    }
}

fn names<'a>(participants: impl Iterator<Item = &'a Participant>) -> Vec<&'a str> {
    participants.map(|participant| participant.name.as_str()).collect()
}

/// What each group has done.
fn totals(stress: &Stress) -> String {
    let mut totals: Vec<(String, u64)> = vec![("alarms".to_owned(), signals::alarms())];
    for participant in &stress.participants {
        let group = participant.name.split(' ').next().unwrap_or_default();
        let count = participant.count.load(SeqCst);
        match totals.iter_mut().find(|(name, _)| name == group) {
            Some((_, total)) => *total += count,
            None => totals.push((group.to_owned(), count)),
        }
    }
    totals.iter().map(|(name, total)| format!("{name} {total}")).collect::<Vec<_>>().join(", ")
}

/// Starts a thread with a small stack, which nobody joins.
fn start(name: &str, body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(128 << 10);
    if let Err(error) = thread.spawn(body) {
        fail(name, &format!("cannot start: {error}"));
    }
}

/// Sleeps, or not quite so long if a signal comes.
pub(crate) fn nap(time: Duration) {
    let time = libc::timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
    // SAFETY: the time is valid for the call.
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

/// The result of a call that must not fail.
#[track_caller]
pub(crate) fn must(what: &str, value: i64) -> i64 {
    if value < 0 {
        let error = std::io::Error::last_os_error();
        fail(what, &format!("{error}, at line {}", std::panic::Location::caller().line()));
    }
    value
}

/// Says what is wrong and ends the process.
pub(crate) fn fail(who: &str, what: &str) -> ! {
    print(&format!("FAIL stress: {who}: {what}\n"));
    // SAFETY: ends the process; there is nothing to be tidied up.
    unsafe { libc::_exit(1) }
}

fn print(text: &str) {
    // SAFETY: the text is as long as said. Nobody else's lock is needed, as standard output's would be.
    unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
}
