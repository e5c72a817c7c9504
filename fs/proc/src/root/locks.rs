//! `/proc/locks`. Linux: fs/locks.c, `lock_get_status`.

use crate::procfs::Instance;
use crate::seq::put;
use fs_kernfs::Node;
use fs_kernfs::simple::seq;
use fs_vfs::{LockClass, LockInfo, LockKind, locks_show};
use sentry_uapi::stat::{major, minor};
use std::sync::Arc;

pub(super) fn node(fs: &Arc<Instance>) -> Node {
    let fs = fs.clone();
    seq(0o444, move |ctx, out| {
        let mut number = 0;
        for lock in locks_show(ctx.vfs()) {
            // Those who wait are shown below the lock they wait for, under its number.
            if !lock.waiting || number == 0 {
                number += 1;
            }
            let pid = match lock.pid {
                None => -1,
                Some(id) => {
                    fs.shared.kernel()?.root_pid_ns.find(id).map_or(0, |p| i64::from(p.nr_in(&fs.pid_ns)))
                }
            };
            show_lock(&lock, number, pid, out);
        }
        Ok(())
    })
}

fn show_lock(lock: &LockInfo, number: u64, pid: i64, out: &mut Vec<u8>) {
    let arrow = if lock.waiting { "-> " } else { "" };
    let class = match lock.class {
        LockClass::Posix => "POSIX  ADVISORY  ",
        LockClass::Ofd => "OFDLCK ADVISORY  ",
        LockClass::Flock => "FLOCK  ADVISORY  ",
    };
    let kind = if lock.kind == LockKind::Write { "WRITE" } else { "READ" };
    let (start, end) = match (lock.class, lock.end) {
        (LockClass::Flock, _) => (0, "EOF".to_owned()),
        (_, i64::MAX) => (lock.start, "EOF".to_owned()),
        (_, end) => (lock.start, end.to_string()),
    };
    let (major, minor) = (major(lock.dev), minor(lock.dev));
    put(
        out,
        format_args!(
            "{number}: {arrow}{class}{kind} {pid} {major:02x}:{minor:02x}:{} {start} {end}\n",
            lock.ino
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_uapi::stat::makedev;

    #[test]
    fn lines_have_linuxs_columns() {
        let lock = LockInfo {
            class: LockClass::Flock,
            kind: LockKind::Write,
            pid: Some(7),
            start: 0,
            end: i64::MAX,
            waiting: false,
            dev: makedev(254, 0),
            ino: 5_382_155,
        };
        let mut out = Vec::new();
        show_lock(&lock, 1, 25657, &mut out);
        let ofd = LockInfo { class: LockClass::Ofd, kind: LockKind::Read, end: 9, waiting: true, ..lock };
        show_lock(&ofd, 1, -1, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert_eq!(
            text,
            "1: FLOCK  ADVISORY  WRITE 25657 fe:00:5382155 0 EOF\n\
             1: -> OFDLCK ADVISORY  READ -1 fe:00:5382155 0 9\n"
        );
    }
}
