//! Linux: fs/namei.c, the walk along a path.
//!
//! A cached component costs one look into the directory's table and one permission check; it allocates nothing and asks the
//! filesystem nothing but attributes. The filesystem's `lookup` runs with no lock held: an answer that a change has
//! overtaken is asked for again.

use crate::protected;
use crate::{Access, Dentry, File, FileType, LinkTarget, Mount, MountFlags, Path, TaskContext};
use bitflags::bitflags;
use sentry_auth::Cred;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EAGAIN, EBADF, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EXDEV};
use sentry_uapi::fcntl::{AT_FDCWD, NAME_MAX, PATH_MAX};
use smallvec::SmallVec;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Most symbolic links followed on one path. Linux: include/linux/namei.h.
const MAXSYMLINKS: u32 = 40;

bitflags! {
    /// How to walk. Linux: include/linux/namei.h.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LookupFlags: u32 {
        /// Follow a symbolic link at the end.
        const FOLLOW = 0x1;
        /// The end must be a directory.
        const DIRECTORY = 0x2;
        /// The top of what is mounted on the end is wanted, even if the end is `.` or the start. Linux:
        /// `LOOKUP_MOUNTPOINT`.
        const MOUNTPOINT = 0x80;
        /// An empty path stands for the place the walk starts at.
        const EMPTY = 0x4000;
        /// Fail where a symbolic link must be followed. `RESOLVE_NO_SYMLINKS`.
        const NO_SYMLINKS = 0x01_0000;
        /// Fail where a jumping link must be followed. `RESOLVE_NO_MAGICLINKS`.
        const NO_MAGICLINKS = 0x02_0000;
        /// Do not cross mounts. `RESOLVE_NO_XDEV`.
        const NO_XDEV = 0x04_0000;
        /// Fail where the path leaves the place it starts at. `RESOLVE_BENEATH`.
        const BENEATH = 0x08_0000;
        /// The place the walk starts at is its root. `RESOLVE_IN_ROOT`.
        const IN_ROOT = 0x10_0000;
        /// Fail where the cache does not have the answer. `RESOLVE_CACHED`.
        const CACHED = 0x20_0000;
        /// May not leave the starting place, by whichever rule.
        const SCOPED = Self::BENEATH.bits() | Self::IN_ROOT.bits();
    }
}

/// Where a relative path starts.
#[derive(Clone)]
pub enum At {
    /// The working directory.
    Cwd,
    /// An open file. `EBADF` if there is none, once the path turns out to be relative.
    Fd(i32),
    /// A place.
    Dir(Path),
}

impl From<i32> for At {
    fn from(dfd: i32) -> At {
        if dfd == AT_FDCWD { At::Cwd } else { At::Fd(dfd) }
    }
}

/// The kind of a path's last component. Linux: `LAST_NORM` ….
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastType {
    Norm,
    /// Nothing but slashes.
    Root,
    Dot,
    DotDot,
}

/// Bytes being walked: the path given, or the body of a symbolic link.
#[derive(Clone)]
enum Text<'n> {
    Given(&'n [u8]),
    Link(Rc<[u8]>),
}

impl Text<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Text::Given(b) => b,
            Text::Link(b) => b,
        }
    }
}

struct Cursor<'n> {
    text: Text<'n>,
    pos: usize,
}

/// The last component of a path, not looked up yet.
pub(crate) struct Last<'n> {
    text: Text<'n>,
    range: Range<usize>,
    pub(crate) kind: LastType,
    /// Slashes follow it.
    pub(crate) trailing_slash: bool,
}

impl Last<'_> {
    pub(crate) fn name(&self) -> &[u8] {
        self.text.bytes().get(self.range.clone()).unwrap_or_default()
    }
}

/// What follows the component being walked. Linux: `WALK_*`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// More of the path.
    More,
    /// Nothing: symbolic links are followed only if asked for.
    Trailing,
}

/// A walk under way. Linux: `struct nameidata`.
pub(crate) struct Nameidata<'a, 'n> {
    pub(crate) ctx: &'a dyn TaskContext,
    pub(crate) cred: Arc<Cred>,
    pub(crate) path: Path,
    root: Option<Path>,
    pub(crate) flags: LookupFlags,
    links: u32,
    last: Last<'n>,
    /// Texts being walked; each but the first is the body of a link in the middle of the one before.
    stack: SmallVec<[Cursor<'n>; 2]>,
    /// Of the mount table when a scoped walk began.
    snapshot: (u64, u64),
}

/// The place an `At` stands for. Linux: the part of `path_init` behind the absolute path.
fn start_of(ctx: &dyn TaskContext, at: &At, name: &[u8]) -> Result<Path, Errno> {
    match at {
        At::Cwd => Ok(ctx.fs().pwd()),
        At::Fd(fd) => {
            let file: Arc<File> = ctx.files().get_raw(*fd).ok_or(EBADF)?;
            if !name.is_empty() && !file.inode().is_dir() {
                return Err(ENOTDIR);
            }
            Ok(file.path().clone())
        }
        At::Dir(path) => {
            if !name.is_empty() && !path.dentry.is_dir() {
                return Err(ENOTDIR);
            }
            Ok(path.clone())
        }
    }
}

impl<'a, 'n> Nameidata<'a, 'n> {
    /// Begins a walk. Linux: `getname_flags` and `path_init`.
    pub(crate) fn new(
        ctx: &'a dyn TaskContext,
        at: &At,
        name: &'n [u8],
        flags: LookupFlags,
    ) -> Result<Nameidata<'a, 'n>, Errno> {
        if name.is_empty() && !flags.contains(LookupFlags::EMPTY) {
            return Err(ENOENT);
        }
        if name.len() >= PATH_MAX {
            return Err(ENAMETOOLONG);
        }
        let scoped = flags.intersects(LookupFlags::SCOPED);
        let snapshot = if scoped { ctx.vfs().mounts().snapshot() } else { (0, 0) };
        let absolute = name.first() == Some(&b'/') && !flags.contains(LookupFlags::IN_ROOT);
        let mut root = None;
        let path = if absolute {
            if flags.contains(LookupFlags::BENEATH) {
                return Err(EXDEV);
            }
            let fs_root = ctx.fs().root();
            root = Some(fs_root.clone());
            fs_root
        } else {
            let start = start_of(ctx, at, name)?;
            if scoped {
                root = Some(start.clone());
            }
            start
        };
        let mut stack = SmallVec::new();
        stack.push(Cursor { text: Text::Given(name), pos: 0 });
        Ok(Nameidata {
            ctx,
            cred: ctx.cred(),
            path,
            root,
            flags,
            links: 0,
            last: Last { text: Text::Given(name), range: 0..0, kind: LastType::Root, trailing_slash: false },
            stack,
            snapshot,
        })
    }

    /// Walks all but the last component, which is left in `last`. Linux: `link_path_walk`.
    pub(crate) fn link_path_walk(&mut self) -> Result<(), Errno> {
        if let Some(top) = self.stack.last_mut() {
            top.skip_slashes();
            if top.at_end() {
                self.last = Last {
                    text: top.text.clone(),
                    range: top.pos..top.pos,
                    kind: LastType::Root,
                    trailing_slash: false,
                };
                return Ok(());
            }
        }
        loop {
            self.may_lookup()?;
            let depth = self.stack.len();
            let Some(top) = self.stack.last_mut() else { return Ok(()) };
            self.last = top.next();
            if top.at_end() {
                if depth == 1 {
                    return Ok(());
                }
                // The end of a link's body: go on behind the link.
                self.stack.pop();
            }
            if let Some(body) = self.walk_component(Walk::More)? {
                self.stack.push(body);
                if let Some(top) = self.stack.last_mut() {
                    top.skip_slashes();
                    if top.at_end() {
                        self.stack.pop();
                    }
                }
            }
            if !self.path.dentry.is_dir() {
                return Err(ENOTDIR);
            }
            // A link's body that was the last thing before the end of the text around it cannot happen: the text around
            // it has a component left, or it would have been the last one.
        }
    }

    /// Search permission on the directory reached. Linux: `may_lookup`.
    fn may_lookup(&self) -> Result<(), Errno> {
        let inode = self.path.inode().ok_or(ENOENT)?;
        if !inode.is_dir() {
            return Err(ENOTDIR);
        }
        inode.permission(&self.cred, Access::EXEC)
    }

    /// Goes to the component in `last`; or gives the body of the link that stands there. Linux: `walk_component`.
    fn walk_component(&mut self, walk: Walk) -> Result<Option<Cursor<'n>>, Errno> {
        match self.last.kind {
            LastType::Norm => {
                let dentry = self.lookup_last_component()?;
                self.step_into(dentry, walk)
            }
            LastType::DotDot => self.follow_dotdot().map(|()| None),
            LastType::Dot | LastType::Root => Ok(None),
        }
    }

    fn lookup_last_component(&self) -> Result<Arc<Dentry>, Errno> {
        let cached_only = self.flags.contains(LookupFlags::CACHED);
        lookup_dentry(self.ctx, &self.path.dentry, self.last.name(), cached_only)
    }

    /// Walks the last component. Gives true if it was a link to follow, and the walk begins anew with its body. Linux:
    /// `lookup_last`.
    fn lookup_last(&mut self) -> Result<bool, Errno> {
        if self.last.kind == LastType::Norm && self.last.trailing_slash {
            self.flags |= LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
        }
        let body = self.walk_component(Walk::Trailing)?;
        Ok(self.restart_with(body))
    }

    /// Goes on with the body of a trailing link.
    fn restart_with(&mut self, body: Option<Cursor<'n>>) -> bool {
        let Some(body) = body else { return false };
        self.stack.clear();
        self.stack.push(body);
        true
    }

    /// Goes to a dentry of the directory reached, across mounts on it, unless it is a link to follow. Linux:
    /// `step_into`.
    fn step_into(&mut self, dentry: Arc<Dentry>, walk: Walk) -> Result<Option<Cursor<'n>>, Errno> {
        let mut crossed: Option<Path> = None;
        if dentry.is_mountpoint() {
            let here = Path { mnt: self.path.mnt.clone(), dentry: dentry.clone() }.follow_down();
            if !Arc::ptr_eq(&here.mnt, &self.path.mnt) {
                if self.flags.contains(LookupFlags::NO_XDEV) {
                    return Err(EXDEV);
                }
                crossed = Some(here);
            }
        }
        if let Some(path) = crossed {
            self.path = path;
            return Ok(None);
        }
        let file_type = dentry.inode_ref().ok_or(ENOENT)?.file_type();
        if file_type == FileType::Symlink && (walk == Walk::More || self.flags.contains(LookupFlags::FOLLOW))
        {
            return self.pick_link(&dentry, walk);
        }
        self.path.dentry = dentry;
        Ok(None)
    }

    /// [`Nameidata::step_into`] for open(2), which looks the last component up itself. Linux: the end of
    /// `open_last_lookups`.
    pub(crate) fn step_into_last(&mut self, dentry: Arc<Dentry>) -> Result<bool, Errno> {
        let body = self.step_into(dentry, Walk::Trailing)?;
        Ok(self.restart_with(body))
    }

    /// Handles a last component that is no name. Linux: `handle_dots`.
    pub(crate) fn handle_last_dots(&mut self) -> Result<(), Errno> {
        if self.last.kind == LastType::DotDot { self.follow_dotdot() } else { Ok(()) }
    }

    /// Follows a symbolic link: jumps, or gives the text to walk. Linux: `pick_link`.
    fn pick_link(&mut self, link: &Arc<Dentry>, walk: Walk) -> Result<Option<Cursor<'n>>, Errno> {
        if self.links >= MAXSYMLINKS {
            return Err(ELOOP);
        }
        self.links += 1;
        let inode = link.inode_ref().ok_or(ENOENT)?;
        if walk == Walk::Trailing {
            protected::may_follow_link(self.ctx, &self.cred, &self.path.dentry, inode)?;
        }
        if self.flags.contains(LookupFlags::NO_SYMLINKS)
            || self.path.mnt.flags().contains(MountFlags::NOSYMFOLLOW)
        {
            return Err(ELOOP);
        }
        crate::atime::touch_atime(&self.path.mnt, inode);
        match inode.ops().readlink(inode, self.ctx)? {
            LinkTarget::Jump(path) => self.jump_link(path).map(|()| None),
            LinkTarget::Path(body) => {
                if body.first() == Some(&b'/') {
                    self.jump_root()?;
                }
                let body = Cursor { text: Text::Link(body.into()), pos: 0 };
                let only_slashes = body.text.bytes().iter().all(|b| *b == b'/');
                Ok(if only_slashes { None } else { Some(body) })
            }
        }
    }

    /// Linux: `nd_jump_link`.
    fn jump_link(&mut self, path: Path) -> Result<(), Errno> {
        if self.flags.contains(LookupFlags::NO_MAGICLINKS) {
            return Err(ELOOP);
        }
        if self.flags.contains(LookupFlags::NO_XDEV) && !Arc::ptr_eq(&path.mnt, &self.path.mnt) {
            return Err(EXDEV);
        }
        if self.flags.intersects(LookupFlags::SCOPED) {
            return Err(EXDEV);
        }
        self.path = path;
        Ok(())
    }

    /// Linux: `nd_jump_root`.
    fn jump_root(&mut self) -> Result<(), Errno> {
        if self.flags.contains(LookupFlags::BENEATH) {
            return Err(EXDEV);
        }
        let root = self.root();
        if self.flags.contains(LookupFlags::NO_XDEV) && !Arc::ptr_eq(&root.mnt, &self.path.mnt) {
            return Err(EXDEV);
        }
        self.path = root;
        Ok(())
    }

    /// The root of this walk. Linux: `set_root`.
    fn root(&mut self) -> Path {
        let ctx = self.ctx;
        self.root.get_or_insert_with(|| ctx.fs().root()).clone()
    }

    /// Goes up. Linux: `handle_dots`, `follow_dotdot`.
    fn follow_dotdot(&mut self) -> Result<(), Errno> {
        let root = self.root();
        let parent = self.parent_below(&root)?;
        match parent {
            Some(path) => self.path = path,
            None if self.flags.contains(LookupFlags::BENEATH) => return Err(EXDEV),
            None => {}
        }
        // What is mounted on the directory hides it.
        let here = self.path.clone().follow_down();
        if !Arc::ptr_eq(&here.mnt, &self.path.mnt) {
            if self.flags.contains(LookupFlags::NO_XDEV) {
                return Err(EXDEV);
            }
            self.path = here;
        }
        if self.flags.intersects(LookupFlags::SCOPED)
            && !self.ctx.vfs().mounts().unchanged_since(self.snapshot)
        {
            // Something moved meanwhile; perhaps this directory, out of the scope.
            return Err(EAGAIN);
        }
        Ok(())
    }

    /// The directory above; none at the root.
    fn parent_below(&self, root: &Path) -> Result<Option<Path>, Errno> {
        if self.path.same(root) {
            return Ok(None);
        }
        let mut here = self.path.clone();
        if here.is_mount_root() {
            let Some(above) = choose_mountpoint(&here.mnt, root) else { return Ok(None) };
            if self.flags.contains(LookupFlags::NO_XDEV) {
                return Err(EXDEV);
            }
            here = above;
        }
        let parent = here.dentry.parent().unwrap_or_else(|| here.dentry.clone());
        if !path_connected(&here.mnt, &parent) {
            return Err(ENOENT);
        }
        Ok(Some(Path { mnt: here.mnt, dentry: parent }))
    }

    /// The end of a walk. Linux: `complete_walk`.
    pub(crate) fn complete_walk(&mut self) -> Result<(), Errno> {
        if self.flags.intersects(LookupFlags::SCOPED) {
            let root = self.root();
            if !self.path.is_under(&root) {
                return Err(EXDEV);
            }
        }
        Ok(())
    }

    /// The last component, once [`Nameidata::link_path_walk`] has come to it.
    pub(crate) fn last(&self) -> &Last<'n> {
        &self.last
    }

    /// Linux: `path_lookupat`.
    pub(crate) fn path_lookupat(mut self) -> Result<Path, Errno> {
        loop {
            self.link_path_walk()?;
            if !self.lookup_last()? {
                break;
            }
        }
        if self.flags.contains(LookupFlags::MOUNTPOINT) {
            self.path = self.path.follow_down();
        }
        self.complete_walk()?;
        if self.flags.contains(LookupFlags::DIRECTORY) && !self.path.dentry.is_dir() {
            return Err(ENOTDIR);
        }
        Ok(self.path)
    }

    /// Linux: `path_parentat`.
    pub(crate) fn path_parentat(mut self) -> Result<(Path, Last<'n>), Errno> {
        self.link_path_walk()?;
        self.complete_walk()?;
        Ok((self.path, self.last))
    }
}

impl<'n> Cursor<'n> {
    fn at_end(&self) -> bool {
        self.pos >= self.text.bytes().len()
    }

    fn skip_slashes(&mut self) {
        let rest = self.text.bytes().get(self.pos..).unwrap_or_default();
        self.pos += rest.iter().take_while(|b| **b == b'/').count();
    }

    /// The next component; the cursor moves behind it and the slashes that follow.
    fn next(&mut self) -> Last<'n> {
        let start = self.pos;
        let rest = self.text.bytes().get(start..).unwrap_or_default();
        let len = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        let kind = match rest.get(..len) {
            Some(b".") => LastType::Dot,
            Some(b"..") => LastType::DotDot,
            _ => LastType::Norm,
        };
        self.pos = start + len;
        let trailing_slash = !self.at_end();
        self.skip_slashes();
        Last { text: self.text.clone(), range: start..start + len, kind, trailing_slash }
    }
}

/// Goes from the top of `mnt` to where it is mounted, and on where that is the top of a mount again; none at `root` or
/// at the top of the tree. Linux: `choose_mountpoint`.
pub(crate) fn choose_mountpoint(mnt: &Arc<Mount>, root: &Path) -> Option<Path> {
    let mut mnt = mnt.clone();
    loop {
        let (parent, mountpoint) = mnt.parent()?;
        if Arc::ptr_eq(&root.dentry, &mountpoint) && Arc::ptr_eq(&root.mnt, &parent) {
            return None;
        }
        if !Arc::ptr_eq(&mountpoint, &parent.root) {
            return Some(Path { mnt: parent, dentry: mountpoint });
        }
        mnt = parent;
    }
}

/// Whether a directory is still below the top of the mount it is seen through: a bind mount shows part of a filesystem,
/// and a rename may take a directory out of it. Linux: `path_connected`.
fn path_connected(mnt: &Mount, dentry: &Arc<Dentry>) -> bool {
    mnt.root.is_root() || dentry.is_subdir(&mnt.root)
}

/// A name in a directory, from the cache or the filesystem; perhaps negative. Linux: `lookup_fast`, `lookup_slow`.
pub(crate) fn lookup_dentry(
    ctx: &dyn TaskContext,
    dir: &Arc<Dentry>,
    name: &[u8],
    cached_only: bool,
) -> Result<Arc<Dentry>, Errno> {
    if name.len() > NAME_MAX {
        return Err(ENAMETOOLONG);
    }
    loop {
        if let Some(found) = dir.d_lookup(name) {
            if !dir.sb().revalidates() {
                return Ok(found);
            }
            if cached_only {
                return Err(EAGAIN);
            }
            let dir_inode = dir.inode_ref().ok_or(ENOENT)?;
            if dir_inode.ops().revalidate(dir_inode, ctx, name, found.inode_ref()) {
                return Ok(found);
            }
            found.d_invalidate();
            ctx.vfs().mounts().detach_mounts(&found);
        }
        if cached_only {
            return Err(EAGAIN);
        }
        if dir.is_dead() {
            return Err(ENOENT);
        }
        let dir_inode = dir.inode_ref().ok_or(ENOENT)?;
        let generation = dir.generation();
        let inode = match dir_inode.ops().lookup(dir_inode, ctx, name) {
            Ok(inode) => Some(inode),
            Err(ENOENT) => None,
            Err(e) => return Err(e),
        };
        if let Some(dentry) = dir.d_add(name, inode, generation) {
            return Ok(dentry);
        }
    }
}

/// Looks a path up. Linux: `filename_lookup`, `user_path_at`.
///
/// # Errors
/// Those of path_resolution(7); `EXDEV`, `ELOOP`, `EAGAIN` also by the `RESOLVE_*` rules.
pub fn user_path_at(ctx: &dyn TaskContext, at: &At, name: &[u8], flags: LookupFlags) -> Result<Path, Errno> {
    Nameidata::new(ctx, at, name, flags)?.path_lookupat()
}

/// Looks up the directory a path's last component is in. Linux: `filename_parentat`.
pub(crate) fn filename_parentat<'n>(
    ctx: &dyn TaskContext,
    at: &At,
    name: &'n [u8],
) -> Result<(Path, Last<'n>), Errno> {
    Nameidata::new(ctx, at, name, LookupFlags::empty())?.path_parentat()
}

/// Whether the caller's root directory is not that of its mount namespace. Linux: `current_chrooted`.
pub fn current_chrooted(ctx: &dyn TaskContext) -> bool {
    ctx.mnt_ns().root().is_none_or(|root| !root.same(&ctx.fs().root()))
}

/// Search permission on a directory the caller wants as working or root directory. Linux: `path_permission`.
pub(crate) fn may_chdir(ctx: &dyn TaskContext, path: &Path) -> Result<(), Errno> {
    path.inode().ok_or(EACCES)?.permission(&ctx.cred(), Access::EXEC)
}
