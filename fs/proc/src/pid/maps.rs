//! `/proc/[pid]/{maps,numa_maps,map_files}`. Linux: fs/proc/task_mmu.c, `show_map_vma`.

use crate::pid::ProcTask;
use crate::records::{Cursor, Records};
use crate::seq::{escape, pad, put};
use fs_kernfs::{DirNode, Emit, FileNode, LinkNode, Node, NodeAttr, NodeOps};
use fs_vfs::{FIRST_ENTRY, File, FileOps, FileType, Inode, LinkTarget, Path, TaskContext, d_path};
use platform::Prot;
use sentry_mm::{IoDst, MemoryManager, PAGE_SIZE, VmFlags, VmaInfo};
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENOENT, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::stat::{major, makedev, minor};
use std::any::Any;
use std::sync::{Arc, Weak};

/// Column at which names begin, less one.
const NAME_COLUMN: usize = 72;
/// Device number of the kernel's own tmpfs, where shared memory without a name comes from.
const SHMEM_MINOR: u32 = 1;

/// The name of a mapping, as seen from `root`. Linux: the second half of `show_map_vma`.
fn vma_name(vma: &VmaInfo, root: &Path) -> Option<Vec<u8>> {
    if let Some(name) = vma.name {
        return Some(name.as_bytes().to_vec());
    }
    let mapped = vma.file.as_ref()?;
    match &mapped.file {
        Some(file) => {
            Some(file.as_any().downcast_ref::<File>().map_or_else(Vec::new, |f| d_path(f.path(), root)))
        }
        None => Some(b"/dev/zero (deleted)".to_vec()),
    }
}

/// One line of `maps`.
pub(crate) fn show_map_vma(vma: &VmaInfo, root: &Path, out: &mut Vec<u8>) {
    let special = vma.name.is_some();
    let (dev, ino, offset) = match &vma.file {
        Some(mapped) if !special => match &mapped.file {
            Some(file) => {
                let (dev, ino) = file.dev_ino();
                (dev, ino, mapped.offset)
            }
            None => (makedev(0, SHMEM_MINOR), 0, mapped.offset),
        },
        _ => (0, 0, 0),
    };
    let shared = vma.flags.contains(VmFlags::SHARED) && !special;
    show_header(
        out,
        (vma.start, vma.end),
        vma.prot,
        shared,
        offset,
        dev,
        ino,
        vma_name(vma, root).as_deref(),
    );
}

/// Linux: `show_vma_header_prefix`, and the name behind it.
pub(crate) fn show_header(
    out: &mut Vec<u8>,
    (start, end): (u64, u64),
    prot: Prot,
    shared: bool,
    offset: u64,
    dev: u64,
    ino: u64,
    name: Option<&[u8]>,
) {
    let line = out.len();
    let bit = |p, c| if prot.contains(p) { c } else { '-' };
    put(
        out,
        format_args!(
            "{start:08x}-{end:08x} {}{}{}{} {offset:08x} {:02x}:{:02x} {ino} ",
            bit(Prot::READ, 'r'),
            bit(Prot::WRITE, 'w'),
            bit(Prot::EXEC, 'x'),
            if shared { 's' } else { 'p' },
            major(dev),
            minor(dev),
        ),
    );
    if let Some(name) = name {
        pad(out, line, NAME_COLUMN);
        escape(out, name, b"\n");
    }
    out.push(b'\n');
}

/// One line of `numa_maps`. Linux: `show_numa_map`; there is one node.
fn show_numa_map(mm: &MemoryManager, vma: &VmaInfo, root: &Path, out: &mut Vec<u8>) {
    put(out, format_args!("{:08x} default", vma.start));
    match (vma.name, vma_name(vma, root)) {
        (Some("[heap]"), _) => out.extend_from_slice(b" heap"),
        (Some("[stack]"), _) => out.extend_from_slice(b" stack"),
        (None, Some(name)) => {
            out.extend_from_slice(b" file=");
            escape(out, &name, b"\n\t= ");
        }
        _ => {}
    }
    let usage = mm.usage_of(vma.start, vma.end);
    let (anon, all) = (usage.anonymous / PAGE_SIZE, usage.resident / PAGE_SIZE);
    if all > 0 {
        if anon > 0 {
            put(out, format_args!(" anon={anon} dirty={anon}"));
        }
        if all != anon {
            put(out, format_args!(" mapped={all}"));
        }
        put(out, format_args!(" N0={all} kernelpagesize_kB=4"));
    }
    out.push(b'\n');
}

/// Puts one mapping out.
pub(crate) type ShowVma = fn(&MemoryManager, &VmaInfo, &Path, &mut Vec<u8>);

/// A file with a record for each mapping.
struct Maps {
    at: ProcTask,
    show: ShowVma,
}

pub(crate) fn node(at: &ProcTask) -> Node {
    vma_file(at, |_, vma, root, out| show_map_vma(vma, root, out))
}

pub(crate) fn numa(at: &ProcTask) -> Node {
    vma_file(at, show_numa_map)
}

/// A file with a record for each mapping, put out by `show`.
pub(crate) fn vma_file(at: &ProcTask, show: ShowVma) -> Node {
    Node::file(Maps { at: at.clone(), show })
}

impl NodeOps for Maps {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(0o444, false)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl FileNode for Maps {
    /// Linux: `proc_maps_open`: the right to look is asked for here, once.
    fn open(
        self: Arc<Self>,
        _inode: &Arc<Inode>,
        ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let who = self.at.subject()?;
        let mm = if who.task().is_some() { self.at.access(ctx)?.mm().ok() } else { None };
        let mm = mm.map(|mm| Arc::downgrade(&mm));
        Ok(Box::new(OpenMaps { mm, show: self.show, cursor: Cursor::default() }))
    }
}

struct OpenMaps {
    /// Not held: an open file does not keep the memory of a process that has ended.
    mm: Option<Weak<MemoryManager>>,
    show: ShowVma,
    cursor: Cursor,
}

impl Records for OpenMaps {
    /// The key is an address: a mapping that begins below it has been shown.
    fn fill(
        &self,
        ctx: &dyn TaskContext,
        key: u64,
        want: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<u64>, Errno> {
        let Some(mm) = self.mm.as_ref().and_then(Weak::upgrade) else { return Ok(None) };
        let root = ctx.fs().root();
        for vma in mm.vmas().iter().filter(|v| v.start >= key) {
            if out.len() >= want {
                return Ok(Some(vma.start));
            }
            (self.show)(&mm, vma, &root, out);
        }
        Ok(None)
    }
}

impl FileOps for OpenMaps {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        _file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        self.cursor.read(self, ctx, dst, pos)
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Err(sentry_uapi::errno::EINVAL)
    }

    fn pollable(&self) -> bool {
        false
    }
}

/// `/proc/[pid]/map_files`: a link for each mapping of a file.
struct MapFiles {
    at: ProcTask,
}

pub(crate) fn map_files(at: &ProcTask) -> Node {
    Node::dir(MapFiles { at: at.clone() })
}

fn file_name(vma: &VmaInfo) -> String {
    format!("{:x}-{:x}", vma.start, vma.end)
}

fn mapped_path(vma: &VmaInfo) -> Option<Path> {
    let file = vma.file.as_ref()?.file.as_ref()?;
    file.as_any().downcast_ref::<File>().map(|f| f.path().clone())
}

impl NodeOps for MapFiles {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(0o500, true)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl DirNode for MapFiles {
    fn lookup(&self, ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        let mm = self.at.access(ctx)?.mm().map_err(|_| ENOENT)?;
        let vma = mm.vmas().into_iter().find(|v| file_name(v).as_bytes() == name).ok_or(ENOENT)?;
        mapped_path(&vma).ok_or(ENOENT)?;
        let (read, write) = (vma.prot.contains(Prot::READ), vma.prot.contains(Prot::WRITE));
        Ok(Node::link(MapFile { at: self.at.clone(), range: (vma.start, vma.end), read, write }))
    }

    fn list(&self, ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let mm = self.at.access(ctx)?.mm().map_err(|_| ENOENT)?;
        // Behind a mapping comes the page number of its last page: it rises, and stays with the mapping.
        for vma in mm.vmas().iter().filter(|v| mapped_path(v).is_some()) {
            let next = (vma.end / PAGE_SIZE).saturating_add(FIRST_ENTRY);
            if next > from && !emit(file_name(vma).as_bytes(), FileType::Symlink, next) {
                break;
            }
        }
        Ok(())
    }
}

/// A mapping's file.
struct MapFile {
    at: ProcTask,
    range: (u64, u64),
    read: bool,
    write: bool,
}

impl MapFile {
    fn path(&self, ctx: &dyn TaskContext) -> Result<Path, Errno> {
        let mm = self.at.access(ctx)?.mm().map_err(|_| ENOENT)?;
        mm.vmas().iter().find(|v| (v.start, v.end) == self.range).and_then(mapped_path).ok_or(ENOENT)
    }
}

impl NodeOps for MapFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        let perm = if self.read { 0o500 } else { 0 } | if self.write { 0o300 } else { 0 };
        Ok(NodeAttr { size: 64, ..self.at.attr(perm, false)? })
    }

    fn alive(&self) -> bool {
        let range = self.range;
        let mm = self.at.task().and_then(|t| t.mm());
        mm.is_ok_and(|mm| mm.vmas().iter().any(|v| (v.start, v.end) == range))
    }
}

impl LinkNode for MapFile {
    /// Following one reaches files whose directories may be closed to the caller. Linux: `proc_map_files_get_link`.
    fn readlink(&self, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        if !crate::procfs::capable_admin(ctx, &ctx.cred()) {
            return Err(EPERM);
        }
        Ok(LinkTarget::Jump(self.path(ctx)?))
    }

    fn text(&self, ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
        Ok(d_path(&self.path(ctx)?, &ctx.fs().root()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line of the native kernel's, taken apart and put together again.
    #[test]
    fn lines_are_those_of_the_native_kernel() {
        let native = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        assert!(native.lines().count() > 5);
        for line in native.lines() {
            let mut words = line.splitn(6, ' ');
            let mut word = || words.next().unwrap_or_default();
            let hex = |s: &str| u64::from_str_radix(s, 16).unwrap_or(0);
            let (start, end) = word().split_once('-').unwrap_or_default();
            let flags = word();
            let offset = hex(word());
            let (maj, min) = word().split_once(':').unwrap_or_default();
            let dev = makedev(u32::try_from(hex(maj)).unwrap_or(0), u32::try_from(hex(min)).unwrap_or(0));
            let ino = word().parse().unwrap_or(0);
            let name = Some(word().trim_start()).filter(|n| !n.is_empty());
            let mut prot = Prot::empty();
            prot.set(Prot::READ, flags.contains('r'));
            prot.set(Prot::WRITE, flags.contains('w'));
            prot.set(Prot::EXEC, flags.contains('x'));
            let mut out = Vec::new();
            let name = name.map(str::as_bytes);
            show_header(&mut out, (hex(start), hex(end)), prot, flags.contains('s'), offset, dev, ino, name);
            assert_eq!(String::from_utf8_lossy(&out), format!("{line}\n"));
        }
    }
}
