//! The type `overlay` for mount(2). Linux: fs/overlayfs/super.c, `ovl_parse_opt`, `ovl_get_layers`.

use crate::super_block::{OverlayParams, new_super};
use fs_vfs::{
    At, Dentry, FileSystemType, FsFlags, LookupFlags, MountContext, Path, TaskContext, user_path_at,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ELOOP};
use std::sync::Arc;

/// Most lower layers. Linux: `OVL_MAX_STACK`.
const MAX_STACK: usize = 500;

/// Makes an overlay of directories that are named in the options.
///
/// Layers are entered beneath their own filesystem's dcache: what the overlay changes in its upper directory may not be
/// seen at once by who looks at that directory itself. Linux leaves that undefined, too.
pub struct OverlayType;

/// What the options say, unescaped.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    lower: Vec<Vec<u8>>,
    upper: Option<Vec<u8>>,
    work: Option<Vec<u8>>,
}

/// Splits at a byte that is not behind a backslash, and takes the backslashes away. Linux: `ovl_next_opt`,
/// `ovl_split_lowerdirs`.
fn split_unescaped(text: &[u8], at: u8) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == at {
            parts.push(Vec::new());
            continue;
        }
        let byte = if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte };
        if let Some(last) = parts.last_mut() {
            last.push(byte);
        }
    }
    parts
}

impl Options {
    fn parse(options: &str) -> Result<Options, Errno> {
        let mut out = Options::default();
        // An escaped comma is part of a path, so the string is cut before it is unescaped.
        for option in cut_options(options) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let path = || Ok(split_unescaped(value.as_bytes(), 0).concat()).and_then(nonempty);
            match (key, value) {
                ("lowerdir", _) => out.lower = split_unescaped(value.as_bytes(), b':'),
                ("upperdir", _) => out.upper = Some(path()?),
                ("workdir", _) => out.work = Some(path()?),
                // What we do, by other names.
                ("redirect_dir", "off" | "nofollow")
                | ("index" | "metacopy", "off")
                | ("xino", "on" | "auto" | "off")
                | ("volatile", "") => {}
                _ => return Err(EINVAL),
            }
        }
        if out.lower.is_empty() || out.lower.iter().any(Vec::is_empty) || out.lower.len() > MAX_STACK {
            return Err(EINVAL);
        }
        if out.upper.is_some() && out.work.is_none() {
            return Err(EINVAL);
        }
        Ok(out)
    }
}

fn nonempty(path: Vec<u8>) -> Result<Vec<u8>, Errno> {
    if path.is_empty() { Err(EINVAL) } else { Ok(path) }
}

/// The options of a string, cut at commas that are not behind a backslash.
fn cut_options(options: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, byte) in options.bytes().enumerate() {
        match byte {
            b',' if !escaped => {
                parts.push(options.get(start..at).unwrap_or(""));
                start = at + 1;
            }
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    parts.push(options.get(start..).unwrap_or(""));
    parts.retain(|part| !part.is_empty());
    parts
}

fn directory(ctx: &dyn TaskContext, name: &[u8]) -> Result<Path, Errno> {
    user_path_at(ctx, &At::Cwd, name, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)
}

impl FileSystemType for OverlayType {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn flags(&self) -> FsFlags {
        FsFlags::USERNS_MOUNT
    }

    /// # Errors
    /// `EINVAL` for options, or an upper and a work directory that are not apart on one mount; `ELOOP` for a layer that
    /// is upper and lower at once; those of the paths.
    fn mount(&self, ctx: &dyn TaskContext, mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno> {
        let options = Options::parse(mount.options)?;
        let lower: Vec<Path> =
            options.lower.iter().map(|name| directory(ctx, name)).collect::<Result<_, _>>()?;
        let upper = options.upper.as_deref().map(|name| directory(ctx, name)).transpose()?;
        if let (Some(upper), Some(work)) = (&upper, &options.work) {
            let work = directory(ctx, work)?;
            let apart = !work.is_under(upper) && !upper.is_under(&work);
            if !Arc::ptr_eq(&upper.mnt, &work.mnt) || !apart {
                return Err(EINVAL);
            }
            if lower.iter().any(|layer| Arc::ptr_eq(&layer.dentry, &upper.dentry)) {
                return Err(ELOOP);
            }
        }
        new_super(OverlayParams {
            vfs: ctx.vfs().clone(),
            cred: ctx.cred(),
            user_ns: mount.user_ns.clone(),
            lower: lower.into_iter().map(|path| path.dentry).collect(),
            upper: upper.map(|path| path.dentry),
            source: mount.source.to_vec(),
            options: format!(",{}", mount.options),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_cut_and_unescaped() {
        let text = r"lowerdir=/a\:b:/c\,d,upperdir=/u,workdir=/w,index=off";
        let Ok(options) = Options::parse(text) else { unreachable!("these are good") };
        assert_eq!(options.lower, [b"/a:b".to_vec(), b"/c,d".to_vec()]);
        assert_eq!((options.upper, options.work), (Some(b"/u".to_vec()), Some(b"/w".to_vec())));
        for bad in [
            "",
            "upperdir=/u,workdir=/w",
            "lowerdir=/a,upperdir=/u",
            "lowerdir=/a::/b",
            "lowerdir=/a,index=on",
        ] {
            assert_eq!(Options::parse(bad).err(), Some(EINVAL), "{bad}");
        }
    }
}
