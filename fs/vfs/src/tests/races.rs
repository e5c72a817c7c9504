//! Many threads at once: no deadlock, no lock out of order, and a cache that says what the filesystem says.

use super::*;
use std::collections::BTreeMap;

/// A small generator of numbers: a test is to do the same each time, as far as threads allow.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn name(&mut self) -> String {
        let depth = 1 + self.next(3);
        (0..depth).map(|_| format!("/n{}", self.next(3))).collect()
    }
}

fn churn(t: &Task, seed: u64) {
    let mut n = Numbers(seed);
    for _ in 0..3000 {
        let (a, b) = (n.name(), n.name());
        // Most of these fail; which ones do is not the point.
        let _ = match n.next(10) {
            0 | 1 => t.mkdir(&a),
            2 => t.rmdir(&a),
            3 => t.unlink(&a),
            4 => t.rename(&a, &b, 0),
            5 => t.rename(&a, &b, 2),
            6 => t.link(&a, &b),
            7 => t.open(&a, OpenFlags::CREAT | OpenFlags::RDWR).map(|_| ()),
            8 => t.symlink(&b, &a),
            _ => t.stat(&a).map(|_| ()),
        };
    }
}

fn all_names() -> Vec<String> {
    let mut all = vec![String::new()];
    for _ in 0..3 {
        let longer: Vec<_> = all.iter().flat_map(|p| (0..3).map(move |i| format!("{p}/n{i}"))).collect();
        all.extend(longer);
    }
    all.retain(|p| !p.is_empty());
    all
}

fn seen(t: &Task) -> BTreeMap<String, Option<u64>> {
    let ino =
        |name: &String| t.lookup(name, LookupFlags::empty()).ok().and_then(|p| p.inode().map(|i| i.ino()));
    all_names().into_iter().map(|name| (name.clone(), ino(&name))).collect()
}

#[test]
fn names_change_under_many_hands() {
    let t = Task::new();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let task = Task(t.0.sibling(seed + 2, Cred::clone(&t.0.cred)));
            scope.spawn(move || churn(&task, u64::from(seed)));
        }
    });
    let cached = seen(&t);
    let root = t.0.fs.root().dentry;
    root.shrink_children();
    root.sb().forget_all();
    assert_eq!(seen(&t), cached);
}

#[test]
fn mounts_change_under_many_hands() {
    let t = Task::new();
    for d in ["/a", "/a/x", "/b", "/c"] {
        assert_eq!(t.mkdir(d), Ok(()));
    }
    assert_eq!(t.change("/", ms::SHARED | ms::REC), Ok(()));
    std::thread::scope(|scope| {
        for seed in 0..4u32 {
            let task = Task(t.0.sibling(seed + 2, Cred::clone(&t.0.cred)));
            scope.spawn(move || {
                let mut n = Numbers(u64::from(seed));
                let places = ["/a", "/a/x", "/b", "/b/x", "/c"];
                let count = places.len() as u64;
                let mut other = None;
                for _ in 0..300 {
                    let mut place = || places[usize::try_from(n.next(count)).unwrap_or(0)];
                    let (p, q) = (place(), place());
                    let _ = match n.next(7) {
                        0 => task.bind(p, q, 0),
                        1 => task.mount(p),
                        2 | 3 => task.umount(p, 2),
                        4 => task.change(p, ms::SLAVE),
                        5 => task.move_mount(p, q),
                        _ => {
                            other = Some(task.unshare(Cred::clone(&task.0.cred)));
                            Ok(())
                        }
                    };
                    let _ = task.stat("/b/x/../../a/x");
                }
                drop(other);
            });
        }
    });
    while t.umount("/a", 2).is_ok() || t.umount("/b", 2).is_ok() || t.umount("/c", 2).is_ok() {}
    while t.umount("/a/x", 2).is_ok() || t.umount("/b/x", 2).is_ok() {}
    assert_eq!(t.mountpoints(), ["/"]);
}
