//! `/proc/sys`.

use super::{read, with_proc, write};
use sentry_uapi::errno::{EACCES, EINVAL};
use std::sync::atomic::Ordering;

#[test]
fn values_are_those_of_the_kernel() {
    with_proc(|task| {
        let get = |name: &str| read(task, &format!("/proc/sys/{name}")).unwrap_or_default();
        assert_eq!(get("kernel/ostype"), "Linux\n");
        assert_eq!(get("kernel/osrelease"), "6.1.0-test\n");
        assert_eq!(get("kernel/version"), "#1 SMP test\n");
        assert_eq!(get("kernel/cap_last_cap"), "40\n");
        assert_eq!(get("kernel/random/boot_id"), "07070707-0707-4707-8707-070707070707\n");
        assert_eq!(get("kernel/random/uuid").len(), 37);
        assert_eq!(get("kernel/sem"), "32000\t1024000000\t500\t32000\n");
        assert_eq!(get("kernel/shmmax"), "18446744073692774399\n");
        assert_eq!(get("fs/pipe-max-size"), "1048576\n");
        assert_eq!(get("net/ipv4/ip_local_port_range"), "32768\t60999\n");
        assert_eq!(get("net/core/somaxconn"), "4096\n");
        assert_eq!(get("vm/overcommit_memory"), "1\n");
    });
}

#[test]
fn what_is_written_is_heeded() {
    with_proc(|task| {
        let set = |name: &str, text: &str| write(task, &format!("/proc/sys/{name}"), text);
        let get = |name: &str| read(task, &format!("/proc/sys/{name}")).unwrap_or_default();
        assert_eq!(set("kernel/hostname", "other\n"), Ok(6));
        assert_eq!(task.task().ns().uts.names().nodename, b"other");
        assert_eq!(get("kernel/hostname"), "other\n");
        assert_eq!(set("fs/pipe-max-size", "70000"), Ok(5));
        assert_eq!(task.kernel().vfs.pipes.max_size.load(Ordering::Relaxed), 131_072);
        assert_eq!(set("net/ipv4/ip_local_port_range", "40000 50000"), Ok(11));
        assert_eq!(task.task().ns().net.sysctl.local_port_range(), 40000..=50000);
        assert_eq!(set("net/ipv4/ip_local_port_range", "50000 40000"), Err(EINVAL));
        assert_eq!(set("net/ipv4/ip_unprivileged_port_start", "0"), Ok(1));
        assert_eq!(set("net/ipv4/ping_group_range", "0 2147483647"), Ok(12));
        assert_eq!(get("net/ipv4/ping_group_range"), "0\t2147483647\n");
        assert_eq!(set("vm/swappiness", "201"), Err(EINVAL));
        assert_eq!(set("vm/swappiness", "10\n"), Ok(3));
        assert_eq!(get("vm/swappiness"), "10\n");
        assert_eq!(set("vm/drop_caches", "3"), Ok(1));
        assert_eq!(set("kernel/pid_max", "5"), Err(EACCES));
    });
}
