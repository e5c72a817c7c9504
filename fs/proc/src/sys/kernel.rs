//! `/proc/sys/kernel`. Linux: kernel/sysctl.c, `kern_table`; kernel/utsname_sysctl.c.

use super::ctl::{computed, dir, dir_of, fixed, flag, int, parse_string, stored, string, uint, vector};
use super::random::random_dir;
use crate::procfs::{ProcParams, current};
use crate::seq::put;
use fs_kernfs::Node;
use fs_vfs::TaskContext;
use sentry_auth::{CAP_LAST_CAP, NGROUPS_MAX, OVERFLOW_ID};
use sentry_kernel::{Kernel, PID_MAX, THREADS_MAX, UtsNamespace};
use sentry_uapi::Errno;
use sentry_uapi::errno::ESRCH;
use std::sync::Arc;

/// Longest host or domain name. Linux: `__NEW_UTS_LEN`.
const NEW_UTS_LEN: usize = 64;
/// Longest core pattern. Linux: `CORENAME_MAX_SIZE`.
const CORENAME_MAX_SIZE: usize = 127;

const SECCOMP_ACTIONS: &str = "kill_process kill_thread trap errno user_notif trace log allow";
const SECCOMP_LOGGED: &str = "kill_process kill_thread trap errno user_notif trace log";

fn uts(ctx: &dyn TaskContext) -> Result<Arc<UtsNamespace>, Errno> {
    Ok(current(ctx).ok_or(ESRCH)?.task().ns().uts.clone())
}

fn hostname() -> Node {
    stored(
        0o644,
        |ctx, out| {
            out.extend_from_slice(&uts(ctx)?.names().nodename);
            out.push(b'\n');
            Ok(())
        },
        |ctx, bytes| {
            uts(ctx)?.update(|names| names.nodename = parse_string(bytes, NEW_UTS_LEN));
            Ok(())
        },
    )
}

fn domainname() -> Node {
    stored(
        0o644,
        |ctx, out| {
            out.extend_from_slice(&uts(ctx)?.names().domainname);
            out.push(b'\n');
            Ok(())
        },
        |ctx, bytes| {
            uts(ctx)?.update(|names| names.domainname = parse_string(bytes, NEW_UTS_LEN));
            Ok(())
        },
    )
}

/// Linux: kernel/pid_namespace.c, `pid_ns_ctl_handler`.
fn ns_last_pid() -> Node {
    computed(|ctx, out| {
        put(out, format_args!("{}\n", current(ctx).ok_or(ESRCH)?.pid_ns().last_pid()));
        Ok(())
    })
}

pub(super) fn tree(kernel: &Kernel, params: &ProcParams) -> Node {
    let entries = [
        ("acct", vector(0o644, &[4, 2, 30])),
        ("arch", fixed("x86_64")),
        ("auto_msgmni", flag(0o644, false)),
        ("bootloader_type", fixed(0)),
        ("bootloader_version", fixed(0)),
        ("cad_pid", fixed(1)),
        ("cap_last_cap", fixed(CAP_LAST_CAP)),
        ("core_pattern", string(0o644, "core", CORENAME_MAX_SIZE)),
        ("core_pipe_limit", uint(0o644, 0)),
        ("core_uses_pid", flag(0o644, false)),
        ("ctrl-alt-del", flag(0o644, false)),
        ("dmesg_restrict", flag(0o644, true)),
        ("domainname", domainname()),
        ("hostname", hostname()),
        ("hung_task_timeout_secs", uint(0o644, 120)),
        ("io_delay_type", uint(0o644, 0)),
        ("keys", keys()),
        ("kptr_restrict", int(0o644, 2, 0..=2)),
        ("modules_disabled", fixed(1)),
        ("ngroups_max", fixed(NGROUPS_MAX)),
        ("ns_last_pid", ns_last_pid()),
        ("numa_balancing", fixed(0)),
        ("osrelease", fixed(&params.release)),
        ("ostype", fixed("Linux")),
        ("overflowgid", fixed(OVERFLOW_ID)),
        ("overflowuid", fixed(OVERFLOW_ID)),
        ("panic", int(0o644, 0, i32::MIN.into()..=i32::MAX.into())),
        ("panic_on_oops", uint(0o644, 0)),
        ("panic_on_warn", flag(0o644, false)),
        ("perf_event_max_sample_rate", uint(0o644, 100_000)),
        ("perf_event_mlock_kb", uint(0o644, 516)),
        ("perf_event_paranoid", int(0o644, 3, -1..=i32::MAX.into())),
        ("pid_max", fixed(PID_MAX)),
        ("poweroff_cmd", string(0o644, "/sbin/poweroff", 255)),
        ("print-fatal-signals", uint(0o644, 0)),
        ("printk", vector(0o644, &[4, 4, 1, 7])),
        ("printk_devkmsg", fixed("off")),
        ("printk_ratelimit", uint(0o644, 5)),
        ("printk_ratelimit_burst", uint(0o644, 10)),
        ("pty", dir([("max", fixed(4096)), ("reserve", uint(0o644, 1024))])),
        ("random", random_dir(kernel)),
        ("randomize_va_space", fixed(2)),
        ("real-root-dev", uint(0o644, 0)),
        ("sched_autogroup_enabled", flag(0o644, false)),
        ("sched_cfs_bandwidth_slice_us", uint(0o644, 5000)),
        ("sched_child_runs_first", uint(0o644, 0)),
        ("sched_deadline_period_max_us", uint(0o644, 4_194_304)),
        ("sched_deadline_period_min_us", uint(0o644, 100)),
        ("sched_rr_timeslice_ms", uint(0o644, 100)),
        ("sched_rt_period_us", uint(0o644, 1_000_000)),
        ("sched_rt_runtime_us", int(0o644, 950_000, -1..=i32::MAX.into())),
        (
            "seccomp",
            dir([("actions_avail", fixed(SECCOMP_ACTIONS)), ("actions_logged", fixed(SECCOMP_LOGGED))]),
        ),
        ("sysctl_writes_strict", fixed(1)),
        ("sysrq", uint(0o644, 0)),
        ("tainted", fixed(0)),
        ("threads-max", fixed(THREADS_MAX)),
        ("timer_migration", flag(0o644, true)),
        ("unprivileged_bpf_disabled", fixed(2)),
        ("unprivileged_userns_clone", fixed(1)),
        ("version", fixed(&params.version)),
    ];
    dir_of(entries.into_iter().chain(super::ipc::entries()))
}

fn keys() -> Node {
    dir([
        ("gc_delay", uint(0o644, 300)),
        ("maxbytes", uint(0o644, 20_000)),
        ("maxkeys", uint(0o644, 200)),
        ("persistent_keyring_expiry", uint(0o644, 259_200)),
        ("root_maxbytes", uint(0o644, 25_000_000)),
        ("root_maxkeys", uint(0o644, 1_000_000)),
    ])
}
