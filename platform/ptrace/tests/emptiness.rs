//! What a stub holds. One test, since it looks at all children of the test program.
#![allow(clippy::unwrap_used)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::Platform;

#[test]
fn a_stub_holds_nothing_of_the_sentry() {
    let machine = Machine::new();
    let _address_spaces: Vec<_> = (0..10).map(|_| machine.platform.new_address_space().unwrap()).collect();
    for pid in children() {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let kept: Vec<_> = maps.lines().filter(|line| !line.ends_with("[vsyscall]")).collect();
        assert_eq!(kept.len(), 2, "{maps}");
        assert!(kept[0].starts_with("7fff00000000-7fff00001000 r-xs"), "{maps}");
        assert!(kept[1].starts_with("7fff00001000-7fff00002000 r--s"), "{maps}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for (name, value) in [
            ("SigBlk:", "0000000000000000"),
            ("SigIgn:", "0000000000000000"),
            ("SigCgt:", "0000000000000000"),
            ("NoNewPrivs:", "1"),
            ("Seccomp:", "2"),
        ] {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            assert_eq!(line.split_whitespace().nth(1), Some(value), "{line}");
        }
    }
}
