//! Linux: fs/overlayfs/namei.c, `ovl_lookup`.

use crate::inode::{Lower, OvlInode, Place, ovl_inode};
use crate::whiteout::{is_opaque, is_whiteout, lookup_real};
use fs_vfs::{Inode, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOENT;
use std::sync::Arc;

impl OvlInode {
    /// Finds a name in the layers of a directory. The caller holds `entries`.
    pub(crate) fn lookup_layers(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
    ) -> Result<Arc<Inode>, Errno> {
        let mut upper = None;
        if let Some(upper_dir) = self.upper() {
            upper = lookup_real(ctx, upper_dir, name)?;
        }
        let mut lower = Lower::new();
        let hides = match &upper {
            Some(found) if is_whiteout(found) => return Err(ENOENT),
            Some(found) => !found.is_dir() || is_opaque(found),
            None => false,
        };
        for layer in if hides { &[][..] } else { &*self.lower } {
            let Some(found) = lookup_real(ctx, layer, name)? else { continue };
            let merging = upper.is_some() || !lower.is_empty();
            if is_whiteout(&found) || (merging && !found.is_dir()) {
                break;
            }
            let last = !found.is_dir() || is_opaque(&found);
            lower.push(found);
            if last {
                break;
            }
        }
        if upper.is_none() && lower.is_empty() {
            return Err(ENOENT);
        }
        let place = Place { dir: dir.clone(), name: name.into() };
        let inode = OvlInode::new_inode(&self.fs, dir.sb(), upper, lower, Some(place.clone()));
        let node = ovl_inode(&inode)?;
        if node.place().is_none() {
            // Kept alive without a name, and named again: by link(2), or after its last name was dropped and found.
            node.set_place(Some(place));
        }
        Ok(inode)
    }

    /// Whether a lower layer has something under a name that the upper one must hide. Linux:
    /// `ovl_lower_positive`.
    pub(crate) fn lower_positive(&self, ctx: &dyn TaskContext, name: &[u8]) -> Result<bool, Errno> {
        for layer in &self.lower {
            if let Some(found) = lookup_real(ctx, layer, name)? {
                return Ok(!is_whiteout(&found));
            }
        }
        Ok(false)
    }

    /// Whether an answer of a lookup still holds, where a layer may change by itself.
    pub(crate) fn revalidate_layers(
        &self,
        ctx: &dyn TaskContext,
        name: &[u8],
        found: Option<&Arc<Inode>>,
    ) -> bool {
        let _entries = self.entries.read();
        // The upper layer is the overlay's own.
        let lower = match found.map(|inode| ovl_inode(inode)) {
            Some(Ok(node)) if node.upper().is_some() => return true,
            Some(Ok(node)) => node.lower.first(),
            Some(Err(_)) => return false,
            None => {
                let hidden =
                    self.upper().is_some_and(|dir| matches!(lookup_real(ctx, dir, name), Ok(Some(_))));
                if hidden {
                    return true;
                }
                None
            }
        };
        for layer in &self.lower {
            if !layer.sb().revalidates() {
                continue;
            }
            let here = lower.filter(|inode| Arc::ptr_eq(inode.sb(), layer.sb()));
            if !layer.ops().revalidate(layer, ctx, name, here) {
                return false;
            }
            if here.is_some() {
                return true;
            }
        }
        true
    }
}
