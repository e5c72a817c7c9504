//! Linux: kernel/utsname.c.

use crate::nsproxy::count;
use fs_vfs::{Namespace, NsKind};
use sentry_auth::{Kuid, Ucount, UcountType, UserNamespace};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use std::sync::Arc;

/// Number of the first one. Linux: include/linux/proc_ns.h, `PROC_UTS_INIT_INO`.
const UTS_INIT_INO: u64 = 0xefff_fffe;

/// Host and domain name.
pub struct UtsNamespace {
    inum: u64,
    /// Owner.
    pub user_ns: Arc<UserNamespace>,
    names: Mutex<UtsNames, { level::LEAF }>,
    _ucount: Option<Ucount>,
}

/// The names of a [`UtsNamespace`], at most 64 bytes each.
#[derive(Clone, Debug, Default)]
pub struct UtsNames {
    /// sethostname(2).
    pub nodename: Vec<u8>,
    /// setdomainname(2).
    pub domainname: Vec<u8>,
}

impl UtsNamespace {
    pub(crate) fn new_initial(user_ns: Arc<UserNamespace>, names: UtsNames) -> Arc<UtsNamespace> {
        Arc::new(UtsNamespace { inum: UTS_INIT_INO, user_ns, names: Mutex::new(names), _ucount: None })
    }

    /// A copy, made by `creator` and owned by `user_ns`. Linux: `clone_uts_ns`.
    pub(crate) fn clone_uts_ns(
        &self,
        user_ns: &Arc<UserNamespace>,
        creator: Kuid,
    ) -> Result<Arc<UtsNamespace>, Errno> {
        let _ucount = count(user_ns, creator, UcountType::UtsNamespaces)?;
        let names = Mutex::new(self.names());
        Ok(Arc::new(UtsNamespace { inum: user_ns.alloc_inum(), user_ns: user_ns.clone(), names, _ucount }))
    }

    /// The names.
    pub fn names(&self) -> UtsNames {
        self.names.lock().clone()
    }

    /// Changes the names.
    pub fn update(&self, change: impl FnOnce(&mut UtsNames)) {
        change(&mut self.names.lock());
    }
}

impl Namespace for UtsNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Uts
    }

    fn inum(&self) -> u64 {
        self.inum
    }

    fn owner(&self) -> Option<Arc<UserNamespace>> {
        Some(self.user_ns.clone())
    }
}
