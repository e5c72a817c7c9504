//! Linux: arch/x86/entry/vdso/vdso-layout.lds.S and vdso.lds.S, as a program that writes the image.
//!
//! Addresses in the image are file offsets: it is linked at 0, and nothing in it needs relocation.

use crate::PAGE_SIZE;
use object::elf::{
    DF_BIND_NOW, DT_FLAGS, DT_GNU_HASH, DT_HASH, DT_NULL, DT_SONAME, DT_STRSZ, DT_STRTAB, DT_SYMENT,
    DT_SYMTAB, DT_VERDEF, DT_VERDEFNUM, DT_VERSYM, EM_X86_64, ET_DYN, PF_R, PF_X, PT_DYNAMIC,
    PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE, SHF_ALLOC, SHF_EXECINSTR, SHT_NOTE, SHT_PROGBITS, STB_GLOBAL,
    STB_WEAK, STT_FUNC, Sym64, VER_FLG_BASE, gnu_hash, hash,
};
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Verdef, Writer};
use object::{Endianness, LittleEndian};
use platform_host::vdso::{Function, TEXT_OFFSET, VVAR_SIZE, functions, text};

/// Name of the library. Linux: the linker's `-soname`.
const SONAME: &[u8] = b"linux-vdso.so.1";
/// The version all symbols have.
const VERSION: &[u8] = b"LINUX_2.6";
/// Version indices: 1 is the library itself.
const VERSION_INDEX: u16 = 2;
/// Chains of both hash tables. Few, as there are ten symbols.
const BUCKETS: u32 = 4;
const BLOOM_SHIFT: u32 = 6;

struct Symbol {
    name: Vec<u8>,
    weak: bool,
    function: Function,
}

/// Both names of each function, in the order the GNU hash table wants.
fn symbols() -> Vec<Symbol> {
    let mut symbols = Vec::new();
    for function in functions() {
        let name = format!("__vdso_{}", function.name).into_bytes();
        symbols.push(Symbol { name, weak: false, function });
        symbols.push(Symbol { name: function.name.into(), weak: true, function });
    }
    symbols.sort_by_key(|s| gnu_hash(&s.name) % BUCKETS);
    symbols
}

/// A part of the image that the writer has no name for.
struct Section {
    name: &'static [u8],
    kind: u32,
    flags: u32,
    align: usize,
    data: Vec<u8>,
    offset: usize,
}

impl Section {
    fn new(name: &'static [u8], kind: u32, flags: u32, align: usize, data: Vec<u8>) -> Section {
        Section { name, kind, flags, align, data, offset: 0 }
    }
}

/// The vDSO as an ELF shared object, whole pages. `version` is LINUX_VERSION_CODE, for the note that saves the C library
/// an uname(2).
pub(super) fn build(version: u32) -> Result<Vec<u8>, object::write::Error> {
    let symbols = symbols();
    let count = u32::try_from(symbols.len()).unwrap_or(0);
    let mut own = [
        Section::new(b".note", SHT_NOTE, SHF_ALLOC, 4, note(version)),
        Section::new(b".eh_frame_hdr", SHT_PROGBITS, SHF_ALLOC, 4, Vec::new()),
        Section::new(b".eh_frame", SHT_PROGBITS, SHF_ALLOC, 8, Vec::new()),
        Section::new(b".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 16, text().to_vec()),
    ];

    let mut image = Vec::new();
    let mut w = Writer::new(Endianness::Little, true, &mut image);
    w.reserve_file_header();
    w.reserve_program_headers(4);
    w.reserve_null_section_index();
    w.reserve_hash_section_index();
    w.reserve_gnu_hash_section_index();
    w.reserve_dynsym_section_index();
    w.reserve_dynstr_section_index();
    w.reserve_gnu_versym_section_index();
    w.reserve_gnu_verdef_section_index();
    w.reserve_dynamic_section_index();
    let own_names: Vec<_> =
        own.iter().map(|s| (w.add_section_name(s.name), w.reserve_section_index())).collect();
    w.reserve_shstrtab_section_index();
    let names: Vec<_> = symbols.iter().map(|s| w.add_dynamic_string(&s.name)).collect();
    for _ in &symbols {
        w.reserve_dynamic_symbol_index();
    }
    let soname = w.add_dynamic_string(SONAME);
    let version_name = w.add_dynamic_string(VERSION);

    let hash_at = w.reserve_hash(BUCKETS, count + 1);
    let gnu_hash_at = w.reserve_gnu_hash(1, BUCKETS, count);
    let dynsym_at = w.reserve_dynsym();
    let dynstr_at = w.reserve_dynstr();
    let dynstr_len = w.dynstr_len();
    let versym_at = w.reserve_gnu_versym();
    let verdef_at = w.reserve_gnu_verdef(2, 2);
    let dynamic: [(i64, u64); 11] = [
        (DT_FLAGS, DF_BIND_NOW.into()),
        (DT_HASH, hash_at as u64),
        (DT_GNU_HASH, gnu_hash_at as u64),
        (DT_STRTAB, dynstr_at as u64),
        (DT_SYMTAB, dynsym_at as u64),
        (DT_STRSZ, dynstr_len as u64),
        (DT_SYMENT, size_of::<Sym64<LittleEndian>>() as u64),
        (DT_VERSYM, versym_at as u64),
        (DT_VERDEF, verdef_at as u64),
        (DT_VERDEFNUM, 2),
        (DT_NULL, 0),
    ];
    let dynamic_at = w.reserve_dynamic(dynamic.len() + 1);
    place(&mut w, &mut own);
    w.reserve_shstrtab();
    w.reserve_section_headers();
    // The parameters take a page, too.
    let end = w.reserved_len().next_multiple_of(VVAR_SIZE);

    w.write_file_header(&FileHeader {
        os_abi: 0,
        abi_version: 0,
        e_type: ET_DYN,
        e_machine: EM_X86_64,
        e_entry: TEXT_OFFSET as u64,
        e_flags: 0,
    })?;
    let [note, eh_frame_hdr, eh_frame, text] = &own;
    let mut segment = |p_type, p_flags, at: usize, len: usize, align| {
        let (at, len) = (at as u64, len as u64);
        w.write_program_header(&ProgramHeader {
            p_type,
            p_flags,
            p_offset: at,
            p_vaddr: at,
            p_paddr: at,
            p_filesz: len,
            p_memsz: len,
            p_align: align,
        });
    };
    segment(PT_LOAD, PF_R | PF_X, 0, text.offset + text.data.len(), PAGE_SIZE);
    segment(PT_DYNAMIC, PF_R, dynamic_at, (dynamic.len() + 1) * 16, 8);
    segment(PT_NOTE, PF_R, note.offset, note.data.len(), 4);
    segment(PT_GNU_EH_FRAME, PF_R, eh_frame_hdr.offset, eh_frame_hdr.data.len(), 4);

    w.write_hash(BUCKETS, count + 1, |i| symbol(&symbols, i.checked_sub(1)?).map(|s| hash(&s.name)));
    w.write_gnu_hash(1, BLOOM_SHIFT, 1, BUCKETS, count, |i| {
        symbol(&symbols, i).map_or(0, |s| gnu_hash(&s.name))
    });
    w.write_null_dynamic_symbol();
    let text_index = own_names.last().map(|(_, index)| *index);
    for (s, name) in symbols.iter().zip(names) {
        let bind = if s.weak { STB_WEAK } else { STB_GLOBAL };
        w.write_dynamic_symbol(&Sym {
            name: Some(name),
            section: text_index,
            st_info: bind << 4 | STT_FUNC,
            st_other: 0,
            st_shndx: 0,
            st_value: (TEXT_OFFSET + s.function.offset) as u64,
            st_size: s.function.len as u64,
        });
    }
    w.write_dynstr();
    w.write_null_gnu_versym();
    symbols.iter().for_each(|_| w.write_gnu_versym(VERSION_INDEX));
    w.write_align_gnu_verdef();
    w.write_gnu_verdef(&Verdef { version: 1, flags: VER_FLG_BASE, index: 1, aux_count: 1, name: soname });
    w.write_gnu_verdef(&Verdef {
        version: 1,
        flags: 0,
        index: VERSION_INDEX,
        aux_count: 1,
        name: version_name,
    });
    w.write_align_dynamic();
    w.write_dynamic_string(DT_SONAME, soname)?;
    dynamic.iter().try_for_each(|(tag, value)| w.write_dynamic(*tag, *value))?;
    for s in [note, eh_frame_hdr, eh_frame, text] {
        w.pad_until(s.offset);
        w.write(&s.data);
    }
    w.write_shstrtab();
    w.write_null_section_header();
    w.write_hash_section_header(hash_at as u64);
    w.write_gnu_hash_section_header(gnu_hash_at as u64);
    w.write_dynsym_section_header(dynsym_at as u64, 1);
    w.write_dynstr_section_header(dynstr_at as u64);
    w.write_gnu_versym_section_header(versym_at as u64);
    w.write_gnu_verdef_section_header(verdef_at as u64);
    w.write_dynamic_section_header(dynamic_at as u64);
    for (s, (name, _)) in own.iter().zip(own_names) {
        w.write_section_header(&SectionHeader {
            name: Some(name),
            sh_type: s.kind,
            sh_flags: s.flags.into(),
            sh_addr: s.offset as u64,
            sh_offset: s.offset as u64,
            sh_size: s.data.len() as u64,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: s.align as u64,
            sh_entsize: 0,
        });
    }
    w.write_shstrtab_section_header();
    image.resize(end, 0);
    Ok(image)
}

fn symbol(symbols: &[Symbol], index: u32) -> Option<&Symbol> {
    symbols.get(usize::try_from(index).ok()?)
}

/// Reserves room for the sections of our own, the code at its fixed place, and fills in the unwind information, which
/// speaks of their distances.
fn place(w: &mut Writer<'_>, own: &mut [Section; 4]) {
    let [note, eh_frame_hdr, eh_frame, text] = own;
    note.offset = w.reserve(note.data.len(), note.align);
    eh_frame_hdr.data = vec![0; EH_FRAME_HDR_LEN];
    eh_frame_hdr.offset = w.reserve(EH_FRAME_HDR_LEN, eh_frame_hdr.align);
    eh_frame.data = vec![0; EH_FRAME_LEN];
    eh_frame.offset = w.reserve(EH_FRAME_LEN, eh_frame.align);
    w.reserve_until(TEXT_OFFSET);
    text.offset = w.reserve(text.data.len(), text.align);
    eh_frame_hdr.data = unwind_header(eh_frame_hdr.offset, eh_frame.offset, text.offset);
    eh_frame.data = unwind_frame(eh_frame.offset, text.offset, text.data.len());
}

/// A note of type 0 with the kernel's version. Linux: arch/x86/entry/vdso/vdso-note.S.
fn note(version: u32) -> Vec<u8> {
    const NAME: &[u8; 8] = b"Linux\0\0\0";
    let mut note = Vec::new();
    [6, 4, 0].iter().for_each(|word: &u32| note.extend(word.to_le_bytes()));
    note.extend(NAME);
    note.extend(version.to_le_bytes());
    note
}

const EH_FRAME_HDR_LEN: usize = 20;
const CIE_LEN: usize = 24;
const FDE_LEN: usize = 24;
const EH_FRAME_LEN: usize = CIE_LEN + FDE_LEN + 4;

/// `to` as seen from `from`, as a signed word.
fn distance(from: usize, to: usize) -> [u8; 4] {
    u32::try_from(to).unwrap_or(0).wrapping_sub(u32::try_from(from).unwrap_or(0)).to_le_bytes()
}

/// .eh_frame_hdr with one entry. Linux Standard Base, "Exception Frame Header".
fn unwind_header(at: usize, eh_frame: usize, text: usize) -> Vec<u8> {
    // Version; encodings: the frame's address relative to itself, a plain count, a table relative to the header.
    let mut hdr = vec![1, 0x1b, 0x03, 0x3b];
    hdr.extend(distance(at + 4, eh_frame));
    hdr.extend(1u32.to_le_bytes());
    hdr.extend(distance(at, text));
    hdr.extend(distance(at, eh_frame + CIE_LEN));
    hdr
}

/// .eh_frame: no function touches the stack, so one rule holds throughout: the caller's frame is 8 bytes up, and the
/// return address is just below it.
fn unwind_frame(at: usize, text: usize, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    // Length, id; version, "zR", code and data alignment (1, -8), return address column, encoding (pcrel, sdata4).
    frame.extend(20u32.to_le_bytes());
    frame.extend(0u32.to_le_bytes());
    frame.extend([1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b]);
    // DW_CFA_def_cfa rsp + 8, DW_CFA_offset return address at -8, DW_CFA_nop.
    frame.extend([0x0c, 7, 8, 0x90, 1, 0, 0]);
    // Length, back to the CIE; start, length, no augmentation.
    frame.extend(20u32.to_le_bytes());
    frame.extend(distance(0, CIE_LEN + 4));
    frame.extend(distance(at + CIE_LEN + 8, text));
    frame.extend(distance(0, len));
    frame.extend([0; 8]);
    frame.extend(0u32.to_le_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_one_page_with_the_code_in_its_place() -> Result<(), object::write::Error> {
        let image = build(0x06_01_00)?;
        assert_eq!(image.len(), 4096);
        assert_eq!(&image[TEXT_OFFSET..TEXT_OFFSET + text().len()], text());
        assert_eq!(unwind_header(0, 0, 0).len(), EH_FRAME_HDR_LEN);
        assert_eq!(unwind_frame(0, 0, 0).len(), EH_FRAME_LEN);
        Ok(())
    }
}
