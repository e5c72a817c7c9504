//! Semaphore sets.

use crate::prelude::*;
use libc::*;

/// A new set, which is removed by [`Set`]'s end.
struct Set(i32);

impl Set {
    fn new(nsems: i32) -> Set {
        Set(sys!(semget(IPC_PRIVATE, nsems, 0o600)).fd())
    }

    fn get(&self, num: i32, cmd: i32) -> i64 {
        sys!(semctl(self.0, num, cmd, 0)).ok()
    }

    fn set(&self, num: i32, value: i32) {
        sys!(semctl(self.0, num, SETVAL, value)).ok();
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let _ = sys!(semctl(self.0, 0, IPC_RMID, 0));
    }
}

fn op(num: u16, op: i16, flags: i32) -> sembuf {
    sembuf { sem_num: num, sem_op: op, sem_flg: flags as i16 }
}

#[case(as_root, as_user)]
fn a_new_set_is_zero_and_its_creators(t: &mut Guest) {
    let set = Set::new(3);
    let mut ds: semid_ds = zeroed();
    sys!(semctl(set.0, 0, IPC_STAT, &raw mut ds)).ok();
    expect_eq!((ds.sem_nsems, ds.sem_otime, ds.sem_perm.mode & 0o777), (3, 0, 0o600));
    expect_eq!((ds.sem_perm.uid, ds.sem_perm.cuid), (t.uid(), t.uid()));
    check!(ds.sem_ctime > 0);
    for num in 0..3 {
        expect_eq!((set.get(num, GETVAL), set.get(num, GETPID)), (0, 0));
        expect_eq!((set.get(num, GETNCNT), set.get(num, GETZCNT)), (0, 0));
    }
    sys!(semctl(set.0, 3, GETVAL, 0)).fails(EINVAL);
    sys!(semctl(set.0, -1, GETVAL, 0)).fails(EINVAL);
    sys!(semctl(set.0, 0, 99, 0)).fails(EINVAL);
    sys!(semctl(-1, 0, GETVAL, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_number_of_semaphores_is_checked_before_the_key(_t: &mut Guest) {
    sys!(semget(IPC_PRIVATE, -1, 0o600)).fails(EINVAL);
    sys!(semget(IPC_PRIVATE, 32001, 0o600)).fails(EINVAL);
    sys!(semget(IPC_PRIVATE, 0, 0o600)).fails(EINVAL);
    sys!(semget(0x7eed_0001, 0, 0)).fails(ENOENT);
    sys!(semget(0x7eed_0001, 32001, 0)).fails(EINVAL);
    sys!(semget(0x7eed_0001, 0, IPC_CREAT | 0o600)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_key_finds_the_set_until_it_is_removed(_t: &mut Guest) {
    let key = 0x7eed_0002;
    let id = sys!(semget(key, 2, IPC_CREAT | IPC_EXCL | 0o600)).fd();
    let set = Set(id);
    sys!(semget(key, 0, 0)).is(id);
    sys!(semget(key, 2, IPC_CREAT | 0o600)).is(id);
    sys!(semget(key, 3, 0)).fails(EINVAL);
    sys!(semget(key, 2, IPC_CREAT | IPC_EXCL | 0o600)).fails(EEXIST);
    sys!(semctl(set.0, 0, IPC_RMID, 0)).ok();
    sys!(semget(key, 0, 0)).fails(ENOENT);
    sys!(semctl(set.0, 0, IPC_RMID, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn operations_are_done_together_or_not_at_all(_t: &mut Guest) {
    let set = Set::new(2);
    set.set(0, 5);
    let both = [op(0, -3, 0), op(1, -1, IPC_NOWAIT)];
    sys!(semop(set.0, &both, 2)).fails(EAGAIN);
    expect_eq!(set.get(0, GETVAL), 5);
    let same_twice = [op(0, -3, 0), op(0, -3, IPC_NOWAIT)];
    sys!(semop(set.0, &same_twice, 2)).fails(EAGAIN);
    expect_eq!(set.get(0, GETVAL), 5);
    sys!(semop(set.0, &[op(0, -5, 0), op(0, 0, IPC_NOWAIT), op(1, 2, 0)], 3)).ok();
    expect_eq!((set.get(0, GETVAL), set.get(1, GETVAL)), (0, 2));
    expect_eq!(set.get(1, GETPID), i64::from(std::process::id()));
}

#[case(as_root, as_user)]
fn semop_says_what_is_wrong(_t: &mut Guest) {
    let set = Set::new(1);
    let ops = [op(0, 1, 0); 501];
    sys!(semop(set.0, &ops, 0)).fails(EINVAL);
    sys!(semop(set.0, &ops, 501)).fails(E2BIG);
    sys!(semop(-1, &ops, 501)).fails(E2BIG);
    sys!(semop(-1, 8, 1)).fails(EFAULT);
    sys!(semop(-1, &ops, 1)).fails(EINVAL);
    sys!(semop(set.0, &[op(1, 1, 0)], 1)).fails(EFBIG);
    sys!(semop(set.0, &[op(0, i16::MAX, 0)], 1)).ok();
    sys!(semop(set.0, &[op(0, 1, 0)], 1)).fails(ERANGE);
    sys!(semctl(set.0, 0, SETVAL, 32768)).fails(ERANGE);
    sys!(semctl(set.0, 0, SETVAL, -1)).fails(ERANGE);
    sys!(semctl(set.0, 7, SETVAL, 1)).fails(EINVAL);
    sys!(semctl(set.0 + (5 << 15), 0, SETVAL, 1)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn semtimedop_gives_up(_t: &mut Guest) {
    let set = Set::new(1);
    let down = [op(0, -1, 0)];
    sys!(semtimedop(set.0, &down, 1, &[msec(20)])).fails(EAGAIN);
    let bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    sys!(semtimedop(set.0, &down, 1, &raw const bad)).fails(EINVAL);
    sys!(semtimedop(set.0, &down, 1, 8)).fails(EFAULT);
    expect_eq!((set.get(0, GETNCNT), set.get(0, GETVAL)), (0, 0));
    set.set(0, 1);
    sys!(semtimedop(set.0, &[op(0, 0, 0)], 1, &[msec(20)])).fails(EAGAIN);
    sys!(semtimedop(set.0, &down, 1, &[msec(20)])).ok();
}

#[case(as_root, as_user)]
fn a_waiting_operation_proceeds_when_it_can(t: &mut Guest) {
    let set = Set::new(2);
    let child = t.fork(|| {
        sys!(semop(set.0, &[op(0, -2, 0), op(1, -1, 0)], 2)).ok();
    });
    t.until(|| set.get(0, GETNCNT) == 1);
    expect_eq!(set.get(1, GETNCNT), 0);
    sys!(semop(set.0, &[op(0, 2, 0)], 1)).ok();
    // Now it waits for the other one.
    t.until(|| set.get(1, GETNCNT) == 1);
    expect_eq!((set.get(0, GETNCNT), set.get(0, GETVAL)), (0, 2));
    set.set(1, 1);
    child.done();
    expect_eq!((set.get(0, GETVAL), set.get(1, GETVAL)), (0, 0));
    expect_eq!(set.get(0, GETPID), i64::from(child.pid));
}

#[case(as_root, as_user)]
fn waiting_for_zero_is_counted_apart_and_ends_at_zero(t: &mut Guest) {
    let set = Set::new(1);
    set.set(0, 1);
    let child = t.fork(|| {
        sys!(semop(set.0, &[op(0, 0, 0)], 1)).ok();
    });
    t.until(|| set.get(0, GETZCNT) == 1);
    expect_eq!(set.get(0, GETNCNT), 0);
    sys!(semop(set.0, &[op(0, -1, 0)], 1)).ok();
    child.done();
    expect_eq!(set.get(0, GETZCNT), 0);
}

#[case(as_root, as_user)]
fn removal_ends_a_wait_with_eidrm(t: &mut Guest) {
    let set = Set::new(1);
    let child = t.fork(|| {
        sys!(semop(set.0, &[op(0, -1, 0)], 1)).fails(EIDRM);
    });
    t.until(|| set.get(0, GETNCNT) == 1);
    sys!(semctl(set.0, 0, IPC_RMID, 0)).ok();
    child.done();
}

#[case(as_root, as_user)]
fn a_handler_ends_a_wait_with_eintr_even_with_sa_restart(t: &mut Guest) {
    extern "C" fn nothing(_signal: i32) {}
    let set = Set::new(1);
    let child = t.fork(|| {
        let mut action: sigaction = zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = SA_RESTART;
        // SAFETY: a handler that does nothing.
        unsafe { sigaction(SIGUSR1, &raw const action, std::ptr::null_mut()) };
        sys!(semop(set.0, &[op(0, -1, 0)], 1)).fails(EINTR);
    });
    t.until(|| set.get(0, GETNCNT) == 1);
    child.kill(SIGUSR1);
    child.done();
    expect_eq!(set.get(0, GETNCNT), 0);
}

#[case(as_root, as_user)]
fn undo_is_done_when_the_process_ends(t: &mut Guest) {
    let set = Set::new(2);
    set.set(0, 5);
    set.set(1, 1);
    t.fork(|| {
        sys!(semop(set.0, &[op(0, -3, SEM_UNDO), op(1, 4, SEM_UNDO)], 2)).ok();
        sys!(semop(set.0, &[op(1, -5, 0)], 1)).ok();
        expect_eq!((set.get(0, GETVAL), set.get(1, GETVAL)), (2, 0));
    })
    .done();
    // What would be negative is zero.
    expect_eq!((set.get(0, GETVAL), set.get(1, GETVAL)), (5, 0));
}

#[case(as_root, as_user)]
fn setting_a_value_forgets_what_would_be_undone(t: &mut Guest) {
    let set = Set::new(2);
    t.fork(|| {
        sys!(semop(set.0, &[op(0, 3, SEM_UNDO), op(1, 3, SEM_UNDO)], 2)).ok();
        set.set(0, 7);
    })
    .done();
    expect_eq!((set.get(0, GETVAL), set.get(1, GETVAL)), (7, 0));
    t.fork(|| {
        sys!(semop(set.0, &[op(0, 3, SEM_UNDO)], 1)).ok();
        sys!(semctl(set.0, 0, SETALL, &[9_u16, 8])).ok();
    })
    .done();
    expect_eq!((set.get(0, GETVAL), set.get(1, GETVAL)), (9, 8));
}

#[case(as_root, as_user)]
fn a_waiter_is_woken_by_an_undo(t: &mut Guest) {
    let set = Set::new(1);
    set.set(0, 1);
    let holder = t.fork(|| {
        sys!(semop(set.0, &[op(0, -1, SEM_UNDO)], 1)).ok();
        loop {
            let _ = sys!(pause());
        }
    });
    t.until(|| set.get(0, GETVAL) == 0);
    let waiter = t.fork(|| {
        sys!(semop(set.0, &[op(0, -1, 0)], 1)).ok();
    });
    t.until(|| set.get(0, GETNCNT) == 1);
    holder.kill(SIGKILL);
    holder.wait().killed(SIGKILL);
    waiter.done();
}

#[case(as_root, as_user)]
fn an_undo_that_would_grow_too_large_is_refused(t: &mut Guest) {
    let set = Set::new(1);
    t.fork(|| {
        sys!(semop(set.0, &[op(0, i16::MAX, SEM_UNDO)], 1)).ok();
        sys!(semop(set.0, &[op(0, -i16::MAX, 0)], 1)).ok();
        // The adjustment may be -32768, no less.
        sys!(semop(set.0, &[op(0, 1, SEM_UNDO)], 1)).ok();
        sys!(semop(set.0, &[op(0, 1, SEM_UNDO)], 1)).fails(ERANGE);
    })
    .done();
    expect_eq!(set.get(0, GETVAL), 0);
}

#[case(as_root, as_user)]
fn threads_share_their_undo_and_it_waits_for_the_last(t: &mut Guest) {
    let set = Set::new(1);
    let id = set.0;
    t.fork(|| {
        std::thread::spawn(move || {
            sys!(semop(id, &[op(0, 2, SEM_UNDO)], 1)).ok();
        })
        .join()
        .unwrap();
        expect_eq!(set.get(0, GETVAL), 2);
    })
    .done();
    expect_eq!(set.get(0, GETVAL), 0);
}

#[case(as_root, as_user)]
fn unshare_sysvsem_undoes_now(t: &mut Guest) {
    let set = Set::new(1);
    t.fork(|| {
        sys!(semop(set.0, &[op(0, 2, SEM_UNDO)], 1)).ok();
        sys!(unshare(CLONE_SYSVSEM)).ok();
        expect_eq!(set.get(0, GETVAL), 0);
    })
    .done();
}

#[case(as_root, as_user)]
fn all_values_are_read_and_set_at_once(_t: &mut Guest) {
    let set = Set::new(3);
    sys!(semctl(set.0, 0, SETALL, &[1_u16, 2, 3])).ok();
    let mut values = [0_u16; 3];
    sys!(semctl(set.0, 0, GETALL, &mut values)).ok();
    expect_eq!(values, [1, 2, 3]);
    sys!(semctl(set.0, 0, SETALL, &[1_u16, 32768, 3])).fails(ERANGE);
    sys!(semctl(set.0, 0, SETALL, 8)).fails(EFAULT);
    sys!(semctl(set.0, 0, GETALL, 8)).fails(EFAULT);
    expect_eq!(set.get(1, GETVAL), 2);
}

#[case(as_root, as_user)]
fn times_say_when_it_was_used(_t: &mut Guest) {
    let set = Set::new(1);
    let stat = || {
        let mut ds: semid_ds = zeroed();
        sys!(semctl(set.0, 0, IPC_STAT, &raw mut ds)).ok();
        ds
    };
    set.set(0, 1);
    expect_eq!(stat().sem_otime, 0);
    sys!(semop(set.0, &[op(0, 1, 0)], 1)).ok();
    check!(stat().sem_otime >= stat().sem_ctime);
    let mut ds = stat();
    ds.sem_perm.mode = 0o1640;
    sys!(semctl(set.0, 0, IPC_SET, &raw const ds)).ok();
    expect_eq!(stat().sem_perm.mode, 0o640);
    ds.sem_perm.uid = u32::MAX;
    sys!(semctl(set.0, 0, IPC_SET, &raw const ds)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn info_tells_limits_and_use(_t: &mut Guest) {
    const SEM_STAT: i32 = 18;
    const SEM_INFO: i32 = 19;
    let set = Set::new(5);
    let mut info: seminfo = zeroed();
    let max = sys!(semctl(0, 0, IPC_INFO, &raw mut info)).ok();
    check!(max >= i64::from(set.0 & 0x7fff));
    expect_eq!((info.semvmx, info.semaem, info.semusz), (32767, 32767, 20));
    check!(info.semmsl > 0 && info.semmni > 0 && info.semopm > 0);
    sys!(semctl(0, 0, SEM_INFO, &raw mut info)).ok();
    check!(info.semusz >= 1 && info.semaem >= 5);
    let mut ds: semid_ds = zeroed();
    sys!(semctl(set.0 & 0x7fff, 0, SEM_STAT, &raw mut ds)).is(set.0);
    expect_eq!(ds.sem_nsems, 5);
    sys!(semctl(0x7fff, 0, SEM_STAT, &raw mut ds)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn proc_shows_the_set(t: &mut Guest) {
    let set = Set::new(4);
    let text = std::fs::read_to_string("/proc/sysvipc/sem").unwrap();
    let line = text.lines().find(|l| l.split_whitespace().nth(1) == Some(&set.0.to_string())).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    expect_eq!((words[0], words[2], words[3]), ("0", "600", "4"));
    expect_eq!(words[4], t.uid().to_string());
    expect_eq!(words.len(), 10);
}
