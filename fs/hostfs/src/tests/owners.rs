//! Owners that are hidden from the sentry.

use super::Fixture;
use crate::{HostOwners, NamedOwner, Sharing};
use fs_vfs::SetAttr;
use platform_host::fs;
use sentry_uapi::Errno;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Hides everything, or nothing, and counts how often it is asked.
struct Told {
    hides: bool,
    asked: AtomicU32,
    together: AtomicU32,
}

impl Told {
    fn new(hides: bool) -> Arc<Told> {
        Arc::new(Told { hides, asked: AtomicU32::new(0), together: AtomicU32::new(0) })
    }
}

impl HostOwners for Told {
    fn hides(&self, _uid: u32, _gid: u32) -> bool {
        self.hides
    }

    fn owner(&self, _file: BorrowedFd<'_>) -> Option<(u32, u32)> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Some((123, 45))
    }

    fn owners_in(&self, dir: BorrowedFd<'_>, names: &[&[u8]]) -> Vec<NamedOwner> {
        self.together.fetch_add(1, Ordering::Relaxed);
        let found = names.iter().filter_map(|name| fs::stat_at(dir, name).ok());
        found.map(|stat| NamedOwner { file: (stat.dev, stat.ino), ids: (123, 45) }).collect()
    }
}

fn owners_seen(told: &Arc<Told>, sharing: Sharing) -> Result<(u32, u32), Errno> {
    let t = Fixture::with_owners(true, sharing, Some(told.clone()))?;
    t.put("f", b"")?;
    let file = t.walk("f")?;
    file.getattr()?;
    file.getattr()?;
    let attr = t.walk("f")?.getattr()?;
    Ok((attr.uid.to_global(), attr.gid.to_global()))
}

#[test]
fn a_hidden_owner_is_asked_for_once() -> Result<(), Errno> {
    for sharing in [Sharing::Exclusive, Sharing::Shared] {
        let told = Told::new(true);
        assert_eq!(owners_seen(&told, sharing)?, (123, 45));
        assert_eq!(told.asked.load(Ordering::Relaxed), 1, "{sharing:?}");
    }
    Ok(())
}

#[test]
fn nobody_is_asked_for_what_shows() -> Result<(), Errno> {
    let told = Told::new(false);
    assert_ne!(owners_seen(&told, Sharing::Shared)?, (123, 45));
    assert_eq!(told.asked.load(Ordering::Relaxed), 0);
    Ok(())
}

#[test]
fn a_change_makes_the_owner_be_asked_for_again() -> Result<(), Errno> {
    let told = Told::new(true);
    let t = Fixture::with_owners(true, Sharing::Exclusive, Some(told.clone()))?;
    t.put("f", b"")?;
    let file = t.walk("f")?;
    file.getattr()?;
    file.ops().setattr(&file, &SetAttr { perm: Some(0o600), ..SetAttr::default() })?;
    file.getattr()?;
    assert_eq!(told.asked.load(Ordering::Relaxed), 2);
    Ok(())
}

#[test]
fn files_of_a_directory_that_stays_are_asked_for_together() -> Result<(), Errno> {
    for (writable, sharing) in
        [(false, Sharing::Exclusive), (true, Sharing::Exclusive), (false, Sharing::Shared)]
    {
        let told = Told::new(true);
        let t = Fixture::with_owners(writable, sharing, Some(told.clone()))?;
        for n in 0..100 {
            t.put(&format!("file{n}"), b"")?;
        }
        for n in 0..100 {
            let attr = t.walk(&format!("file{n}"))?.getattr()?;
            assert_eq!((attr.uid.to_global(), attr.gid.to_global()), (123, 45));
        }
        let (single, together) = (told.asked.load(Ordering::Relaxed), told.together.load(Ordering::Relaxed));
        let want = if !writable && sharing == Sharing::Exclusive { (4, 1) } else { (100, 0) };
        assert_eq!((single, together), want);
    }
    Ok(())
}
