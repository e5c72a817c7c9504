//! Mount options. Linux: mm/shmem.c, `shmem_fs_parameters`, `shmem_parse_one`, `shmem_show_options`.

use sentry_auth::{Cred, Kgid, Kuid};
use sentry_mm::PAGE_SIZE;
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;

/// Options of a tmpfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TmpfsOptions {
    /// Most blocks of a page; 0 for no limit.
    pub max_blocks: u64,
    /// Most inodes; 0 for no limit.
    pub max_inodes: u64,
    /// Permission bits of the root directory.
    pub mode: u32,
    /// Owner of the root directory.
    pub uid: Kuid,
    /// Group of the root directory.
    pub gid: Kgid,
    /// Pages of memory that the defaults and a size in percent are reckoned from.
    pub total_pages: u64,
}

/// What is mentioned in an option string.
#[derive(Default)]
struct Given {
    blocks: Option<u64>,
    inodes: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl TmpfsOptions {
    /// The defaults with this many bytes of memory: half of it, an inode for each of those pages, mode 1777, root's. 0 bytes give
    /// no limits.
    pub fn with_memory(total: u64) -> TmpfsOptions {
        let total_pages = total / PAGE_SIZE;
        TmpfsOptions {
            max_blocks: total_pages / 2,
            max_inodes: total_pages / 2,
            mode: 0o1777,
            uid: Kuid::GLOBAL_ROOT,
            gid: Kgid::GLOBAL_ROOT,
            total_pages,
        }
    }

    /// Options as mount(2) gives them, over the defaults; it is the mounter's unless they say otherwise. Ids are of the
    /// mounter's namespace.
    ///
    /// # Errors
    /// `EINVAL` for an unknown option, a value that is none, or an id without a mapping.
    pub fn parse(options: &str, total: u64, cred: &Cred) -> Result<TmpfsOptions, Errno> {
        let user_ns = &cred.user_ns;
        let mut out = TmpfsOptions { uid: cred.fsuid, gid: cred.fsgid, ..TmpfsOptions::with_memory(total) };
        let given = Given::parse(options, out.total_pages)?;
        out.max_blocks = given.blocks.unwrap_or(out.max_blocks);
        out.max_inodes = given.inodes.unwrap_or(out.max_inodes);
        out.mode = given.mode.unwrap_or(out.mode);
        if let Some(uid) = given.uid {
            out.uid = Some(user_ns.make_kuid(uid)).filter(|id| id.is_valid()).ok_or(EINVAL)?;
        }
        if let Some(gid) = given.gid {
            out.gid = Some(user_ns.make_kgid(gid)).filter(|id| id.is_valid()).ok_or(EINVAL)?;
        }
        Ok(out)
    }

    /// The options after a remount: limits change, the root directory's owner and mode do not. `blocks` and `inodes`
    /// are limit and use.
    pub(crate) fn reconfigure(
        &self,
        options: &str,
        blocks: (u64, u64),
        inodes: (u64, u64),
    ) -> Result<TmpfsOptions, Errno> {
        let given = Given::parse(options, self.total_pages)?;
        let limit = |given: Option<u64>, (max, used): (u64, u64)| match given {
            None => Ok(max),
            // A limit cannot be set where there was none, nor below what is in use.
            Some(new) if new != 0 && (max == 0 || new < used) => Err(EINVAL),
            Some(new) => Ok(new),
        };
        Ok(TmpfsOptions {
            max_blocks: limit(given.blocks, blocks)?,
            max_inodes: limit(given.inodes, inodes)?,
            ..self.clone()
        })
    }

    /// As `/proc/mounts` shows them.
    pub(crate) fn show(&self) -> String {
        let defaults = TmpfsOptions::with_memory(self.total_pages.saturating_mul(PAGE_SIZE));
        let mut out = String::new();
        if self.max_blocks != defaults.max_blocks {
            out += &format!(",size={}k", self.max_blocks.saturating_mul(PAGE_SIZE / 1024));
        }
        if self.max_inodes != defaults.max_inodes {
            out += &format!(",nr_inodes={}", self.max_inodes);
        }
        if self.mode != defaults.mode {
            out += &format!(",mode={:03o}", self.mode);
        }
        if self.uid != Kuid::GLOBAL_ROOT {
            out += &format!(",uid={}", self.uid.to_global());
        }
        if self.gid != Kgid::GLOBAL_ROOT {
            out += &format!(",gid={}", self.gid.to_global());
        }
        out + ",inode64"
    }
}

impl Given {
    fn parse(options: &str, total_pages: u64) -> Result<Given, Errno> {
        let mut out = Given::default();
        for option in options.split(',').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "size" => out.blocks = Some(parse_size(value, total_pages)?),
                "nr_blocks" => out.blocks = Some(memparse(value)?),
                "nr_inodes" => out.inodes = Some(memparse(value)?),
                "mode" => out.mode = Some(u32::from_str_radix(value, 8).map_err(|_| EINVAL)? & 0o7777),
                "uid" => out.uid = Some(value.parse().map_err(|_| EINVAL)?),
                "gid" => out.gid = Some(value.parse().map_err(|_| EINVAL)?),
                // Inode numbers have 64 bits and are small; placement of memory is the host's.
                "inode32" | "inode64" | "huge" | "mpol" | "noswap" => {}
                _ => return Err(EINVAL),
            }
        }
        Ok(out)
    }
}

/// A number with a suffix k, m, g, t, p, e. Linux: lib/cmdline.c, `memparse`.
fn memparse(text: &str) -> Result<u64, Errno> {
    let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (text.get(..text.len() - 1), 10),
        Some(b'm') => (text.get(..text.len() - 1), 20),
        Some(b'g') => (text.get(..text.len() - 1), 30),
        Some(b't') => (text.get(..text.len() - 1), 40),
        Some(b'p') => (text.get(..text.len() - 1), 50),
        Some(b'e') => (text.get(..text.len() - 1), 60),
        _ => (Some(text), 0),
    };
    let number: u64 = digits.ok_or(EINVAL)?.parse().map_err(|_| EINVAL)?;
    number.checked_mul(1 << shift).ok_or(EINVAL)
}

/// A size in bytes or percent of memory, as blocks.
fn parse_size(text: &str, total_pages: u64) -> Result<u64, Errno> {
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent: u64 = percent.parse().map_err(|_| EINVAL)?;
            Ok(total_pages.checked_mul(percent).ok_or(EINVAL)? / 100)
        }
        None => Ok(memparse(text)?.div_ceil(PAGE_SIZE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_auth::UserNamespace;

    #[test]
    fn sizes_modes_and_ids_are_parsed_and_shown() -> Result<(), Errno> {
        let ns = Cred::root(UserNamespace::new_initial());
        let o = TmpfsOptions::parse("size=64k,mode=755,nr_inodes=1k,uid=5,inode64", 1 << 30, &ns)?;
        assert_eq!((o.max_blocks, o.max_inodes, o.mode, o.uid.to_global()), (16, 1024, 0o755, 5));
        assert_eq!(o.show(), ",size=64k,nr_inodes=1024,mode=755,uid=5,inode64");
        assert_eq!(TmpfsOptions::parse("size=50%", 1 << 30, &ns)?.show(), ",inode64");
        for bad in ["size=x", "size=", "what=1", "mode=9", "uid=-1", "size=99999999999999g"] {
            assert_eq!(TmpfsOptions::parse(bad, 1 << 30, &ns), Err(EINVAL), "{bad}");
        }
        assert_eq!(o.reconfigure("size=4k", (16, 2), (0, 5)), Err(EINVAL));
        assert_eq!(o.reconfigure("size=8k", (16, 2), (0, 5))?.max_blocks, 2);
        Ok(())
    }
}
