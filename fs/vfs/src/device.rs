//! Linux: fs/char_dev.c and block/bdev.c: which driver opens a device node.

use crate::{FileOps, FileType, Inode, TaskContext};
use sentry_sync::{RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, ENXIO};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::stat::{major, minor};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Character or block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// Character device.
    Char,
    /// Block device.
    Block,
}

/// Opens special files: a driver's way in, and a FIFO's.
pub type OpenSpecial =
    dyn Fn(&Arc<Inode>, &dyn TaskContext, OpenFlags) -> Result<Box<dyn FileOps>, Errno> + Send + Sync;

struct Driver {
    last_minor: u32,
    name: &'static str,
    open: Arc<OpenSpecial>,
}

/// The drivers of a kernel.
#[derive(Default)]
pub struct DeviceTable {
    /// By kind, major and first minor number.
    drivers: RwLock<BTreeMap<(DeviceKind, u32, u32), Driver>, { level::LEAF }>,
}

impl DeviceTable {
    /// Puts a driver in charge of some minor numbers of a major one. `name` is what `/proc/devices` shows. Linux:
    /// `register_chrdev_region`.
    ///
    /// # Errors
    /// `EBUSY` if one of them has a driver.
    pub fn register(
        &self,
        kind: DeviceKind,
        major: u32,
        minors: RangeInclusive<u32>,
        name: &'static str,
        open: Arc<OpenSpecial>,
    ) -> Result<(), Errno> {
        let mut drivers = self.drivers.write();
        let before = drivers.range(..=(kind, major, *minors.end())).next_back();
        if let Some(((k, m, _), d)) = before
            && (*k, *m) == (kind, major)
            && d.last_minor >= *minors.start()
        {
            return Err(EBUSY);
        }
        drivers.insert((kind, major, *minors.start()), Driver { last_minor: *minors.end(), name, open });
        Ok(())
    }

    /// Opens the device a special file stands for. Linux: `chrdev_open`.
    pub(crate) fn open(
        &self,
        inode: &Arc<Inode>,
        ctx: &dyn TaskContext,
        flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let kind =
            if inode.file_type() == FileType::BlockDevice { DeviceKind::Block } else { DeviceKind::Char };
        let (major, minor) = (major(inode.rdev()), minor(inode.rdev()));
        let open = {
            let drivers = self.drivers.read();
            let found = drivers.range(..=(kind, major, minor)).next_back();
            found
                .filter(|((k, m, _), d)| (*k, *m) == (kind, major) && d.last_minor >= minor)
                .map(|(_, d)| d.open.clone())
        };
        open.ok_or(ENXIO)?(inode, ctx, flags)
    }

    /// Kind, major number and name of each driver, for `/proc/devices`.
    pub fn list(&self) -> Vec<(DeviceKind, u32, &'static str)> {
        let drivers = self.drivers.read();
        let mut list: Vec<_> = drivers.iter().map(|((k, m, _), d)| (*k, *m, d.name)).collect();
        list.dedup();
        list
    }
}
