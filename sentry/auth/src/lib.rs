//! Credentials and user namespaces. Knows no task and no file.
//!
//! Linux: kernel/cred.c, kernel/user_namespace.c, kernel/groups.c, security/commoncap.c, security/keys.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod bprm;
pub mod capability;
mod commoncap;
mod cred;
mod groups;
mod id;
mod id_map;
pub mod keys;
mod map_write;
mod ucount;
mod user_namespace;
mod vfs_caps;

pub use bprm::{BprmCreds, BprmFile, BprmUnsafe, bprm_creds_from_file};
pub use capability::{CAP_LAST_CAP, CapSet};
pub use commoncap::{capable_wrt_inode_uidgid, cred_cap_issubset, inode_owner_or_capable, ns_capable};
pub use cred::{Cred, SecureBits};
pub use groups::{GroupInfo, NGROUPS_MAX};
pub use id::{Kgid, Kuid, OVERFLOW_ID};
pub use id_map::{IdMap, IdMapExtent, MAX_EXTENTS};
pub use map_write::IdKind;
pub use ucount::{NprocCount, Ucount, UcountType, inc_nproc, inc_ucount, is_nproc_overlimit};
pub use user_namespace::UserNamespace;
pub use vfs_caps::{VfsCaps, cap_convert_nscap, cap_inode_getsecurity, get_vfs_caps};
