//! `--strace`: each call decoded like strace(1), from the same rows that carry it out.

use crate::arg::ArgKind;
use crate::table::row;
use sentry_kernel::{CurrentTask, SyscallTracer};
use sentry_uapi::Errno;
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::sched::CloneFlags;
use sentry_uapi::signal::{SigInfo, SigSet, signal_name};
use sentry_uapi::time::Timespec;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// Longest part of a string or buffer that is shown. strace's default.
const MAX_STRING: usize = 32;
/// Most strings of an array that are shown.
const MAX_STRINGS: usize = 32;

/// Where lines go: by the process (its number in the container).
pub trait TraceSink: Send + Sync {
    /// Writes a whole line, with its end.
    fn line(&self, tgid: u32, line: &str);
}

/// Prints system calls.
pub struct Strace {
    sink: Box<dyn TraceSink>,
    /// What was known of a call when it began; thread by thread.
    begun: Mutex<HashMap<u32, String>>,
}

impl Strace {
    /// Prints to `sink`.
    pub fn new(sink: Box<dyn TraceSink>) -> Strace {
        Strace { sink, begun: Mutex::new(HashMap::new()) }
    }

    fn emit(&self, task: &CurrentTask, text: &str) {
        let ns = task.pid_ns();
        let tid = task.pid().nr_in(&ns);
        self.sink.line(task.group.pid.nr_in(&ns), &format!("[pid {tid:>5}] {text}\n"));
    }
}

impl SyscallTracer for Strace {
    fn enter(&self, task: &CurrentTask, nr: u64, args: [u64; 6]) {
        // Arguments a call may overwrite, and those of calls that do not come back, are read now.
        let text = call_text(task, nr, args, None);
        if matches!(row(nr).map(|r| r.name), Some("exit" | "exit_group" | "rt_sigreturn")) {
            self.emit(task, &format!("{text} = ?"));
        }
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(task.tid(), text);
    }

    fn exit(&self, task: &CurrentTask, nr: u64, args: [u64; 6], result: Option<Result<u64, Errno>>) {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&task.tid());
        let row = row(nr);
        let name = row.map_or("", |r| r.name);
        match result {
            None if name == "execve" || name == "execveat" => {
                self.emit(task, &format!("{} = 0", begun.unwrap_or_default()));
            }
            None => {}
            Some(result) => {
                let fills = row.is_some_and(|r| r.args.iter().any(|(_, k)| *k == ArgKind::BufOut));
                let text = match (fills, begun, result) {
                    (true, _, Ok(n)) => call_text(task, nr, args, Some(n)),
                    (_, Some(text), _) => text,
                    _ => call_text(task, nr, args, None),
                };
                self.emit(task, &format!("{text} = {}", result_text(name, result)));
            }
        }
    }

    fn signal(&self, task: &CurrentTask, info: &SigInfo) {
        let name = signal_text(info.si_signo);
        self.emit(task, &format!("--- {name} {{si_signo={name}, si_code={}}} ---", info.si_code));
    }

    fn task_exit(&self, task: &CurrentTask, status: i32) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&task.tid());
        let text = match status & 0x7f {
            0 => format!("+++ exited with {} +++", (status >> 8) & 0xff),
            signo => format!("+++ killed by {} +++", signal_text(signo)),
        };
        self.emit(task, &text);
    }
}

fn signal_text(signo: i32) -> String {
    signal_name(signo).map_or_else(|| format!("SIGRT_{}", signo - 32), str::to_owned)
}

fn result_text(name: &str, result: Result<u64, Errno>) -> String {
    match result {
        Ok(value) if matches!(name, "mmap" | "brk" | "mremap") => format!("{value:#x}"),
        Ok(value) => value.cast_signed().to_string(),
        Err(e) => match e.raw() {
            512 => "? ERESTARTSYS (To be restarted if SA_RESTART is set)".into(),
            513 => "? ERESTARTNOINTR (To be restarted)".into(),
            514 => "? ERESTARTNOHAND (To be restarted if no handler)".into(),
            516 => "? ERESTART_RESTARTBLOCK (Interrupted by signal)".into(),
            _ => format!("-1 {} ({})", e.name(), e.message()),
        },
    }
}

fn call_text(task: &CurrentTask, nr: u64, args: [u64; 6], filled: Option<u64>) -> String {
    let Some(row) = row(nr) else {
        return format!(
            "syscall_{nr:#x}({:#x}, {:#x}, {:#x}, {:#x}, {:#x}, {:#x})",
            args[0], args[1], args[2], args[3], args[4], args[5]
        );
    };
    let mut out = format!("{}(", row.name);
    for (i, ((name, kind), raw)) in row.args.iter().zip(args).enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        let next = args.get(i + 1).copied().unwrap_or(0);
        argument(&mut out, task, name, *kind, raw, next, filled);
    }
    out.push(')');
    out
}

fn argument(
    out: &mut String,
    task: &CurrentTask,
    name: &str,
    kind: ArgKind,
    raw: u64,
    next: u64,
    filled: Option<u64>,
) {
    let low = raw & 0xffff_ffff;
    let signed32 = u32::try_from(low).unwrap_or(0).cast_signed();
    let _ = match kind {
        ArgKind::DirFd if signed32 == sentry_uapi::fcntl::AT_FDCWD => write!(out, "AT_FDCWD"),
        ArgKind::Signed | ArgKind::Fd | ArgKind::DirFd => write!(out, "{signed32}"),
        ArgKind::Unsigned => write!(out, "{raw}"),
        ArgKind::Hex if raw == 0 && name != "flags" => write!(out, "NULL"),
        ArgKind::Hex => write!(out, "{raw:#x}"),
        ArgKind::Octal => write!(out, "{low:#o}"),
        ArgKind::Path => {
            string(out, task, raw);
            Ok(())
        }
        ArgKind::BufIn => {
            bytes(out, task, raw, next);
            Ok(())
        }
        ArgKind::BufOut => match filled {
            Some(n) => {
                bytes(out, task, raw, n.min(next));
                Ok(())
            }
            None => write!(out, "{raw:#x}"),
        },
        ArgKind::StringArray => {
            strings(out, task, raw);
            Ok(())
        }
        ArgKind::OpenFlags => write!(out, "{}", open_flags(u32::try_from(low).unwrap_or(0))),
        ArgKind::CloneFlags => write!(out, "{}", clone_flags(raw)),
        ArgKind::Signal => match signal_name(signed32) {
            Some(name) => write!(out, "{name}"),
            None => write!(out, "{signed32}"),
        },
        ArgKind::Prot => write!(out, "{}", flags(raw, PROT, "PROT_NONE")),
        ArgKind::MmapFlags => write!(out, "{}", flags(raw, MAP, "0")),
        ArgKind::Timespec => timespec(out, task, raw),
        ArgKind::SigSet => sigset(out, task, raw),
        ArgKind::FutexOp => write!(out, "{}", futex_op(low)),
        ArgKind::Whence => match low {
            0 => write!(out, "SEEK_SET"),
            1 => write!(out, "SEEK_CUR"),
            2 => write!(out, "SEEK_END"),
            3 => write!(out, "SEEK_DATA"),
            4 => write!(out, "SEEK_HOLE"),
            n => write!(out, "{n}"),
        },
    };
}

const PROT: &[(u64, &str)] =
    &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC"), (0x0100_0000, "PROT_GROWSDOWN")];
const MAP: &[(u64, &str)] = &[
    (1, "MAP_SHARED"),
    (2, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x40, "MAP_32BIT"),
    (0x100, "MAP_GROWSDOWN"),
    (0x800, "MAP_DENYWRITE"),
    (0x2000, "MAP_LOCKED"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x1_0000, "MAP_NONBLOCK"),
    (0x2_0000, "MAP_STACK"),
    (0x4_0000, "MAP_HUGETLB"),
    (0x10_0000, "MAP_FIXED_NOREPLACE"),
];

fn flags(bits: u64, names: &[(u64, &str)], none: &str) -> String {
    let mut left = bits;
    let mut parts: Vec<String> = Vec::new();
    for (bit, name) in names {
        if left & bit == *bit {
            parts.push((*name).to_owned());
            left &= !bit;
        }
    }
    if left != 0 {
        parts.push(format!("{left:#x}"));
    }
    if parts.is_empty() { none.to_owned() } else { parts.join("|") }
}

fn open_flags(bits: u32) -> String {
    let access = match bits & 3 {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        2 => "O_RDWR",
        _ => "O_ACCMODE",
    };
    let mut out = access.to_owned();
    let rest = OpenFlags::from_bits_retain(bits & !3);
    for (name, _) in rest.iter_names() {
        let _ = write!(out, "|O_{name}");
    }
    out
}

fn clone_flags(bits: u64) -> String {
    let mut parts: Vec<String> = CloneFlags::from_bits_truncate(bits & !0xff)
        .iter_names()
        .map(|(n, _)| format!("CLONE_{n}"))
        .collect();
    let signal = i32::try_from(bits & 0xff).unwrap_or(0);
    if signal != 0 {
        parts.push(signal_text(signal));
    }
    if parts.is_empty() { "0".into() } else { parts.join("|") }
}

fn futex_op(op: u64) -> String {
    const NAMES: [&str; 14] = [
        "FUTEX_WAIT",
        "FUTEX_WAKE",
        "FUTEX_FD",
        "FUTEX_REQUEUE",
        "FUTEX_CMP_REQUEUE",
        "FUTEX_WAKE_OP",
        "FUTEX_LOCK_PI",
        "FUTEX_UNLOCK_PI",
        "FUTEX_TRYLOCK_PI",
        "FUTEX_WAIT_BITSET",
        "FUTEX_WAKE_BITSET",
        "FUTEX_WAIT_REQUEUE_PI",
        "FUTEX_CMP_REQUEUE_PI",
        "FUTEX_LOCK_PI2",
    ];
    let name = usize::try_from(op & 127).ok().and_then(|i| NAMES.get(i)).copied().unwrap_or("FUTEX_?");
    let private = if op & 128 != 0 { "_PRIVATE" } else { "" };
    let clock = if op & 256 != 0 { "|FUTEX_CLOCK_REALTIME" } else { "" };
    format!("{name}{private}{clock}")
}

fn timespec(out: &mut String, task: &CurrentTask, addr: u64) -> std::fmt::Result {
    match task.user().and_then(|mm| mm.read_obj::<Timespec>(addr)) {
        _ if addr == 0 => write!(out, "NULL"),
        Ok(ts) => write!(out, "{{tv_sec={}, tv_nsec={}}}", ts.tv_sec, ts.tv_nsec),
        Err(_) => write!(out, "{addr:#x}"),
    }
}

fn sigset(out: &mut String, task: &CurrentTask, addr: u64) -> std::fmt::Result {
    match task.user().and_then(|mm| mm.read_obj::<SigSet>(addr)) {
        _ if addr == 0 => write!(out, "NULL"),
        Ok(set) => {
            let inverted = set.0.count_ones() > 32;
            let shown = if inverted { !set.0 } else { set.0 };
            let names: Vec<String> = (1..=64)
                .filter(|s| SigSet(shown).contains(*s))
                .map(|s| signal_text(s).trim_start_matches("SIG").to_owned())
                .collect();
            write!(out, "{}[{}]", if inverted { "~" } else { "" }, names.join(" "))
        }
        Err(_) => write!(out, "{addr:#x}"),
    }
}

fn quoted(out: &mut String, text: &[u8], cut: bool) {
    out.push('"');
    for b in text {
        let _ = match b {
            b'"' => write!(out, "\\\""),
            b'\\' => write!(out, "\\\\"),
            b'\n' => write!(out, "\\n"),
            b'\t' => write!(out, "\\t"),
            b'\r' => write!(out, "\\r"),
            0x20..=0x7e => write!(out, "{}", char::from(*b)),
            b => write!(out, "\\{b:o}"),
        };
    }
    out.push_str(if cut { "\"..." } else { "\"" });
}

fn string(out: &mut String, task: &CurrentTask, addr: u64) {
    if addr == 0 {
        out.push_str("NULL");
        return;
    }
    match task.user().and_then(|mm| mm.read_cstring(addr, sentry_uapi::fcntl::PATH_MAX)) {
        Ok(text) => quoted(out, &text, false),
        Err(_) => {
            let _ = write!(out, "{addr:#x}");
        }
    }
}

fn bytes(out: &mut String, task: &CurrentTask, addr: u64, len: u64) {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let mut buf = vec![0; len.min(MAX_STRING)];
    match task.user().and_then(|mm| mm.copy_from_user(addr, &mut buf)) {
        Ok(()) => quoted(out, &buf, len > MAX_STRING),
        Err(_) => {
            let _ = write!(out, "{addr:#x}");
        }
    }
}

fn strings(out: &mut String, task: &CurrentTask, addr: u64) {
    if addr == 0 {
        out.push_str("NULL");
        return;
    }
    let Ok(mm) = task.user() else { return };
    out.push('[');
    for i in 0..=MAX_STRINGS {
        let Ok(pointer) = mm.read_obj::<u64>(addr.wrapping_add(8 * i as u64)) else { break };
        if pointer == 0 {
            break;
        }
        if i > 0 {
            out.push_str(", ");
        }
        if i == MAX_STRINGS {
            out.push_str("...");
            break;
        }
        string(out, task, pointer);
    }
    out.push(']');
}
