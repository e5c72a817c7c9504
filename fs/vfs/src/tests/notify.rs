//! Notification marks.

use super::*;
use crate::{dnotify_flush, fcntl_dirnotify};
use sentry_sync::{Mutex, Wake, Woken, level};
use sentry_uapi::fcntl::{DN_CREATE, DN_MULTISHOT, DN_RENAME};
use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>, { level::NOTIFY }>,
}

struct Watch {
    tag: &'static str,
    log: Arc<Log>,
    // As inotify does: a watched file stays in memory.
    _inode: Arc<Inode>,
}

impl NotifyMark for Watch {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn mask(&self) -> NotifyMask {
        NotifyMask::all()
    }

    fn handle_event(&self, event: &NotifyEvent<'_>) {
        let names: Vec<String> = event.mask.iter_names().map(|(n, _)| n.to_string()).collect();
        let name = event.name.map(|n| String::from_utf8_lossy(n).into_owned()).unwrap_or_default();
        let line = format!("{}:{}:{}", self.tag, names.join("|"), name);
        self.log.lines.lock().push(line.trim_end_matches(':').to_string());
    }

    fn detached(&self) {
        self.log.lines.lock().push(format!("{}:gone", self.tag));
    }
}

fn watch(t: &Task, log: &Arc<Log>, name: &str, tag: &'static str) {
    let Some(inode) = t.path(name).inode().cloned() else { unreachable!("it is there") };
    inode.attach_mark(Arc::new(Watch { tag, log: log.clone(), _inode: inode.clone() }));
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lines.lock())
}

#[test]
fn a_directory_hears_of_its_entries_and_a_file_of_itself() {
    let t = Task::new();
    assert_eq!(t.mkdir("/d"), Ok(()));
    let log = Arc::<Log>::default();
    watch(&t, &log, "/d", "d");
    t.create("/d/f");
    assert_eq!(take(&log), ["d:CREATE:f", "d:OPEN:f", "d:CLOSE_WRITE:f"]);
    watch(&t, &log, "/d/f", "f");
    assert_eq!(t.write("/d/f", "x"), Ok(1));
    let both = |kind: &str| [format!("d:{kind}:f"), format!("f:{kind}")];
    assert_eq!(take(&log), [both("OPEN"), both("MODIFY"), both("CLOSE_WRITE")].concat());
    assert_eq!(t.chmod("/d/f", 0o600), Ok(()));
    assert_eq!(take(&log), both("ATTRIB"));
    assert_eq!(t.mkdir("/d/sub"), Ok(()));
    assert_eq!(t.rename("/d/f", "/d/sub/g", 0), Ok(()));
    assert_eq!(take(&log), ["d:CREATE|ISDIR:sub", "d:MOVED_FROM:f", "f:MOVE_SELF"]);
    assert_eq!(t.unlink("/d/sub/g"), Ok(()));
    assert_eq!(take(&log), ["f:ATTRIB", "f:DELETE_SELF", "f:gone"]);
    assert_eq!(t.rmdir("/d/sub"), Ok(()));
    assert_eq!(t.rmdir("/d"), Ok(()));
    assert_eq!(take(&log), ["d:DELETE|ISDIR:sub", "d:DELETE_SELF|ISDIR", "d:gone"]);
}

#[test]
fn a_file_is_gone_when_nobody_has_it_open() {
    let t = Task::new();
    t.create("/f");
    let log = Arc::<Log>::default();
    watch(&t, &log, "/f", "f");
    let open = t.open("/f", OpenFlags::empty());
    assert_eq!(t.unlink("/f"), Ok(()));
    assert_eq!(take(&log), ["f:OPEN", "f:ATTRIB"]);
    drop(open);
    assert_eq!(take(&log), ["f:CLOSE_NOWRITE", "f:DELETE_SELF", "f:gone"]);
}

#[test]
fn unmounting_ends_the_marks() {
    let t = Task::new();
    assert_eq!(t.mkdir("/m"), Ok(()));
    assert_eq!(t.mount("/m"), Ok(()));
    t.create("/m/f");
    let log = Arc::<Log>::default();
    watch(&t, &log, "/m/f", "f");
    assert_eq!(t.umount("/m", 0), Ok(()));
    assert_eq!(take(&log), ["f:UNMOUNT", "f:gone"]);
}

#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(&self, _events: u32) -> Woken {
        self.0.fetch_add(1, Ordering::Relaxed);
        Woken::NOBODY
    }
}

#[test]
fn dnotify_wakes_once_or_until_it_is_flushed() {
    let t = Task::new();
    assert_eq!(t.mkdir("/d"), Ok(()));
    let Ok(dir) = t.open("/d", OpenFlags::empty()) else { unreachable!("it is there") };
    let count = Arc::<Count>::default();
    let ask = |owner: u64, arg: u64| fcntl_dirnotify(&dir, owner, arg, || count.clone());
    let woken = || count.0.swap(0, Ordering::Relaxed);
    assert_eq!(ask(1, DN_CREATE), Ok(()));
    t.create("/d/1");
    t.create("/d/2");
    assert_eq!(woken(), 1);
    assert_eq!((ask(1, DN_RENAME | DN_MULTISHOT), ask(2, DN_CREATE | DN_MULTISHOT)), (Ok(()), Ok(())));
    t.create("/d/3");
    assert_eq!(t.rename("/d/3", "/d/4", 0), Ok(()));
    assert_eq!(woken(), 3);
    dnotify_flush(&dir, 2);
    t.create("/d/5");
    assert_eq!(woken(), 0);
    assert!(dir.inode().sb().has_marks());
    dnotify_flush(&dir, 1);
    assert!(!dir.inode().sb().has_marks());
}
