//! Linux: fs/binfmt_elf.c, up to the point of no return: what the headers say.
//!
//! As there, the file's class and byte order are not looked at: a 32-bit file fails for its machine (`EM_386`) or
//! because its header, read as a 64-bit one, gives a wrong size of program headers.

use crate::page_align;
use object::LittleEndian as LE;
use object::elf::{
    ELFMAG, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD, ProgramHeader64,
};
use object::pod;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EIO, ELIBBAD, ENOEXEC};

/// Where an image is read from.
pub trait ReadAt {
    /// Reads from `offset` on. Fewer bytes than asked for mean the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno>;
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.get(from..).unwrap_or(&[]);
        let n = rest.len().min(buf.len());
        buf.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Ok(n)
    }
}

/// What PT_GNU_STACK asks of the stack. Linux: `EXSTACK_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecStack {
    /// No such header: on x86-64, not executable.
    Default,
    /// Not executable.
    Disabled,
    /// Executable.
    Enabled,
}

/// A PT_LOAD header, in the file's own terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) vaddr: u64,
    pub(crate) filesz: u64,
    pub(crate) memsz: u64,
    pub(crate) align: u64,
}

/// The headers of an ELF file that has passed every check Linux makes before it gives the old program up.
#[derive(Clone, Debug)]
pub struct ElfImage {
    pub(crate) dynamic: bool,
    pub(crate) entry: u64,
    pub(crate) phoff: u64,
    pub(crate) phnum: u16,
    pub(crate) loads: Vec<Load>,
    interp: Option<Vec<u8>>,
    exec_stack: ExecStack,
}

/// Size of one program header. Linux: `sizeof(struct elf_phdr)`.
pub(crate) const PHENT_SIZE: usize = size_of::<ProgramHeader64<LE>>();

/// Most bytes of program headers that are read. Linux: `load_elf_phdrs`, which takes a page.
const MAX_PHDRS_SIZE: usize = 4096;

/// Longest interpreter path, with its terminating zero. Linux: `PATH_MAX`.
const PATH_MAX: u64 = 4096;

impl ElfImage {
    /// Reads the headers of a program.
    ///
    /// # Errors
    /// `ENOEXEC` for anything but an x86-64 ELF executable or shared object with sane program headers and interpreter
    /// path; `EIO` if the interpreter's path lies beyond the end of the file.
    pub fn parse(file: &(impl ReadAt + ?Sized)) -> Result<ElfImage, Errno> {
        let mut words = [0u64; 8];
        let (header, _) = read_header(file, &mut words)?;
        check_header(header).ok_or(ENOEXEC)?;
        let phdrs = load_elf_phdrs(file, header).ok_or(ENOEXEC)?;
        let phdrs = program_headers(&phdrs);
        let interp = phdrs.iter().find(|p| p.p_type.get(LE) == PT_INTERP);
        let interp = interp.map(|p| read_interp(file, p)).transpose()?;
        Ok(ElfImage::new(header, phdrs, interp))
    }

    /// Reads the headers of the interpreter of another program. An interpreter of its own is passed over.
    ///
    /// # Errors
    /// `EIO` for a file shorter than an ELF header, `ELIBBAD` for one that is not an x86-64 ELF file with sane program
    /// headers, or of a type that cannot be loaded.
    pub fn parse_interp(file: &(impl ReadAt + ?Sized)) -> Result<ElfImage, Errno> {
        let mut words = [0u64; 8];
        let (header, len) = read_header(file, &mut words)?;
        if len < size_of::<FileHeader64<LE>>() {
            return Err(EIO);
        }
        check_header(header).ok_or(ELIBBAD)?;
        let phdrs = load_elf_phdrs(file, header).ok_or(ELIBBAD)?;
        Ok(ElfImage::new(header, program_headers(&phdrs), None))
    }

    fn new(header: &FileHeader64<LE>, phdrs: &[ProgramHeader64<LE>], interp: Option<Vec<u8>>) -> ElfImage {
        let mut exec_stack = ExecStack::Default;
        let mut loads = Vec::new();
        for p in phdrs {
            match p.p_type.get(LE) {
                PT_GNU_STACK if p.p_flags.get(LE) & PF_X != 0 => exec_stack = ExecStack::Enabled,
                PT_GNU_STACK => exec_stack = ExecStack::Disabled,
                PT_LOAD => loads.push(Load {
                    flags: p.p_flags.get(LE),
                    offset: p.p_offset.get(LE),
                    vaddr: p.p_vaddr.get(LE),
                    filesz: p.p_filesz.get(LE),
                    memsz: p.p_memsz.get(LE),
                    align: p.p_align.get(LE),
                }),
                _ => {}
            }
        }
        ElfImage {
            dynamic: header.e_type.get(LE) == ET_DYN,
            entry: header.e_entry.get(LE),
            phoff: header.e_phoff.get(LE),
            phnum: header.e_phnum.get(LE),
            loads,
            interp,
            exec_stack,
        }
    }

    /// Path of the interpreter PT_INTERP names, without its terminating zero.
    pub fn interp(&self) -> Option<&[u8]> {
        self.interp.as_deref()
    }

    /// What PT_GNU_STACK asks of the stack.
    pub fn exec_stack(&self) -> ExecStack {
        self.exec_stack
    }

    /// Whether the file can be loaded at any address (ET_DYN).
    pub fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// Whether the file is a position-independent program without interpreter, or an interpreter that was executed
    /// itself: it goes to the mmap area, and its break to where programs go.
    pub fn is_loader(&self) -> bool {
        self.dynamic && self.interp.is_none()
    }

    /// The offsets in the file between which the executable segment lies that holds `offset`.
    pub fn text_around(&self, offset: u64) -> Option<(u64, u64)> {
        let ends = |load: &Load| Some((load.offset, load.offset.checked_add(load.filesz)?));
        let texts = self.loads.iter().filter(|load| load.flags & PF_X != 0).filter_map(ends);
        texts.into_iter().find(|(start, end)| (*start..*end).contains(&offset))
    }

    /// Number of program headers, for AT_PHNUM.
    pub fn phnum(&self) -> u16 {
        self.phnum
    }

    /// The largest alignment a segment asks for, at least a page. Linux: `maximum_alignment`.
    pub fn alignment(&self) -> u64 {
        let most = self.loads.iter().map(|l| l.align).filter(|a| a.is_power_of_two()).max();
        page_align(most.unwrap_or(1)).unwrap_or(1 << 63)
    }
}

/// Reads the header into `words`; also says how many bytes the file had for it.
fn read_header<'a>(
    file: &(impl ReadAt + ?Sized),
    words: &'a mut [u64; 8],
) -> Result<(&'a FileHeader64<LE>, usize), Errno> {
    let len = read_full(file, 0, pod::bytes_of_slice_mut(words))?;
    let (header, _) = pod::from_bytes(pod::bytes_of_slice(words)).map_err(|()| ENOEXEC)?;
    Ok((header, len))
}

/// Linux: the checks that open `load_elf_binary` and `load_elf_interp`.
fn check_header(header: &FileHeader64<LE>) -> Option<()> {
    let loadable = matches!(header.e_type.get(LE), ET_EXEC | ET_DYN);
    (header.e_ident.magic == ELFMAG && loadable && header.e_machine.get(LE) == EM_X86_64).then_some(())
}

/// The table of program headers, as words so that it is aligned. Linux: `load_elf_phdrs`.
fn load_elf_phdrs(file: &(impl ReadAt + ?Sized), header: &FileHeader64<LE>) -> Option<Vec<u64>> {
    let size = PHENT_SIZE * usize::from(header.e_phnum.get(LE));
    if usize::from(header.e_phentsize.get(LE)) != PHENT_SIZE || size == 0 || size > MAX_PHDRS_SIZE {
        return None;
    }
    let mut words = vec![0u64; size / 8];
    let read = read_full(file, header.e_phoff.get(LE), pod::bytes_of_slice_mut(&mut words)).ok()?;
    (read == size).then_some(words)
}

fn program_headers(words: &[u64]) -> &[ProgramHeader64<LE>] {
    pod::slice_from_all_bytes(pod::bytes_of_slice(words)).unwrap_or(&[])
}

fn read_interp(file: &(impl ReadAt + ?Sized), phdr: &ProgramHeader64<LE>) -> Result<Vec<u8>, Errno> {
    let filesz = phdr.p_filesz.get(LE);
    if !(2..=PATH_MAX).contains(&filesz) {
        return Err(ENOEXEC);
    }
    let mut path = vec![0; usize::try_from(filesz).map_err(|_| ENOEXEC)?];
    if read_full(file, phdr.p_offset.get(LE), &mut path)? < path.len() {
        return Err(EIO);
    }
    if path.last() != Some(&0) {
        return Err(ENOEXEC);
    }
    // Opened as a C string: what follows the first zero does not count.
    let end = path.iter().position(|b| *b == 0).unwrap_or(0);
    path.truncate(end);
    Ok(path)
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &(impl ReadAt + ?Sized), offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|r| !r.is_empty()) {
        let at = u64::try_from(done).ok().and_then(|d| offset.checked_add(d)).ok_or(EIO)?;
        match file.read_at(at, rest)?.min(rest.len()) {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}
