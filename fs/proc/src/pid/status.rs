//! `/proc/[pid]/status`. Linux: fs/proc/array.c, `proc_pid_status`; fs/proc/task_mmu.c, `task_mem`.

use crate::pid::Subject;
use crate::pid::entry::View;
use crate::pid::ids::Relations;
use crate::seq::{bitmap, bitmap_list, escape, put};
use sentry_auth::{CapSet, Cred, UserNamespace};
use sentry_kernel::{Pid, PidNamespace};
use sentry_mm::{MemoryManager, PAGE_SIZE};
use sentry_uapi::Errno;
use sentry_uapi::resource::RLIMIT_SIGPENDING;
use sentry_uapi::sigaction::{SIG_DFL, SIG_IGN};
use sentry_uapi::signal::{NSIG, SigSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) fn show(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let who = &view.who;
    out.extend_from_slice(b"Name:\t");
    escape(out, &who.comm(), b"\n\\");
    out.push(b'\n');
    let relations = who.relations(view.pid_ns());
    show_state(view, &relations, out);
    if let Some(mm) = who.mm() {
        show_mem(&mm, out);
        put(out, format_args!("CoreDumping:\t0\nTHP_enabled:\t0\n"));
    }
    show_signals(who, out);
    show_caps(&who.cred(), out);
    show_security(who, out);
    show_placement(who, out);
    let switches = who.task().map_or(0, |t| t.usage().nvcsw);
    put(out, format_args!("voluntary_ctxt_switches:\t{switches}\nnonvoluntary_ctxt_switches:\t0\n"));
    Ok(())
}

/// What a state letter stands for. Linux: `task_state_array`.
fn state_name(state: char) -> &'static str {
    match state {
        'R' => "R (running)",
        'S' => "S (sleeping)",
        'D' => "D (disk sleep)",
        'T' => "T (stopped)",
        't' => "t (tracing stop)",
        'Z' => "Z (zombie)",
        _ => "X (dead)",
    }
}

/// Linux: `task_state`.
fn show_state(view: &View<'_>, relations: &Relations, out: &mut Vec<u8>) {
    let who = &view.who;
    let ns = view.pid_ns();
    let user_ns = view.user_ns();
    let cred = who.cred();
    if let Some(task) = who.task() {
        put(out, format_args!("Umask:\t{:04o}\n", task.fs().umask()));
    }
    let fd_size = who.task().and_then(|t| t.files().ok()).map_or(0, |f| f.size());
    put(
        out,
        format_args!(
            "State:\t{}\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\n",
            state_name(who.state()),
            who.group.pid.nr_in(ns),
            who.pid.nr_in(ns),
            relations.ppid,
        ),
    );
    show_ids(&cred, user_ns, out);
    put(out, format_args!("FDSize:\t{fd_size}\nGroups:\t"));
    for (i, gid) in cred.groups.as_slice().iter().enumerate() {
        put(out, format_args!("{}{}", if i == 0 { "" } else { " " }, user_ns.from_kgid_munged(*gid)));
    }
    // The blank is Linux's, and programs have come to expect it.
    out.push(b' ');
    let levels = who.pid.numbers_from(ns).len();
    show_numbers("NStgid", Some(&who.group.pid), ns, levels, out);
    show_numbers("NSpid", Some(&who.pid), ns, levels, out);
    show_numbers("NSpgid", relations.pgrp.as_ref(), ns, levels, out);
    show_numbers("NSsid", relations.session.as_ref(), ns, levels, out);
    out.push(b'\n');
}

fn show_ids(cred: &Cred, ns: &UserNamespace, out: &mut Vec<u8>) {
    let uid = |id| ns.from_kuid_munged(id);
    let gid = |id| ns.from_kgid_munged(id);
    put(
        out,
        format_args!(
            "Uid:\t{}\t{}\t{}\t{}\n",
            uid(cred.uid),
            uid(cred.euid),
            uid(cred.suid),
            uid(cred.fsuid)
        ),
    );
    put(
        out,
        format_args!(
            "Gid:\t{}\t{}\t{}\t{}\n",
            gid(cred.gid),
            gid(cred.egid),
            gid(cred.sgid),
            gid(cred.fsgid)
        ),
    );
}

/// The numbers of an id in as many namespaces, from `ns` on downwards, as the process itself has one in.
fn show_numbers(
    label: &str,
    pid: Option<&Arc<Pid>>,
    ns: &Arc<PidNamespace>,
    levels: usize,
    out: &mut Vec<u8>,
) {
    put(out, format_args!("\n{label}:"));
    let numbers = pid.map(|p| p.numbers_from(ns)).unwrap_or_default();
    for level in 0..levels {
        put(out, format_args!("\t{}", numbers.get(level).copied().unwrap_or(0)));
    }
}

/// The executable part of the program file, and that of libraries, in bytes. Linux: `task_mem`.
pub(crate) fn text_and_lib(mm: &MemoryManager, exec: u64) -> (u64, u64) {
    let (start, end) = mm.info().code;
    let text = end.next_multiple_of(PAGE_SIZE).saturating_sub(start & !(PAGE_SIZE - 1)).min(exec);
    (text, exec - text)
}

fn show_mem(mm: &MemoryManager, out: &mut Vec<u8>) {
    let usage = mm.usage();
    let (text, lib) = text_and_lib(mm, usage.exec);
    let of_files = usage.resident_file;
    let anon = usage.resident.saturating_sub(of_files).saturating_sub(usage.resident_shared);
    // Each page-table page maps 2 MiB; the host has them, the guest is shown what its pages need.
    let page_tables = usage.resident.div_ceil(2 << 20).saturating_add(3) * PAGE_SIZE;
    let rows = [
        ("VmPeak", usage.peak),
        ("VmSize", usage.total),
        ("VmLck", usage.locked),
        ("VmPin", 0),
        ("VmHWM", usage.resident),
        ("VmRSS", usage.resident),
        ("RssAnon", anon),
        ("RssFile", of_files),
        ("RssShmem", usage.resident_shared),
        ("VmData", usage.data),
        ("VmStk", usage.stack),
        ("VmExe", text),
        ("VmLib", lib),
        ("VmPTE", page_tables),
        ("VmSwap", 0),
        ("HugetlbPages", 0),
    ];
    for (label, bytes) in rows {
        put(out, format_args!("{label}:\t{:>8} kB\n", bytes >> 10));
    }
}

/// The signals a process ignores and those it handles. Linux: `collect_sigign_sigcatch`.
pub(crate) fn ignored_and_caught(who: &Subject) -> (SigSet, SigSet) {
    let sighand = who.group.sighand();
    let (mut ignored, mut caught) = (SigSet::EMPTY, SigSet::EMPTY);
    for signo in 1..=NSIG {
        match sighand.get(signo).handler {
            SIG_IGN => ignored.add(signo),
            SIG_DFL => {}
            _ => caught.add(signo),
        }
    }
    (ignored, caught)
}

/// Linux: `task_sig`.
fn show_signals(who: &Subject, out: &mut Vec<u8>) {
    let pending = who.task().map_or(SigSet::EMPTY, |t| t.pending_set());
    let blocked = who.task().map_or(SigSet::EMPTY, |t| t.blocked());
    let shared = who.group.shared_pending_set();
    let (ignored, caught) = ignored_and_caught(who);
    let queued = who.group.shared_pending_len();
    let limit = who.group.rlimit(RLIMIT_SIGPENDING).cur;
    put(out, format_args!("Threads:\t{}\nSigQ:\t{queued}/{limit}\n", who.num_threads()));
    for (label, set) in [
        ("SigPnd", pending),
        ("ShdPnd", shared),
        ("SigBlk", blocked),
        ("SigIgn", ignored),
        ("SigCgt", caught),
    ] {
        put(out, format_args!("{label}:\t{:016x}\n", set.0));
    }
}

fn show_caps(cred: &Cred, out: &mut Vec<u8>) {
    let rows: [(&str, CapSet); 5] = [
        ("CapInh", cred.cap_inheritable),
        ("CapPrm", cred.cap_permitted),
        ("CapEff", cred.cap_effective),
        ("CapBnd", cred.cap_bset),
        ("CapAmb", cred.cap_ambient),
    ];
    for (label, set) in rows {
        put(out, format_args!("{label}:\t{:016x}\n", set.bits()));
    }
}

/// Linux: `task_seccomp`. Speculation is the host's affair.
fn show_security(who: &Subject, out: &mut Vec<u8>) {
    let no_new_privs = who.task().is_some_and(|t| t.no_new_privs.load(Ordering::Relaxed));
    put(
        out,
        format_args!(
            "NoNewPrivs:\t{}\nSeccomp:\t0\nSeccomp_filters:\t0\n\
             Speculation_Store_Bypass:\tvulnerable\nSpeculationIndirectBranch:\talways enabled\n",
            u8::from(no_new_privs),
        ),
    );
}

fn show_placement(who: &Subject, out: &mut Vec<u8>) {
    let cpus = who.kernel.cpus;
    let affinity = match who.task() {
        Some(task) => task.sched.lock().affinity.clone(),
        None => sentry_kernel::full_affinity(cpus),
    };
    put(
        out,
        format_args!(
            "Cpus_allowed:\t{}\nCpus_allowed_list:\t{}\nMems_allowed:\t1\nMems_allowed_list:\t0\n",
            bitmap(&affinity, cpus),
            bitmap_list(&affinity, cpus),
        ),
    );
}
