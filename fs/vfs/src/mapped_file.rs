//! An open file as the memory manager sees it.

use crate::File;
use sentry_mm::MappedFile;
use sentry_uapi::Errno;
use std::any::Any;

impl MappedFile for File {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn dev_ino(&self) -> (u64, u64) {
        (self.inode().sb().dev, self.inode().ino())
    }

    fn map_writable(&self, come: bool) -> Result<(), Errno> {
        self.ops().map_writable(self, come)
    }
}
