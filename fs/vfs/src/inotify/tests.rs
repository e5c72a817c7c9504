use super::*;
use crate::IoFlags;
use crate::tests::Task;
use sentry_uapi::errno::{EAGAIN, EEXIST, EMFILE, ENOSPC, ENOTDIR};
use sentry_uapi::inotify::{IN_DELETE_SELF, InotifyEvent};
use std::sync::atomic::Ordering;
use zerocopy::FromBytes;

const IN_MODIFY: u32 = 2;
const IN_ATTRIB: u32 = 4;
const IN_CLOSE_WRITE: u32 = 8;
const IN_OPEN: u32 = 0x20;
const IN_MOVED_FROM: u32 = 0x40;
const IN_MOVED_TO: u32 = 0x80;
const IN_CREATE: u32 = 0x100;
const IN_DELETE: u32 = 0x200;

fn init(task: &Task) -> Result<Arc<File>, Errno> {
    do_inotify_init(&task.0, IN_NONBLOCK)
}

fn add(task: &Task, file: &File, name: &str, mask: u32) -> Result<i32, Errno> {
    do_inotify_add_watch(&task.0, file, name.as_bytes(), mask)
}

fn read_bytes(task: &Task, file: &File, max: usize) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0; max];
    let n = file.read(&task.0, &mut IoDst::from_slice(&mut buf), IoFlags::empty())?;
    buf.truncate(n);
    Ok(buf)
}

/// Everything in the queue: watch, mask, cookie there or not, name.
fn events(task: &Task, file: &File) -> Vec<(i32, u32, bool, String)> {
    let bytes = match read_bytes(task, file, 1 << 16) {
        Ok(bytes) => bytes,
        Err(e) => {
            assert_eq!(e, EAGAIN);
            return Vec::new();
        }
    };
    let mut rest = &bytes[..];
    let mut out = Vec::new();
    while let Ok((head, tail)) = InotifyEvent::read_from_prefix(rest) {
        let len = usize::try_from(head.len).unwrap_or(0);
        let name = String::from_utf8_lossy(&tail[..len]).trim_end_matches('\0').to_string();
        assert!(len == 0 || len > name.len());
        out.push((head.wd, head.mask, head.cookie != 0, name));
        rest = &tail[len..];
    }
    out
}

fn event(wd: i32, mask: u32, name: &str) -> (i32, u32, bool, String) {
    (wd, mask, mask & (IN_MOVED_FROM | IN_MOVED_TO) != 0, name.into())
}

#[test]
fn a_directory_tells_of_its_entries_and_a_file_of_itself() -> Result<(), Errno> {
    let task = Task::new();
    task.mkdir("d")?;
    let file = init(&task)?;
    let kinds = IN_CREATE | IN_DELETE | IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_OPEN;
    assert_eq!(add(&task, &file, "d", kinds), Ok(1));
    task.create("d/f");
    assert_eq!(
        events(&task, &file),
        vec![event(1, IN_CREATE, "f"), event(1, IN_OPEN, "f"), event(1, IN_CLOSE_WRITE, "f")]
    );
    task.mkdir("d/sub")?;
    assert_eq!(events(&task, &file), vec![event(1, IN_CREATE | IN_ISDIR, "sub")]);
    assert_eq!(add(&task, &file, "d/f", IN_MODIFY | IN_DELETE_SELF | IN_ATTRIB), Ok(2));
    task.write("d/f", "x")?;
    assert_eq!(
        events(&task, &file),
        vec![
            event(1, IN_OPEN, "f"),
            event(1, IN_MODIFY, "f"),
            event(2, IN_MODIFY, ""),
            event(1, IN_CLOSE_WRITE, "f")
        ]
    );
    task.rename("d/f", "d/g", 0)?;
    assert_eq!(events(&task, &file), vec![event(1, IN_MOVED_FROM, "f"), event(1, IN_MOVED_TO, "g")]);
    task.unlink("d/g")?;
    assert_eq!(
        events(&task, &file),
        vec![
            event(2, IN_ATTRIB, ""),
            event(2, IN_DELETE_SELF, ""),
            event(2, IN_IGNORED, ""),
            event(1, IN_DELETE, "g")
        ]
    );
    Ok(())
}

#[test]
fn watches_are_changed_and_removed() -> Result<(), Errno> {
    let task = Task::new();
    task.create("f");
    let file = init(&task)?;
    assert_eq!(add(&task, &file, "f", IN_OPEN), Ok(1));
    assert_eq!(add(&task, &file, "f", IN_CLOSE_WRITE | IN_MASK_ADD), Ok(1));
    task.write("f", "x")?;
    assert_eq!(events(&task, &file), vec![event(1, IN_OPEN, ""), event(1, IN_CLOSE_WRITE, "")]);
    assert_eq!(add(&task, &file, "f", IN_MODIFY), Ok(1));
    task.write("f", "x")?;
    task.write("f", "x")?;
    // The second says nothing new.
    assert_eq!(events(&task, &file), vec![event(1, IN_MODIFY, "")]);
    assert_eq!(add(&task, &file, "f", IN_MODIFY | IN_MASK_CREATE), Err(EEXIST));
    do_inotify_rm_watch(&file, 1)?;
    assert_eq!(do_inotify_rm_watch(&file, 1), Err(EINVAL));
    task.write("f", "x")?;
    assert_eq!(events(&task, &file), vec![event(1, IN_IGNORED, "")]);
    // Numbers are not used again soon.
    assert_eq!(add(&task, &file, "f", IN_MODIFY | IN_ONESHOT), Ok(2));
    task.write("f", "x")?;
    task.write("f", "x")?;
    assert_eq!(events(&task, &file), vec![event(2, IN_MODIFY, ""), event(2, IN_IGNORED, "")]);
    assert!(task.lookup("f", LookupFlags::FOLLOW)?.inode().is_some_and(|i| i.marks().is_empty()));
    Ok(())
}

#[test]
fn errors_and_limits() -> Result<(), Errno> {
    let task = Task::new();
    task.create("f");
    let file = init(&task)?;
    assert_eq!(do_inotify_init(&task.0, 1).err(), Some(EINVAL));
    assert_eq!(add(&task, &file, "f", 0), Err(EINVAL));
    assert_eq!(add(&task, &file, "f", 1 << 27), Err(EINVAL));
    assert_eq!(add(&task, &file, "f", IN_MASK_ADD | IN_MASK_CREATE | IN_OPEN), Err(EINVAL));
    assert_eq!(add(&task, &file, "missing", IN_OPEN), Err(ENOENT));
    assert_eq!(add(&task, &file, "f", IN_OPEN | IN_ONLYDIR), Err(ENOTDIR));
    let other = crate::do_eventfd(&task.0, 0, 0)?;
    assert_eq!(add(&task, &other, "f", IN_OPEN), Err(EINVAL));
    let limits = &task.0.vfs.inotify;
    limits.max_user_watches.store(1, Ordering::Relaxed);
    assert_eq!(add(&task, &file, "f", IN_OPEN), Ok(1));
    assert_eq!(add(&task, &file, ".", IN_OPEN), Err(ENOSPC));
    do_inotify_rm_watch(&file, 1)?;
    assert!(add(&task, &file, ".", IN_OPEN).is_ok());
    limits.max_user_instances.store(1, Ordering::Relaxed);
    assert_eq!(init(&task).err(), Some(EMFILE));
    drop(file);
    assert!(init(&task).is_ok());
    Ok(())
}

#[test]
fn a_full_queue_says_so_once_and_short_reads_stop_before_an_event() -> Result<(), Errno> {
    let task = Task::new();
    task.0.vfs.inotify.max_queued_events.store(3, Ordering::Relaxed);
    let file = init(&task)?;
    add(&task, &file, ".", IN_CREATE)?;
    for name in ["a", "b", "a-name-that-is-long", "d", "e"] {
        task.mkdir(name)?;
    }
    assert_eq!(group(&file)?.bytes(), 32 + 32 + 48 + 16);
    assert_eq!(read_bytes(&task, &file, 31), Err(EINVAL));
    assert_eq!(read_bytes(&task, &file, 100)?.len(), 64);
    assert_eq!(
        events(&task, &file),
        vec![event(1, IN_CREATE | IN_ISDIR, "a-name-that-is-long"), event(-1, IN_Q_OVERFLOW, "")]
    );
    task.mkdir("g")?;
    assert_eq!(events(&task, &file), vec![event(1, IN_CREATE | IN_ISDIR, "g")]);
    assert_eq!(file.poll_now(), 0);
    Ok(())
}

#[test]
fn unlinked_files_can_be_left_out() -> Result<(), Errno> {
    let task = Task::new();
    task.create("f");
    let file = init(&task)?;
    add(&task, &file, ".", IN_MODIFY | IN_EXCL_UNLINK)?;
    let open = task.open("f", OpenFlags::WRONLY)?;
    let put = || open.write(&task.0, &mut sentry_mm::IoSrc::from_slice(b"x"), IoFlags::empty());
    put()?;
    task.unlink("f")?;
    put()?;
    assert_eq!(events(&task, &file), vec![event(1, IN_MODIFY, "f")]);
    Ok(())
}
