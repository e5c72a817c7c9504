//! Maps of many lines, and maps of maps.

use crate::prelude::*;
use libc::*;

/// `count` lines of one id each: `step * n` inside is `from + n` outside.
fn lines(count: u32, step: u32, from: u32) -> String {
    (0..count).map(|n| format!("{} {} 1\n", n * step, from + n)).collect()
}

#[case(as_root)]
fn a_map_of_340_lines_is_taken(t: &mut Guest) {
    t.mapped(0, &lines(340, 2, 0), &lines(340, 1, 1), || {
        let map = t.read("/proc/self/uid_map").ok();
        expect_eq!(map.lines().count(), 340);
        expect_eq!(map.lines().last(), Some("       678        339          1"));
        for id in [0, 2, 338, 340, 676, 678] {
            sys!(setresuid(id, -1, -1)).ok();
            expect_eq!(t.resuid()[0], id);
        }
        for id in [1, 339, 677, 679, 680] {
            sys!(setresuid(id, -1, -1)).fails(EINVAL);
        }
    })
    .done();
}

#[case(as_root)]
fn a_map_of_341_lines_is_einval(t: &mut Guest) {
    let child = t.unmapped_holder(0);
    let path = format!("/proc/{}/gid_map", child.pid);
    let map = lines(341, 1, 0);
    check!(map.len() < PAGE, "{}", map.len());
    t.write(&path, &map).fails(EINVAL);
    t.read(&path).is("");
    t.write(&path, lines(340, 1, 0)).ok();
    child.end();
}

/// Without a line's end after the last.
#[case(as_root)]
fn the_last_of_340_lines_needs_no_end(t: &mut Guest) {
    t.mapped(0, "", lines(340, 1, 0).trim_end(), || {
        expect_eq!(t.read("/proc/self/gid_map").ok().lines().count(), 340);
    })
    .done();
}

#[case(as_root, as_user)]
fn an_overlap_is_found_among_many(t: &mut Guest) {
    t.userns(0, || {
        t.write("/proc/self/uid_map", lines(300, 2, 0) + "598 5000 1").fails(EINVAL);
        t.write("/proc/self/uid_map", lines(300, 2, 0) + "599 299 1").fails(EINVAL);
    })
    .done();
}

#[case(as_root)]
fn up_to_five_lines_stay_in_the_order_written(t: &mut Guest) {
    t.mapped(0, "20 5 1\n10 6 1\n0 7 1\n40 8 1\n30 9 1", "", || {
        let map = t.read("/proc/self/uid_map").ok();
        let first: Vec<_> = map.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        expect_eq!(first, ["20", "10", "0", "40", "30"]);
    })
    .done();
}

#[case(as_root)]
fn more_lines_are_sorted_by_the_first_id(t: &mut Guest) {
    t.mapped(0, "20 5 1\n10 6 1\n0 7 1\n40 8 1\n30 9 1\n5 4 1", "", || {
        let map = t.read("/proc/self/uid_map").ok();
        let first: Vec<_> = map.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        expect_eq!(first, ["0", "5", "10", "20", "30", "40"]);
    })
    .done();
}

/// The columns are padded to ten characters.
#[case(as_root)]
fn the_columns_are_ten_wide(t: &mut Guest) {
    t.mapped(0, "1 4000000000 3\n4294967294 2 1", "", || {
        t.read("/proc/self/uid_map")
            .is(concat!("         1 4000000000          3\n", "4294967294          2          1\n"));
    })
    .done();
}

#[case(as_root)]
fn a_long_map_can_be_read_in_pieces(t: &mut Guest) {
    t.mapped(0, &lines(340, 1, 0), "", || {
        let whole = t.read("/proc/self/uid_map").ok();
        let fd = t.open("/proc/self/uid_map", O_RDONLY);
        let mut pieces = Vec::new();
        loop {
            let piece = t.recv(fd, 1000);
            if piece.is_empty() {
                break;
            }
            pieces.extend(piece);
        }
        expect_eq!(String::from_utf8(pieces).unwrap() == whole, true);
        let mut last = [0_u8; 33];
        sys!(pread64(fd, &mut last, 33, whole.len() - 33)).is(33);
        expect_eq!(&last, b"       339        339          1\n");
    })
    .done();
}

/// Three namespaces one in the other; `body` runs in the innermost. `read` runs in those of level 0, 2 and 3, with its
/// level and the processes of levels 1 to 3.
#[track_caller]
fn three_deep(t: &Guest, body: impl FnOnce(), read: impl Fn(usize, [u32; 3])) {
    let shared = t.shared();
    let (ready, inner, go) = (t.pipe(), t.pipe(), t.pipe());
    let pids = || [0, 1, 2].map(|level| shared[level].load(SeqCst));
    let own = || sys!(getpid()).ok() as u32;
    let child = t.mapped(0, "0 100000 1000", "0 100000 1000", || {
        shared[0].store(own(), SeqCst);
        sys!(setresgid(0, 0, 0)).ok();
        sys!(setresuid(0, 0, 0)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        let child = t.mapped(0, "0 100 100", "0 100 100", || {
            shared[1].store(own(), SeqCst);
            sys!(setresgid(0, 0, 0)).ok();
            sys!(setresuid(0, 0, 0)).ok();
            sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
            let child = t.mapped(0, "0 10 10", "0 10 10", || {
                shared[2].store(own(), SeqCst);
                body();
                read(3, pids());
                inner.signal();
                go.wait();
            });
            inner.wait();
            read(2, pids());
            ready.signal();
            child.done();
        });
        child.done();
    });
    ready.wait();
    read(0, pids());
    go.signal();
    child.done();
}

#[case(as_root)]
fn maps_of_maps_compose(t: &mut Guest) {
    sys!(chmod(c".", 0o777)).ok();
    three_deep(
        t,
        || {
            sys!(setresgid(4, 4, 4)).ok();
            sys!(setresuid(3, 3, 3)).ok();
            t.file("f", "");
            expect_eq!((t.stat("f").st_uid, t.stat("f").st_gid), (3, 4));
            // Its namespace's root owns what does not say otherwise.
            sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        },
        |_, _| (),
    );
    expect_eq!((t.stat("f").st_uid, t.stat("f").st_gid), (100_113, 100_114));
}

/// The second column is what the reader calls the id; for a namespace of one's own, what its parent calls it.
#[case(as_root)]
fn the_second_column_is_translated_for_the_reader(t: &mut Guest) {
    let line = |first: u32, count: u32| format!("{:10} {first:10} {count:10}\n", 0);
    three_deep(
        t,
        || (),
        |level, pids| {
            let read = |of: usize| t.read(&format!("/proc/{}/uid_map", pids[of - 1]));
            match level {
                0 => {
                    read(1).is(&line(100_000, 1000));
                    read(2).is(&line(100_100, 100));
                    read(3).is(&line(100_110, 10));
                }
                2 => {
                    read(1).is(&line(u32::MAX, 1000));
                    read(2).is(&line(100, 100));
                    read(3).is(&line(10, 10));
                }
                _ => {
                    read(1).is(&line(u32::MAX, 1000));
                    read(2).is(&line(u32::MAX, 100));
                    read(3).is(&line(10, 10));
                }
            }
        },
    );
}

/// What counts is who opened the file.
#[case(as_root)]
fn a_map_opened_outside_reads_as_outside(t: &mut Guest) {
    let child = t.unmapped_holder(0);
    let path = format!("/proc/{}/uid_map", child.pid);
    t.write_maps(child.pid, "0 100000 10", "0 100000 10");
    let fd = t.open(&path, O_RDONLY);
    let user = t.ns(child.pid, "user");
    t.fork(|| {
        sys!(setns(user, CLONE_NEWUSER)).ok();
        sys!(unshare(CLONE_NEWUSER)).fails(EPERM);
        expect_eq!(t.recv(fd, 64), b"         0     100000         10\n");
    })
    .done();
    child.end();
}

#[case(as_root)]
fn a_range_must_lie_in_one_line_of_the_parents_map(t: &mut Guest) {
    t.mapped(0, "0 100000 10\n10 100010 10", "0 100000 20", || {
        sys!(setresgid(0, 0, 0)).ok();
        sys!(setresuid(0, 0, 0)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        let child = t.unmapped_holder(0);
        let path = format!("/proc/{}/uid_map", child.pid);
        t.write(&path, "0 5 10").fails(EPERM);
        t.write(&path, "0 5 5\n5 10 5").ok();
        child.end();
    })
    .done();
}

#[case(as_root)]
fn a_range_must_lie_in_one_line_of_a_long_parents_map(t: &mut Guest) {
    let many: String = (0..10).map(|n| format!("{} {} 10\n", n * 10, 100_000 + n * 10)).collect();
    t.mapped(0, &many, "0 100000 100", || {
        sys!(setresgid(0, 0, 0)).ok();
        sys!(setresuid(0, 0, 0)).ok();
        sys!(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
        let child = t.unmapped_holder(0);
        let path = format!("/proc/{}/uid_map", child.pid);
        t.write(&path, "0 45 10").fails(EPERM);
        t.write(&path, "0 95 6").fails(EPERM);
        t.write(&path, "0 40 10\n10 90 10").ok();
        child.end();
    })
    .done();
}
