//! Scheduling: priorities, policies, affinity.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn the_default_is_sched_other_with_priority_zero(_t: &mut Guest) {
    sys!(sched_getscheduler(0)).is(SCHED_OTHER);
    let mut param = sched_param { sched_priority: 9 };
    sys!(sched_getparam(0, &raw mut param)).ok();
    expect_eq!(param.sched_priority, 0);
    sys!(sched_getscheduler(0x3fff_ffff)).fails(ESRCH);
    sys!(sched_getscheduler(-1)).fails(EINVAL);
    sys!(sched_getparam(0, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn priorities_have_a_range_per_policy(_t: &mut Guest) {
    sys!(sched_get_priority_min(SCHED_OTHER)).is(0);
    sys!(sched_get_priority_max(SCHED_OTHER)).is(0);
    sys!(sched_get_priority_min(SCHED_FIFO)).is(1);
    sys!(sched_get_priority_max(SCHED_RR)).is(99);
    sys!(sched_get_priority_max(99)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn batch_and_idle_are_open_to_all(_t: &mut Guest) {
    let param = sched_param { sched_priority: 0 };
    sys!(sched_setscheduler(0, SCHED_BATCH, &raw const param)).ok();
    sys!(sched_getscheduler(0)).is(SCHED_BATCH);
    sys!(sched_setscheduler(0, SCHED_IDLE, &raw const param)).ok();
    sys!(sched_setscheduler(0, 99, &raw const param)).fails(EINVAL);
    let wrong = sched_param { sched_priority: 1 };
    sys!(sched_setscheduler(0, SCHED_BATCH, &raw const wrong)).fails(EINVAL);
}

#[case(as_user)]
fn realtime_is_not_for_users(t: &mut Guest) {
    if t.rlimit(RLIMIT_RTPRIO).rlim_cur != 0 {
        t.skip("users may have real-time priority here");
    }
    let param = sched_param { sched_priority: 1 };
    sys!(sched_setscheduler(0, SCHED_FIFO, &raw const param)).fails(EPERM);
}

#[case(as_root, as_user)]
fn affinity_tells_and_keeps_a_mask(t: &mut Guest) {
    let mut mask = [0_u64; 16];
    let bytes = sys!(sched_getaffinity(0, 128, &mut mask)).size();
    check!(bytes.is_multiple_of(8) && bytes > 0, "{bytes}");
    check!(mask.iter().any(|word| *word != 0));
    let first = mask[0] & mask[0].wrapping_neg();
    let one = [first];
    sys!(sched_setaffinity(0, 8, &one)).ok();
    t.fork(|| {
        sys!(sched_getaffinity(0, 128, &mut mask)).ok();
        expect_eq!(mask[0], first);
    })
    .done();
    sys!(sched_setaffinity(0, 8, &[0_u64])).fails(EINVAL);
    sys!(sched_getaffinity(0, 1, &mut [0_u64])).fails(EINVAL);
}

#[case(as_root, as_user)]
fn getcpu_names_an_allowed_processor(_t: &mut Guest) {
    let mut mask = [0_u64; 16];
    sys!(sched_getaffinity(0, 128, &mut mask)).ok();
    let (mut cpu, mut node) = (u32::MAX, u32::MAX);
    sys!(getcpu(&raw mut cpu, &raw mut node, 0)).ok();
    check!(mask[cpu as usize / 64] >> (cpu % 64) & 1 == 1, "{cpu}");
    sys!(sched_yield()).is(0);
}

/// The raw call gives 20 minus the nice value, so that it is never negative.
#[case(as_root, as_user)]
fn nice_values_are_kept_and_inherited(t: &mut Guest) {
    sys!(getpriority(PRIO_PROCESS, 0)).is(20);
    sys!(setpriority(PRIO_PROCESS, 0, 5)).ok();
    sys!(getpriority(PRIO_PROCESS, 0)).is(15);
    t.fork(|| sys!(getpriority(PRIO_PROCESS, 0)).is(15)).done();
    sys!(setpriority(PRIO_PROCESS, 0, 100)).ok();
    sys!(getpriority(PRIO_PROCESS, 0)).is(1);
    sys!(getpriority(99, 0)).fails(EINVAL);
    sys!(getpriority(PRIO_PROCESS, 0x3fff_ffff)).fails(ESRCH);
}

#[case(as_user)]
fn a_user_does_not_become_less_nice(t: &mut Guest) {
    if t.rlimit(RLIMIT_NICE).rlim_cur != 0 {
        t.skip("users may lower their nice value here");
    }
    sys!(setpriority(PRIO_PROCESS, 0, 5)).ok();
    sys!(setpriority(PRIO_PROCESS, 0, 4)).fails(EACCES);
}

#[case(as_root, as_user)]
fn membarrier_needs_registration(t: &mut Guest) {
    let commands = sys!(membarrier(0, 0, 0)).or_skip(ENOSYS, "no membarrier").ok();
    let (private, register) = (1 << 3, 1 << 4);
    if commands & register == 0 {
        t.skip("no private expedited membarrier");
    }
    sys!(membarrier(private, 0, 0)).fails(EPERM);
    sys!(membarrier(register, 0, 0)).is(0);
    sys!(membarrier(private, 0, 0)).is(0);
    sys!(membarrier(1 << 30, 0, 0)).fails(EINVAL);
}

/// In a clone that shares memory, since glibc has registered an area of its own for the thread.
#[case(as_root, as_user)]
fn rseq_takes_one_area_a_thread_and_tells_the_processor(t: &mut Guest) {
    const SIGNATURE: u32 = 0x5305_3053;
    extern "C" fn child(area: *mut c_void) -> i32 {
        sys!(rseq(area, 32, 0, SIGNATURE)).is(0);
        sys!(rseq(area, 32, 0, SIGNATURE)).fails(EBUSY);
        sys!(rseq(area, 32, 0, SIGNATURE + 1)).fails(EPERM);
        sys!(sched_yield()).is(0);
        let cpu = (0..4).map(|byte| peek(area.addr() + 4 + byte)).collect::<Vec<_>>();
        check!(u32::from_ne_bytes(cpu.try_into().unwrap()) < 4096);
        sys!(rseq(area, 32, 1, SIGNATURE)).is(0);
        sys!(rseq(area, 32, 1, SIGNATURE)).fails(EINVAL);
        0
    }
    let (area, stack) = (t.pages(1), t.pages(64));
    sys!(rseq(area.address + 4, 32, 0, SIGNATURE)).or_skip(ENOSYS, "no rseq").fails(EINVAL);
    let top = std::ptr::with_exposed_provenance_mut(stack.address + stack.length);
    // SAFETY: the child runs `child` on the new stack; this thread waits for it.
    let pid = unsafe {
        libc::clone(child, top, CLONE_VM | SIGCHLD, std::ptr::with_exposed_provenance_mut(area.address))
    };
    Child { pid }.done();
}

#[case(as_root, as_user)]
fn sched_attr_agrees_with_the_old_calls(_t: &mut Guest) {
    sys!(setpriority(PRIO_PROCESS, 0, 7)).ok();
    let mut attr = [0_u32; 12];
    sys!(sched_getattr(0, &mut attr, 48, 0)).is(0);
    // size, policy, flags (two words), nice
    expect_eq!((attr[1], attr[4]), (SCHED_OTHER as u32, 7));
    check!(attr[0] >= 48, "{}", attr[0]);
    sys!(sched_getattr(0, &mut attr, 40, 0)).fails(EINVAL);
    attr[0] = 48;
    attr[1] = SCHED_BATCH as u32;
    attr[4] = 8;
    sys!(sched_setattr(0, &attr, 0)).is(0);
    sys!(sched_getscheduler(0)).is(SCHED_BATCH);
    sys!(getpriority(PRIO_PROCESS, 0)).is(12);
}

#[case(as_root, as_user)]
fn the_round_robin_interval_is_a_time(_t: &mut Guest) {
    let mut time: timespec = zeroed();
    sys!(sched_rr_get_interval(0, &raw mut time)).is(0);
    check!(time.tv_sec == 0 && time.tv_nsec >= 0);
    sys!(sched_rr_get_interval(-1, &raw mut time)).fails(EINVAL);
    sys!(sched_rr_get_interval(0, 8)).fails(EFAULT);
}
