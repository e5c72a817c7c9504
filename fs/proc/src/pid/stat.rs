//! `/proc/[pid]/{stat,statm,schedstat,sched}`. Linux: fs/proc/array.c, `do_task_stat`, `proc_pid_statm`.

use crate::pid::entry::View;
use crate::pid::status::{ignored_and_caught, text_and_lib};
use crate::procfs::timens_boottime;
use crate::seq::{escape, put};
use sentry_kernel::{Usage, nsec_to_clock_t};
use sentry_mm::PAGE_SIZE;
use sentry_uapi::Errno;
use sentry_uapi::resource::RLIMIT_RSS;
use sentry_uapi::signal::SigSet;
use sentry_uapi::stat::{major, minor};

/// Set on every task of which it is shown: randomised layout. Linux: include/linux/sched.h, `PF_RANDOMIZE`.
const PF_RANDOMIZE: u32 = 0x0040_0000;
/// The task is on its way out. Linux: `PF_EXITING`.
const PF_EXITING: u32 = 0x4;

/// Priority of nice 0, as `stat` shows it: 20 + nice. Linux: `task_prio`.
const DEFAULT_PRIO: i32 = 20;
/// SCHED_FIFO and SCHED_RR.
const REALTIME: [u32; 2] = [1, 2];

/// A device number as old programs take it. Linux: `new_encode_dev`.
fn new_encode_dev(dev: u64) -> u32 {
    let (major, minor) = (major(dev), minor(dev));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn low_signals(set: SigSet) -> u64 {
    set.0 & 0x7fff_ffff
}

pub(crate) fn show(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let who = &view.who;
    let ns = view.pid_ns();
    let task = who.task();
    let permitted = view.may_access();
    let mm = who.mm();
    let relations = who.relations(ns);
    let threads = who.num_threads();
    let usage = match task {
        Some(task) if !view.at.whole => task.usage(),
        _ => who.group.usage(),
    };
    let children = who.group.children_usage();
    let (ignored, caught) = ignored_and_caught(who);
    let (policy, rt_priority, nice) = task.map_or((0, 0, 0), |t| {
        let s = t.sched.lock();
        (s.policy, s.priority, s.nice)
    });
    let priority = if REALTIME.contains(&policy) { -1 - rt_priority } else { DEFAULT_PRIO + nice };
    let start = task.map_or(who.group.start_time, |t| t.start_time).saturating_add(timens_boottime(view.ctx));
    let nr = |pid: &Option<std::sync::Arc<sentry_kernel::Pid>>| pid.as_ref().map_or(0, |p| p.nr_in(ns));
    let (tty_nr, tty_pgrp) = match &relations.tty {
        Some((dev, pgrp)) => (new_encode_dev(*dev), i64::from(nr(pgrp))),
        None => (0, -1),
    };
    put(out, format_args!("{} (", who.pid.nr_in(ns)));
    // Unlike in status, nothing is escaped but a newline and a backslash.
    escape(out, &who.comm(), b"");
    let flags = PF_RANDOMIZE | if task.is_none_or(|t| t.is_exiting()) { PF_EXITING } else { 0 };
    put(
        out,
        format_args!(
            ") {} {} {} {} {tty_nr} {tty_pgrp} {flags} {} {} 0 0 ",
            who.state(),
            relations.ppid,
            nr(&relations.pgrp),
            nr(&relations.session),
            usage.minflt.max(mm.as_ref().map_or(0, |mm| mm.fault_count())),
            children.minflt,
        ),
    );
    put_times(out, &usage, &children);
    put(out, format_args!("{priority} {nice} {threads} 0 {} ", since_boot(view, start)));
    let memory = mm.as_ref().map(|mm| (mm.usage(), mm.info()));
    let size = memory.as_ref().map_or((0, 0), |(u, _)| (u.total, u.resident / PAGE_SIZE));
    let limit = who.group.rlimit(RLIMIT_RSS).cur;
    let code = match &memory {
        Some((_, info)) if permitted => (info.code.0, info.code.1, info.start_stack),
        Some(_) => (1, 1, 0),
        None => (0, 0, 0),
    };
    put(out, format_args!("{} {} {limit} {} {} {} 0 0 ", size.0, size.1, code.0, code.1, code.2));
    let pending = task.map_or(SigSet::EMPTY, |t| t.pending_set());
    let blocked = task.map_or(SigSet::EMPTY, |t| t.blocked());
    for set in [pending, blocked, ignored, caught] {
        put(out, format_args!("{} ", low_signals(set)));
    }
    let waits = permitted && (!view.at.whole || threads < 2) && who.state() != 'R';
    let exit_signal = if task.is_none_or(|t| t.is_leader()) { relations.exit_signal } else { -1 };
    put(out, format_args!("{} 0 0 {exit_signal} 0 {rt_priority} {policy} 0 0 0 ", u8::from(waits)));
    match (&memory, &mm) {
        (Some((_, info)), Some(mm)) if permitted => {
            let (brk, _) = mm.heap();
            let (data, args, env) = (info.data, info.args, info.env);
            put(out, format_args!("{} {} {brk} {} {} {} {} ", data.0, data.1, args.0, args.1, env.0, env.1));
        }
        _ => out.extend_from_slice(b"0 0 0 0 0 0 0 "),
    }
    let reader_may_know = permitted || (task.is_none() && reader_owns(view));
    put(out, format_args!("{}\n", if reader_may_know { relations.exit_code } else { 0 }));
    Ok(())
}

/// Whether the reader could have traced the process while it was there.
fn reader_owns(view: &View<'_>) -> bool {
    let (reader, dead) = (view.ctx.cred(), view.who.cred());
    (reader.fsuid == dead.uid && reader.fsgid == dead.gid)
        || sentry_auth::ns_capable(&reader, &dead.user_ns, sentry_auth::CapSet::SYS_PTRACE)
}

fn put_times(out: &mut Vec<u8>, usage: &Usage, children: &Usage) {
    for nanos in [usage.utime, usage.stime, children.utime, children.stime] {
        put(out, format_args!("{} ", nsec_to_clock_t(nanos)));
    }
}

/// A start time in clock ticks since the kernel's boot.
fn since_boot(view: &View<'_>, start: i64) -> i64 {
    let nanos = start.saturating_sub(view.who.kernel.clocks.boot());
    nsec_to_clock_t(u64::try_from(nanos).unwrap_or(0))
}

/// `/proc/[pid]/statm`, in pages.
pub(crate) fn statm(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let Some(mm) = view.who.mm() else {
        out.extend_from_slice(b"0 0 0 0 0 0 0\n");
        return Ok(());
    };
    let usage = mm.usage();
    let (text, _) = text_and_lib(&mm, usage.exec);
    let shared = usage.resident_file + usage.resident_shared;
    let [size, resident, shared, text, data] =
        [usage.total, usage.resident, shared, text, usage.data + usage.stack].map(|bytes| bytes / PAGE_SIZE);
    put(out, format_args!("{size} {resident} {shared} {text} 0 {data} 0\n"));
    Ok(())
}

/// `/proc/[pid]/schedstat`: time on a processor, time waiting for one, and how often it got one. Linux:
/// `proc_pid_schedstat`.
pub(crate) fn schedstat(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let usage = view.who.task().map(|t| t.usage()).unwrap_or_default();
    put(out, format_args!("{} 0 {}\n", usage.utime + usage.stime, usage.nvcsw));
    Ok(())
}

/// `/proc/[pid]/sched`. Linux: kernel/sched/debug.c, `proc_sched_show_task`; what the host's scheduler alone knows is left
/// out.
pub(crate) fn sched(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let who = &view.who;
    let usage = who.task().map(|t| t.usage()).unwrap_or_default();
    let policy = who.task().map_or(0, |t| t.sched.lock().policy);
    let nice = who.task().map_or(0, |t| t.sched.lock().nice);
    escape(out, &who.comm(), b"");
    put(out, format_args!(" ({}, #threads: {})\n", who.pid.nr_in(view.pid_ns()), who.num_threads()));
    put(out, format_args!("{:-<67}\n", ""));
    let run = usage.utime + usage.stime;
    put(out, format_args!("{:<45}:{:>14}.{:06}\n", "se.sum_exec_runtime", run / 1_000_000, run % 1_000_000));
    for (label, value) in [
        ("nr_switches", i64::try_from(usage.nvcsw).unwrap_or(i64::MAX)),
        ("nr_voluntary_switches", i64::try_from(usage.nvcsw).unwrap_or(i64::MAX)),
        ("nr_involuntary_switches", 0),
        ("policy", i64::from(policy)),
        ("prio", i64::from(100 + DEFAULT_PRIO + nice)),
    ] {
        put(out, format_args!("{label:<45}:{value:>21}\n"));
    }
    Ok(())
}
