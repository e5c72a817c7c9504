//! A host that does not allow ptrace. One test, since it looks at all children of the test program.
#![allow(clippy::unwrap_used)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::children;
use platform::PlatformError;
use platform_ptrace::PtracePlatform;
use std::fs::File;

/// Makes ptrace(2) fail with EPERM for the calling thread and those it starts.
fn forbid_ptrace() {
    let op = |code: u32, jt, jf, k: u32| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let jump = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let errno = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::EPERM).unwrap();
    let mut code = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(jump, 0, 1, u32::try_from(libc::SYS_ptrace).unwrap()),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, errno),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: code.as_mut_ptr() };
    // SAFETY: the program is valid for the call, which copies it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program), 0);
    }
}

#[test]
fn a_host_without_ptrace_is_told_in_one_line() {
    forbid_ptrace();
    let file = File::open("/proc/self/exe").unwrap();
    let error = PtracePlatform::new(file.into()).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, PlatformError::Unavailable(_)), "{text}");
    assert!(text.contains("ptrace_scope") && !text.contains('\n'), "{text}");
    assert_eq!(children(), []);
}
