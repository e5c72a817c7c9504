//! Shared memory segments.

use crate::prelude::*;
use libc::*;

const SHM_DEST: u32 = 0o1000;
const SHM_LOCKED: u32 = 0o2000;

struct Segment(i32);

impl Segment {
    fn new(size: usize) -> Segment {
        Segment(sys!(shmget(IPC_PRIVATE, size, 0o600)).fd())
    }

    fn attach(&self) -> usize {
        sys!(shmat(self.0, 0, 0)).size()
    }

    fn stat(&self) -> shmid_ds {
        let mut ds: shmid_ds = zeroed();
        sys!(shmctl(self.0, IPC_STAT, &raw mut ds)).ok();
        ds
    }

    fn remove(&self) {
        sys!(shmctl(self.0, IPC_RMID, 0)).ok();
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = sys!(shmctl(self.0, IPC_RMID, 0));
    }
}

#[case(as_root, as_user)]
fn attachments_show_the_same_memory(t: &mut Guest) {
    let seg = Segment::new(3 * PAGE);
    let (a, b) = (seg.attach(), seg.attach());
    check!(a != b);
    poke(a + PAGE, 7);
    expect_eq!(peek(b + PAGE), 7);
    t.fork(|| poke(b + PAGE, 9)).done();
    expect_eq!(peek(a + PAGE), 9);
    expect_eq!(peek(a), 0);
}

#[case(as_root, as_user)]
fn a_size_is_checked(_t: &mut Guest) {
    sys!(shmget(IPC_PRIVATE, 0, 0o600)).fails(EINVAL);
    sys!(shmget(IPC_PRIVATE, usize::MAX, 0o600)).fails(EINVAL);
    let key = 0x7eed_0003;
    sys!(shmget(key, 0, 0)).fails(ENOENT);
    let seg = Segment(sys!(shmget(key, 100, IPC_CREAT | 0o600)).fd());
    sys!(shmget(key, 0, 0)).is(seg.0);
    sys!(shmget(key, 100, 0)).is(seg.0);
    sys!(shmget(key, 101, 0)).fails(EINVAL);
    sys!(shmget(key, 100, IPC_CREAT | IPC_EXCL)).fails(EEXIST);
    expect_eq!(seg.stat().shm_segsz, 100);
}

#[case(as_root, as_user)]
fn attachments_are_counted_over_fork_and_exit(t: &mut Guest) {
    let seg = Segment::new(PAGE);
    let a = seg.attach();
    let me = std::process::id() as i32;
    let ds = seg.stat();
    expect_eq!((ds.shm_nattch, ds.shm_cpid, ds.shm_lpid), (1, me, me));
    check!(ds.shm_atime > 0 && ds.shm_dtime == 0);
    t.fork(|| {
        expect_eq!(seg.stat().shm_nattch, 2);
        sys!(shmdt(a)).ok();
        expect_eq!(seg.stat().shm_nattch, 1);
        let _ = seg.attach();
        expect_eq!(seg.stat().shm_nattch, 2);
    })
    .done();
    expect_eq!(seg.stat().shm_nattch, 1);
    check!(seg.stat().shm_lpid != me && seg.stat().shm_dtime > 0);
    sys!(shmdt(a)).ok();
    expect_eq!((seg.stat().shm_nattch, seg.stat().shm_lpid), (0, me));
    sys!(shmdt(a)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn exec_detaches(t: &mut Guest) {
    let seg = Segment::new(PAGE);
    let _ = seg.attach();
    let (_, status) = t.helper("args", &[], &[]);
    let _ = status;
    expect_eq!(seg.stat().shm_nattch, 1);
}

#[case(as_root, as_user)]
fn a_removed_segment_lives_as_long_as_it_is_attached(t: &mut Guest) {
    let key = 0x7eed_0004;
    let seg = Segment(sys!(shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0o600)).fd());
    let a = seg.attach();
    seg.remove();
    sys!(shmget(key, 0, 0)).fails(ENOENT);
    let ds = seg.stat();
    expect_eq!((u32::from(ds.shm_perm.mode) & SHM_DEST, ds.shm_perm.__key), (SHM_DEST, 0));
    poke(a, 5);
    // Its id still works.
    t.fork(|| expect_eq!(peek(seg.attach()), 5)).done();
    sys!(shmdt(a)).ok();
    let mut ds: shmid_ds = zeroed();
    sys!(shmctl(seg.0, IPC_STAT, &raw mut ds)).fails(EINVAL);
    sys!(shmat(seg.0, 0, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn munmap_detaches_too(_t: &mut Guest) {
    let seg = Segment::new(3 * PAGE);
    let a = seg.attach();
    sys!(munmap(a + PAGE, PAGE)).ok();
    expect_eq!(seg.stat().shm_nattch, 2);
    // Both pieces go.
    sys!(shmdt(a)).ok();
    expect_eq!(seg.stat().shm_nattch, 0);
    let a = seg.attach();
    sys!(munmap(a, PAGE)).ok();
    sys!(shmdt(a)).ok();
    expect_eq!(seg.stat().shm_nattch, 0);
}

#[case(as_root, as_user)]
fn an_address_is_taken_or_refused(t: &mut Guest) {
    let seg = Segment::new(2 * PAGE);
    let room = t.map(8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    let at = room.address;
    sys!(shmat(seg.0, at, 0)).fails(EINVAL);
    sys!(shmat(seg.0, at + 1, 0)).fails(EINVAL);
    sys!(shmat(seg.0, 0, SHM_REMAP)).fails(EINVAL);
    sys!(shmat(seg.0, 1, SHM_RND | SHM_REMAP)).fails(EINVAL);
    sys!(shmat(-1, 0, 0)).fails(EINVAL);
    sys!(shmat(seg.0, at, SHM_REMAP)).is(at);
    poke(at, 3);
    sys!(munmap(at + 4 * PAGE, 4 * PAGE)).ok();
    sys!(shmat(seg.0, at + 4 * PAGE + 77, SHM_RND)).is(at + 4 * PAGE);
    expect_eq!(peek(at + 4 * PAGE), 3);
    sys!(shmdt(at + PAGE)).fails(EINVAL);
    sys!(shmdt(at + 1)).fails(EINVAL);
    sys!(shmdt(at)).ok();
}

#[case(as_root, as_user)]
fn a_read_only_attachment_cannot_be_written(t: &mut Guest) {
    let seg = Segment::new(PAGE);
    let a = sys!(shmat(seg.0, 0, SHM_RDONLY)).size();
    expect_eq!(peek(a), 0);
    sys!(mprotect(a, PAGE, PROT_READ | PROT_WRITE)).fails(EACCES);
    t.fork(|| poke(a, 1)).wait().killed(SIGSEGV);
}

#[case(as_root, as_user)]
fn maps_shows_key_and_id(_t: &mut Guest) {
    let key = 0x7eed_0005;
    let seg = Segment(sys!(shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0o600)).fd());
    let a = seg.attach();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|l| l.starts_with(&format!("{a:08x}-"))).unwrap();
    check!(line.ends_with("/SYSV7eed0005 (deleted)"), "{line}");
    let words: Vec<&str> = line.split_whitespace().collect();
    expect_eq!((words[1], words[4]), ("rw-s", seg.0.to_string().as_str()));
}

#[case(as_root, as_user)]
fn locking_shows_in_the_mode(_t: &mut Guest) {
    let seg = Segment::new(PAGE);
    sys!(shmctl(seg.0, SHM_LOCK, 0)).ok();
    expect_eq!(u32::from(seg.stat().shm_perm.mode) & SHM_LOCKED, SHM_LOCKED);
    sys!(shmctl(seg.0, SHM_UNLOCK, 0)).ok();
    expect_eq!(u32::from(seg.stat().shm_perm.mode) & SHM_LOCKED, 0);
}

#[case(as_root, as_user)]
fn info_and_proc_tell_what_is_there(t: &mut Guest) {
    const SHM_STAT: i32 = 13;
    const SHM_INFO: i32 = 14;
    let seg = Segment::new(5 * PAGE);
    let a = seg.attach();
    poke(a, 1);
    let mut info = [0_u64; 9];
    let max = sys!(shmctl(0, IPC_INFO, &mut info)).ok();
    check!(max >= i64::from(seg.0 & 0x7fff));
    expect_eq!(info[1], 1);
    let mut info = [0_u64; 6];
    sys!(shmctl(0, SHM_INFO, &mut info)).ok();
    check!(info[0] & 0xffff_ffff >= 1 && info[1] >= 5 && info[2] >= 1);
    let mut ds: shmid_ds = zeroed();
    sys!(shmctl(seg.0 & 0x7fff, SHM_STAT, &raw mut ds)).is(seg.0);
    expect_eq!((ds.shm_nattch, ds.shm_perm.cuid), (1, t.uid()));
    let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let line = text.lines().find(|l| l.split_whitespace().nth(1) == Some(&seg.0.to_string())).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    expect_eq!((words[2], words[3], words[6], words.len()), ("600", "20480", "1", 16));
    check!(words[14].parse::<usize>().unwrap() >= PAGE);
}

#[case(as_root)]
fn with_rmid_forced_a_segment_goes_with_its_last_attachment(t: &mut Guest) {
    t.clone(CLONE_NEWIPC, || {
        let file = "/proc/sys/kernel/shm_rmid_forced";
        let seg = sys!(shmget(IPC_PRIVATE, PAGE, 0o600)).fd();
        let orphan = t.fork_exit(|| sys!(shmget(IPC_PRIVATE, PAGE, 0o600)).fd());
        let mut status = 0_i32;
        sys!(wait4(orphan.pid, &raw mut status, 0, 0)).is(orphan.pid);
        let orphan = WEXITSTATUS(status);
        let mut ds: shmid_ds = zeroed();
        sys!(shmctl(orphan, IPC_STAT, &raw mut ds)).ok();
        std::fs::write(file, "1").unwrap();
        sys!(shmctl(orphan, IPC_STAT, &raw mut ds)).fails(EINVAL);
        sys!(shmctl(seg, IPC_STAT, &raw mut ds)).ok();
        let a = sys!(shmat(seg, 0, 0)).size();
        sys!(shmdt(a)).ok();
        sys!(shmctl(seg, IPC_STAT, &raw mut ds)).fails(EINVAL);
    })
    .done();
}
