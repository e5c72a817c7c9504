//! Calls that do not exist, and small ones of no other family.

use crate::prelude::*;
use crate::sys::invoke;
use libc::*;

#[case(as_root, as_user)]
fn unknown_numbers_are_enosys(_t: &mut Guest) {
    for number in [1000, 4095, 0x3fff_ffff, -1] {
        invoke("a call that does not exist", number, &[]).fails(ENOSYS);
    }
    // Removed or never implemented in Linux.
    for number in [SYS_tuxcall, SYS_security, SYS_vserver, SYS_getpmsg, SYS_putpmsg, SYS_afs_syscall] {
        invoke("a call that is not implemented", number, &[]).fails(ENOSYS);
    }
}

/// The kernel keeps every register but rax, rcx and r11.
#[case(as_root, as_user)]
fn a_call_keeps_the_other_registers(_t: &mut Guest) {
    let (rdi, rsi, rdx, r8, r9, r10): (u64, u64, u64, u64, u64, u64);
    let (rcx, r11, next): (u64, u64, u64);
    // SAFETY: getpid takes no arguments.
    unsafe {
        std::arch::asm!(
            "lea {next}, [rip + 2f]", "syscall", "2:",
            next = out(reg) next,
            inlateout("rax") SYS_getpid => _,
            inlateout("rdi") 1_u64 => rdi, inlateout("rsi") 2_u64 => rsi, inlateout("rdx") 3_u64 => rdx,
            inlateout("r8") 4_u64 => r8, inlateout("r9") 5_u64 => r9, inlateout("r10") 6_u64 => r10,
            lateout("rcx") rcx, lateout("r11") r11,
        );
    }
    expect_eq!([rdi, rsi, rdx, r8, r9, r10], [1, 2, 3, 4, 5, 6]);
    // rcx holds the return address and r11 the flags, of which bit 1 is always set.
    expect_eq!((rcx, r11 & 2), (next, 2));
}

#[case(as_root, as_user)]
fn personality_is_kept_and_inherited(t: &mut Guest) {
    const ADDR_NO_RANDOMIZE: i64 = 0x004_0000;
    sys!(personality(0xffff_ffff_u32)).is(0);
    sys!(personality(ADDR_NO_RANDOMIZE)).is(0);
    t.fork(|| sys!(personality(0xffff_ffff_u32)).is(ADDR_NO_RANDOMIZE)).done();
}

#[case(as_root, as_user)]
fn kcmp_tells_same_from_different(t: &mut Guest) {
    const KCMP_FILE: i32 = 0;
    const KCMP_VM: i32 = 1;
    let own = sys!(getpid()).ok();
    let fd = t.open(".", O_RDONLY);
    let (copy, other) = (sys!(dup(fd)).fd(), t.open(".", O_RDONLY));
    sys!(kcmp(own, own, KCMP_FILE, fd, copy)).or_skip(ENOSYS, "no kcmp").is(0);
    check!(sys!(kcmp(own, own, KCMP_FILE, fd, other)).ok() > 0);
    sys!(kcmp(own, own, KCMP_FILE, fd, 99)).fails(EBADF);
    sys!(kcmp(own, own, KCMP_VM, 0, 0)).is(0);
    sys!(kcmp(own, own, 99, 0, 0)).fails(EINVAL);
    sys!(kcmp(own, 0x3fff_ffff, KCMP_VM, 0, 0)).fails(ESRCH);
}

#[case(as_root, as_user)]
fn io_priorities_are_kept(_t: &mut Guest) {
    const WHO_PROCESS: i32 = 1;
    let best_effort_6 = 2 << 13 | 6;
    sys!(ioprio_set(WHO_PROCESS, 0, best_effort_6)).ok();
    sys!(ioprio_get(WHO_PROCESS, 0)).is(best_effort_6);
    sys!(ioprio_set(WHO_PROCESS, 0, 7 << 13)).fails(EINVAL);
    sys!(ioprio_get(99, 0)).fails(EINVAL);
    sys!(ioprio_get(WHO_PROCESS, 0x3fff_ffff)).fails(ESRCH);
}

#[case(as_root, as_user)]
fn advice_on_files_is_taken(t: &mut Guest) {
    t.file("f", "text");
    let fd = t.open("f", O_RDONLY);
    for advice in POSIX_FADV_NORMAL..=POSIX_FADV_NOREUSE {
        sys!(fadvise64(fd, 0, 0, advice)).is(0);
    }
    sys!(fadvise64(fd, 0, 0, 99)).fails(EINVAL);
    sys!(fadvise64(fd, 0, -1, POSIX_FADV_NORMAL)).fails(EINVAL);
    sys!(fadvise64(t.pipe().r, 0, 0, POSIX_FADV_NORMAL)).fails(ESPIPE);
    sys!(readahead(fd, 0, 4)).is(0);
    sys!(readahead(t.pipe().r, 0, 4)).fails(EINVAL);
    sys!(sync()).is(0);
}

#[case(as_user)]
fn the_machine_is_not_a_users_to_change(_t: &mut Guest) {
    sys!(reboot(0xfee1_dead_u32, 672_274_793, 0, 0)).fails(EPERM);
    let time = [0_i64; 2];
    sys!(clock_settime(CLOCK_REALTIME, &time)).fails(EPERM);
    sys!(settimeofday(&time, 0)).fails(EPERM);
    sys!(swapoff(c"none")).fails(EPERM);
    sys!(acct(c"none")).fails(EPERM);
    sys!(vhangup()).fails(EPERM);
}
