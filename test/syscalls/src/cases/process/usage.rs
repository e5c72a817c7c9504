//! Resource use and system information.

use crate::prelude::*;
use libc::*;

fn burn() {
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 30 {
        std::hint::spin_loop();
    }
}

#[case(as_root, as_user)]
fn cpu_time_grows_with_work(t: &mut Guest) {
    let micro = |usage: &rusage| usage.ru_utime.tv_sec * 1_000_000 + usage.ru_utime.tv_usec;
    let before = t.rusage(RUSAGE_SELF);
    burn();
    let after = t.rusage(RUSAGE_SELF);
    check!(micro(&after) > micro(&before));
    check!(micro(&t.rusage(RUSAGE_THREAD)) > 0);
    check!(after.ru_maxrss > 0);
    sys!(getrusage(99, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn times_counts_children_after_they_are_waited_for(t: &mut Guest) {
    let times = || {
        let mut times: tms = zeroed();
        check!(sys!(times(&raw mut times)).ok() > 0);
        times
    };
    t.fork(|| {
        for _ in 0..3 {
            burn();
        }
    })
    .done();
    check!(times().tms_cutime + times().tms_cstime >= 1);
}

#[case(as_root, as_user)]
fn page_faults_are_counted(t: &mut Guest) {
    let before = t.rusage(RUSAGE_SELF).ru_minflt;
    let map = t.pages(64);
    (0..64).for_each(|page| map.set(page * PAGE, 1));
    check!(t.rusage(RUSAGE_SELF).ru_minflt >= before);
}

#[case(as_root, as_user)]
fn sysinfo_is_plausible(_t: &mut Guest) {
    let mut info: sysinfo = zeroed();
    sys!(sysinfo(&raw mut info)).ok();
    check!(info.totalram > 0 && info.freeram <= info.totalram);
    check!(info.procs > 0 && info.mem_unit > 0);
    sys!(sysinfo(8)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn uname_says_linux_on_x86_64(_t: &mut Guest) {
    let mut uts: utsname = zeroed();
    sys!(uname(&raw mut uts)).ok();
    expect_eq!(uts.sysname[..6].iter().map(|c| *c as u8).collect::<Vec<_>>(), b"Linux\0");
    expect_eq!(uts.machine[..7].iter().map(|c| *c as u8).collect::<Vec<_>>(), b"x86_64\0");
    let release: String = uts.release.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect();
    let major: u32 = release.split('.').next().unwrap().parse().unwrap();
    check!(major >= 4, "{release}");
}
