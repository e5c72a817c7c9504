//! A process's own directory in `/proc`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn self_is_the_process(t: &mut Guest) {
    let mut link = [0_u8; 32];
    let length = sys!(readlinkat(AT_FDCWD, c"/proc/self", &mut link, 32)).size();
    expect_eq!(String::from_utf8_lossy(&link[..length]), sys!(getpid()).ok().to_string());
    expect_eq!(t.field("/proc/self/status", "Pid"), sys!(getpid()).ok().to_string());
    expect_eq!(t.field("/proc/self/status", "PPid"), sys!(getppid()).ok().to_string());
}

#[case(as_root, as_user)]
fn maps_lists_a_mapping_with_its_rights(t: &mut Guest) {
    let map = t.map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    let start = format!("{:x}-{:x} rw-s 00000000 ", map.address, map.address + 3 * PAGE);
    let maps = t.maps();
    check!(maps.iter().any(|line| line.starts_with(&start)), "{maps:?}");
    for name in ["[stack]", "[vdso]"] {
        check!(maps.iter().any(|line| line.ends_with(name)), "no {name} in {maps:?}");
    }
}

#[case(as_root, as_user)]
fn cwd_exe_and_root_are_links(t: &mut Guest) {
    let link = |path: &str| std::fs::read_link(path).unwrap().to_string_lossy().into_owned();
    expect_eq!(link("/proc/self/cwd"), t.directory());
    expect_eq!(link("/proc/self/root"), "/");
    expect_eq!(link("/proc/self/exe"), t.program().to_string_lossy());
}

#[case(as_root, as_user)]
fn fd_lists_open_files_as_links(t: &mut Guest) {
    t.file("f", "x");
    let fd = t.open("f", O_RDONLY);
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    expect_eq!(link.to_string_lossy(), format!("{}/f", t.directory()));
    check!(t.names("/proc/self/fd").contains(&fd.to_string()));
    let pipe = t.pipe();
    let link = std::fs::read_link(format!("/proc/self/fd/{}", pipe.r)).unwrap();
    expect_eq!(link.to_string_lossy(), format!("pipe:[{}]", t.fstat(pipe.r).st_ino));
}
