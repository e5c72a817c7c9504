//! `/proc/[pid]/limits`. Linux: fs/proc/base.c, `proc_pid_limits`.

use crate::pid::entry::View;
use crate::seq::put;
use sentry_uapi::Errno;
use sentry_uapi::resource::{RLIM_INFINITY, RLIM_NLIMITS, Rlimit};

/// Name and unit of each limit, by its number.
const NAMES: [(&str, &str); RLIM_NLIMITS] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

pub(crate) fn show(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    format_limits(&view.who.group.rlimits(), out);
    Ok(())
}

fn format_limits(limits: &[Rlimit; RLIM_NLIMITS], out: &mut Vec<u8>) {
    let value = |v: u64| if v == RLIM_INFINITY { "unlimited".to_owned() } else { v.to_string() };
    put(
        out,
        format_args!("Limit                     Soft Limit           Hard Limit           Units     \n"),
    );
    for ((name, unit), limit) in NAMES.iter().zip(limits) {
        put(out, format_args!("{name:<25} {:<20} {:<20} ", value(limit.cur), value(limit.max)));
        let end = if unit.is_empty() { "\n".to_owned() } else { format!("{unit:<10}\n") };
        out.extend_from_slice(end.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_kernel::init_rlimits;

    #[test]
    fn as_the_native_kernel_prints_them() {
        let mut limits = init_rlimits();
        let native = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        for (at, line) in native.lines().skip(1).enumerate() {
            let words: Vec<&str> = line[25..].split_whitespace().collect();
            let number = |s: &str| s.parse().unwrap_or(RLIM_INFINITY);
            limits[at] = Rlimit { cur: number(words[0]), max: number(words[1]) };
        }
        let mut out = Vec::new();
        format_limits(&limits, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), native);
    }
}
