//! `/proc/self/maps` and its relatives.

use crate::prelude::*;
use libc::*;

const ANON: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

#[case(as_root, as_user)]
fn a_file_mapping_names_offset_device_and_inode(t: &mut Guest) {
    t.file("f", vec![0; 3 * PAGE]);
    let fd = t.open("f", O_RDONLY);
    let map = t.map_file(fd, PAGE, PROT_READ, MAP_PRIVATE, PAGE);
    let start = format!("{:x}-{:x} r--p 00001000 ", map.address, map.address + PAGE);
    let maps = t.maps();
    let line = maps.iter().find(|line| line.starts_with(&start)).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    expect_eq!(words[4], t.fstat(fd).st_ino.to_string());
    expect_eq!(words[5], format!("{}/f", t.directory()));
    check!(
        words[3].split_once(':').is_some_and(|(major, minor)| major.len() >= 2 && minor.len() >= 2),
        "{line}"
    );
    sys!(unlink(c"f")).ok();
    check!(t.maps().iter().any(|line| line.starts_with(&start) && line.ends_with("/f (deleted)")));
}

#[case(as_root, as_user)]
fn lines_are_in_order_without_overlap(t: &mut Guest) {
    t.pages(1);
    t.map(PAGE, PROT_NONE, ANON);
    let mut last = 0;
    for line in t.maps().iter().filter(|line| !line.ends_with("[vsyscall]")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        check!(last <= start && start < end, "{line}");
        last = end;
    }
}

#[case(as_root, as_user)]
fn neighbours_with_equal_rights_are_one_line(t: &mut Guest) {
    let map = t.map(4 * PAGE, PROT_NONE, ANON);
    let count = |t: &Guest| {
        let inside = |line: &&String| {
            let start = usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
            (map.address..map.address + 4 * PAGE).contains(&start)
        };
        t.maps().iter().filter(inside).count()
    };
    sys!(mprotect(map.page(1), PAGE, PROT_READ)).ok();
    sys!(mprotect(map.page(2), PAGE, PROT_READ)).ok();
    let split = count(t);
    sys!(mprotect(map.page(1), 2 * PAGE, PROT_NONE)).ok();
    check!(count(t) < split, "{} lines, then {}", split, count(t));
}

#[case(as_root, as_user)]
fn smaps_tells_sizes(t: &mut Guest) {
    let map = t.map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    map.set(0, 1);
    let text = t.read("/proc/self/smaps").ok();
    let at = text.find(&format!("{:x}-", map.address)).unwrap();
    let lines: Vec<_> = text[at..].lines().skip(1).take(3).collect();
    expect_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["Size:", "12", "kB"]);
    check!(text[at..].contains("\nRss:") && text[at..].contains("\nPss:"));
}

#[case(as_root, as_user)]
fn statm_counts_pages(t: &mut Guest) {
    let words = |t: &Guest| -> Vec<i64> {
        t.read("/proc/self/statm").ok().split_whitespace().map(|word| word.parse().unwrap()).collect()
    };
    let before = words(t);
    expect_eq!(before.len(), 7);
    check!(before[0] >= before[1] && before[1] > 0);
    t.map(1000 * PAGE, PROT_NONE, ANON);
    check!(words(t)[0] >= before[0] + 1000);
}
