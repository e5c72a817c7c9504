//! Who may use an object, and which namespace it is in.

use crate::prelude::*;
use libc::*;

/// Becomes an ordinary user, in a child.
fn become_user(uid: u32) {
    sys!(setgroups(0, 0)).ok();
    sys!(setresgid(uid, uid, uid)).ok();
    sys!(setresuid(uid, uid, uid)).ok();
}

#[case(as_root)]
fn the_mode_keeps_others_out(t: &mut Guest) {
    let sem = sys!(semget(IPC_PRIVATE, 1, 0o640)).fd();
    let msg = sys!(msgget(IPC_PRIVATE, 0o640)).fd();
    let shm = sys!(shmget(IPC_PRIVATE, 1, 0o604)).fd();
    t.fork(|| {
        become_user(1234);
        let one = sembuf { sem_num: 0, sem_op: 1, sem_flg: 0 };
        sys!(semop(sem, &raw const one, 1)).fails(EACCES);
        sys!(semctl(sem, 0, GETVAL, 0)).fails(EACCES);
        sys!(semctl(sem, 0, SETVAL, 1)).fails(EACCES);
        sys!(semctl(sem, 0, IPC_RMID, 0)).fails(EPERM);
        let mut buf = [0_u64; 32];
        sys!(semctl(sem, 0, IPC_STAT, &mut buf)).fails(EACCES);
        sys!(semctl(sem & 0x7fff, 0, 20, &mut buf)).is(sem);
        sys!(msgrcv(msg, &mut buf, 8, 0, IPC_NOWAIT)).fails(EACCES);
        buf[0] = 1;
        sys!(msgsnd(msg, &buf, 8, 0)).fails(EACCES);
        sys!(msgctl(msg, IPC_RMID, 0)).fails(EPERM);
        sys!(msgctl(msg & 0x7fff, 13, &mut buf)).is(msg);
        sys!(shmat(shm, 0, 0)).fails(EACCES);
        sys!(shmat(shm, 0, SHM_EXEC | SHM_RDONLY)).fails(EACCES);
        sys!(shmat(shm, 0, SHM_RDONLY)).ok();
        sys!(shmctl(shm, SHM_LOCK, 0)).fails(EPERM);
        sys!(shmctl(shm, IPC_RMID, 0)).fails(EPERM);
    })
    .done();
    sys!(semctl(sem, 0, IPC_RMID, 0)).ok();
    sys!(msgctl(msg, IPC_RMID, 0)).ok();
    sys!(shmctl(shm, IPC_RMID, 0)).ok();
}

#[case(as_root)]
fn a_group_has_its_own_bits_and_a_new_owner_may_remove(t: &mut Guest) {
    let sem = sys!(semget(IPC_PRIVATE, 1, 0o640)).fd();
    let mut ds: semid_ds = zeroed();
    sys!(semctl(sem, 0, IPC_STAT, &raw mut ds)).ok();
    ds.sem_perm.gid = 1234;
    sys!(semctl(sem, 0, IPC_SET, &raw const ds)).ok();
    t.fork(|| {
        become_user(1234);
        sys!(semctl(sem, 0, GETVAL, 0)).is(0);
        sys!(semctl(sem, 0, SETVAL, 1)).fails(EACCES);
    })
    .done();
    ds.sem_perm.uid = 1234;
    sys!(semctl(sem, 0, IPC_SET, &raw const ds)).ok();
    t.fork(|| {
        become_user(1234);
        sys!(semctl(sem, 0, IPC_RMID, 0)).ok();
    })
    .done();
}

#[case(as_root)]
fn a_key_that_may_not_be_used_is_eacces(t: &mut Guest) {
    let key = 0x7eed_0006;
    let sem = sys!(semget(key, 1, IPC_CREAT | IPC_EXCL | 0o600)).fd();
    t.fork(|| {
        become_user(1234);
        sys!(semget(key, 1, 0o600)).fails(EACCES);
        sys!(semget(key, 2, 0o600)).fails(EINVAL);
        // Asking for nothing gives the id.
        sys!(semget(key, 1, 0)).is(sem);
    })
    .done();
    sys!(semctl(sem, 0, IPC_RMID, 0)).ok();
}

#[case(as_root)]
fn namespaces_do_not_see_each_others_objects(t: &mut Guest) {
    let key = 0x7eed_0007;
    let outer = sys!(semget(key, 1, IPC_CREAT | IPC_EXCL | 0o600)).fd();
    t.clone(CLONE_NEWIPC, || {
        sys!(semget(key, 0, 0)).fails(ENOENT);
        let text = std::fs::read_to_string("/proc/sysvipc/sem").unwrap();
        expect_eq!(text.lines().count(), 1);
        sys!(semget(key, 1, IPC_CREAT | IPC_EXCL | 0o600)).is(0);
        std::fs::write("/proc/sys/kernel/sem", "10 20 30 40").unwrap();
        expect_eq!(std::fs::read_to_string("/proc/sys/kernel/sem").unwrap(), "10\t20\t30\t40\n");
        sys!(semget(IPC_PRIVATE, 11, 0o600)).fails(EINVAL);
        sys!(semget(IPC_PRIVATE, 10, 0o600)).ok();
        sys!(semget(IPC_PRIVATE, 10, 0o600)).fails(ENOSPC);
    })
    .done();
    check!(std::fs::read_to_string("/proc/sys/kernel/sem").unwrap() != "10\t20\t30\t40\n");
    sys!(semctl(outer, 0, IPC_RMID, 0)).ok();
}

#[case(as_root)]
fn limits_of_a_namespace_are_kept(t: &mut Guest) {
    t.clone(CLONE_NEWIPC, || {
        let set = |name: &str, value: &str| std::fs::write(format!("/proc/sys/kernel/{name}"), value);
        set("msgmni", "1").unwrap();
        sys!(msgget(IPC_PRIVATE, 0o600)).ok();
        sys!(msgget(IPC_PRIVATE, 0o600)).fails(ENOSPC);
        set("shmmax", "8192").unwrap();
        sys!(shmget(IPC_PRIVATE, 8193, 0o600)).fails(EINVAL);
        sys!(shmget(IPC_PRIVATE, 8192, 0o600)).ok();
        set("shmall", "3").unwrap();
        sys!(shmget(IPC_PRIVATE, 8192, 0o600)).fails(ENOSPC);
        sys!(shmget(IPC_PRIVATE, 4096, 0o600)).ok();
        set("shmall", "100").unwrap();
        set("shmmni", "2").unwrap();
        sys!(shmget(IPC_PRIVATE, 4096, 0o600)).fails(ENOSPC);
        check!(set("shmmni", "32769").is_err());
        check!(set("msgmax", "-1").is_err());
    })
    .done();
}

#[case(as_user)]
fn the_root_of_a_user_namespace_sets_the_limits_of_its_own(t: &mut Guest) {
    let uid = t.uid();
    t.fork(|| {
        sys!(unshare(CLONE_NEWUSER | CLONE_NEWIPC)).or_skip(EPERM, "no user namespaces").ok();
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
        std::fs::write("/proc/sys/kernel/msgmni", "5").unwrap();
        expect_eq!(std::fs::read_to_string("/proc/sys/kernel/msgmni").unwrap(), "5\n");
    })
    .done();
    check!(std::fs::write("/proc/sys/kernel/msgmni", "5").is_err());
}
