//! What the host's `/proc` tells about the processes that a job started.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, SysconfVar, getpid, sysconf};
use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Processes below this one, at any depth. Orphans are among them, since this process is a subreaper.
pub(crate) fn descendants() -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in pids() {
        if let Some(stat) =
            fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(Stat::parse)
        {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut left = vec![getpid().as_raw()];
    while let Some(pid) = left.pop() {
        let of_it = children.remove(&pid).unwrap_or_default();
        found.extend(of_it.iter().copied().map(Pid::from_raw));
        left.extend(of_it);
    }
    found
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Ends all descendants by SIGKILL, one by one, and reaps those that became this process's own children.
pub(crate) fn kill_descendants() -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        let left = descendants();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "processes {left:?} survive SIGKILL");
        for pid in left {
            // It may have ended by itself.
            let _ = kill(pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The part of `/proc/PID/stat` that is of use here.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: i32,
    /// CPU time of its threads and of the children it has waited for, in clock ticks.
    ticks: u64,
}

impl Stat {
    /// Parses `pid (name) state ppid …`; a name may contain anything.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|f| f.parse::<u64>().ok());
        let ticks = (11..15).map(number).sum::<Option<u64>>()?;
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks })
    }
}

/// Seconds of CPU that all descendants have used, with children they have waited for. As exact as the clock tick.
pub(crate) fn cpu_seconds() -> Result<f64> {
    let hertz = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
    let stat = |pid: Pid| Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    let ticks: u64 = descendants().into_iter().filter_map(stat).map(|stat| stat.ticks).sum();
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 ticks")]
    Ok(ticks as f64 / hertz as f64)
}

/// Seconds of CPU that all threads of all descendants have used, to the nanosecond where the kernel keeps that account.
pub(crate) fn exact_cpu_seconds() -> Result<f64> {
    let mut total = 0_u64;
    for pid in descendants() {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            total += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    ensure!(total > 0, "/proc/PID/task/TID/schedstat: expected times, found none");
    #[allow(clippy::cast_precision_loss, reason = "far less than 2^53 ns")]
    Ok(total as f64 / 1e9)
}

/// Bytes of memory of all descendants: each page is divided among the processes that map it.
pub(crate) fn proportional_bytes() -> Result<f64> {
    let pss = |pid: Pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        kibibytes(&text, "Pss:")
    };
    let kib: u64 = descendants().into_iter().filter_map(pss).sum();
    ensure!(kib > 0, "/proc/PID/smaps_rollup: expected Pss, found none");
    #[allow(clippy::cast_precision_loss, reason = "far less than 2^53 KiB")]
    Ok(kib as f64 * 1024.0)
}

/// The number of a line `name   123 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The machine, for whoever reads the numbers.
pub(crate) fn describe() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let release = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "{cpus} CPUs ({}), Linux {}, load before: {}",
        model.map_or("unknown", |(_, m)| m),
        release.trim().split('-').next().unwrap_or_default(),
        load.split(' ').next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_any_name() {
        let text = "17 (a) b) (c) S 4 17 17 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 5 6 7";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 4, ticks: 100 }));
        assert_eq!(Stat::parse("17 (a) S 4"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn lines_of_memory_are_found_by_their_whole_name() {
        let text = "7f00-7fff ---p 0 0 [rollup]\nRss:    900 kB\nPss_Dirty:  5 kB\nPss:     123 kB\n";
        assert_eq!(kibibytes(text, "Pss:"), Some(123));
        assert_eq!(kibibytes(text, "Swap:"), None);
    }

    #[test]
    fn this_process_has_no_descendants_it_did_not_start() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert!(descendants().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants().contains(&pid));
    }
}
