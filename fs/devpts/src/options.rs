//! Mount options. Linux: fs/devpts/inode.c, `parse_mount_options`, `devpts_show_options`.

use sentry_auth::{Kgid, Kuid, UserNamespace};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;

/// Most ptys of an instance. Linux: `NR_UNIX98_PTY_MAX`.
pub(crate) const PTY_MAX: u32 = 1 << 20;

/// Options of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DevptsOptions {
    /// Owner of slaves; whoever opens the master otherwise.
    pub(crate) uid: Option<Kuid>,
    /// Group of slaves.
    pub(crate) gid: Option<Kgid>,
    /// Permission bits of slaves.
    pub(crate) mode: u32,
    /// Permission bits of `ptmx`.
    pub(crate) ptmxmode: u32,
    /// Most ptys.
    pub(crate) max: u32,
}

impl Default for DevptsOptions {
    fn default() -> DevptsOptions {
        DevptsOptions { uid: None, gid: None, mode: 0o600, ptmxmode: 0, max: PTY_MAX }
    }
}

fn octal(value: &str) -> Result<u32, Errno> {
    Ok(u32::from_str_radix(value, 8).map_err(|_| EINVAL)? & 0o7777)
}

impl DevptsOptions {
    /// Options as mount(2) gives them. Ids are of `user_ns`.
    ///
    /// # Errors
    /// `EINVAL`.
    pub(crate) fn parse(options: &str, user_ns: &UserNamespace) -> Result<DevptsOptions, Errno> {
        let mut out = DevptsOptions::default();
        for option in options.split(',').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "uid" => {
                    let id = user_ns.make_kuid(value.parse().map_err(|_| EINVAL)?);
                    out.uid = Some(Some(id).filter(|id| id.is_valid()).ok_or(EINVAL)?);
                }
                "gid" => {
                    let id = user_ns.make_kgid(value.parse().map_err(|_| EINVAL)?);
                    out.gid = Some(Some(id).filter(|id| id.is_valid()).ok_or(EINVAL)?);
                }
                "mode" => out.mode = octal(value)?,
                "ptmxmode" => out.ptmxmode = octal(value)?,
                "max" => out.max = value.parse().ok().filter(|max| *max <= PTY_MAX).ok_or(EINVAL)?,
                // Every mount has an instance of its own.
                "newinstance" if value.is_empty() => {}
                _ => return Err(EINVAL),
            }
        }
        Ok(out)
    }

    /// As `/proc/mounts` shows them.
    pub(crate) fn show(&self) -> String {
        let mut out = String::new();
        if let Some(uid) = self.uid {
            out += &format!(",uid={}", uid.to_global());
        }
        if let Some(gid) = self.gid {
            out += &format!(",gid={}", gid.to_global());
        }
        out += &format!(",mode={:03o},ptmxmode={:03o}", self.mode, self.ptmxmode);
        if self.max < PTY_MAX {
            out += &format!(",max={}", self.max);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_and_shown() -> Result<(), Errno> {
        let ns = UserNamespace::new_initial();
        let options = DevptsOptions::parse("newinstance,ptmxmode=0666,mode=0620,gid=5", &ns)?;
        assert_eq!(options.show(), ",gid=5,mode=620,ptmxmode=666");
        assert_eq!(DevptsOptions::parse("max=3", &ns)?.show(), ",mode=600,ptmxmode=000,max=3");
        for bad in ["mode=8", "what", "max=9999999", "max=-1", "uid=", "newinstance=1"] {
            assert_eq!(DevptsOptions::parse(bad, &ns), Err(EINVAL), "{bad}");
        }
        Ok(())
    }
}
