//! Linux: fs/binfmt_elf.c, `create_elf_tables`; fs/exec.c for the strings.

use crate::elf::PHENT_SIZE;
use crate::{Arguments, Aslr, PAGE_SIZE};
use sentry_uapi::Errno;
use sentry_uapi::auxvec::{
    AT_BASE, AT_CLKTCK, AT_EGID, AT_ENTRY, AT_EUID, AT_EXECFD, AT_EXECFN, AT_FLAGS, AT_GID, AT_HWCAP,
    AT_HWCAP2, AT_MINSIGSTKSZ, AT_NULL, AT_PAGESZ, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PLATFORM, AT_RANDOM,
    AT_RSEQ_ALIGN, AT_RSEQ_FEATURE_SIZE, AT_SECURE, AT_SYSINFO_EHDR, AT_UID,
};
use sentry_uapi::errno::ENOMEM;

/// What AT_RSEQ_FEATURE_SIZE and AT_RSEQ_ALIGN announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RseqInfo {
    /// Bytes of `struct rseq` in use.
    pub feature_size: u64,
    /// Its alignment.
    pub align: u64,
}

/// What the auxiliary vector says, besides what the stack's own layout decides.
#[derive(Clone, Debug, Default)]
pub struct AuxInfo {
    /// Address of the vDSO's ELF header, if there is a vDSO.
    pub sysinfo_ehdr: Option<u64>,
    /// Least size of a signal stack, in bytes.
    pub minsigstksz: u64,
    /// Processor features.
    pub hwcap: u64,
    /// Further processor features.
    pub hwcap2: u64,
    /// [`crate::LoadPlan::phdr_addr`] of the program.
    pub phdr: u64,
    /// [`crate::ElfImage::phnum`] of the program.
    pub phnum: u16,
    /// [`crate::LoadPlan::bias`] of the interpreter; 0 without one.
    pub base: u64,
    /// `AT_FLAGS_*`.
    pub flags: u64,
    /// [`crate::LoadPlan::entry`] of the program.
    pub entry: u64,
    /// Real user id in the task's namespace.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Whether the program gained rights. Linux: `bprm->secureexec`.
    pub secure: bool,
    /// A descriptor of the program, where an interpreter needs one.
    pub execfd: Option<u32>,
    /// Restartable sequences, where they are offered.
    pub rseq: Option<RseqInfo>,
    /// What AT_RANDOM points to.
    pub random: [u8; 16],
}

/// The first contents of a stack.
#[derive(Clone, Debug)]
pub struct StackImage {
    /// The initial stack pointer, where `bytes` belong; they reach to the stack's end.
    pub sp: u64,
    /// The contents.
    pub bytes: Vec<u8>,
    /// Where the arguments' strings start and end. Linux: `mm->arg_start`, `mm->arg_end`.
    pub arg: (u64, u64),
    /// The environment's strings. Linux: `mm->env_start`, `mm->env_end`.
    pub env: (u64, u64),
    /// The auxiliary vector with its end, as `/proc/[pid]/auxv` shows it. Linux: `mm->saved_auxv`.
    pub auxv: Vec<u8>,
}

/// AT_PLATFORM. Linux: `ELF_PLATFORM`.
const PLATFORM: &[u8] = b"x86_64\0";
/// Frequency of times(2). Linux: `USER_HZ`.
const USER_HZ: u64 = 100;

impl StackImage {
    /// Lays the stack out that ends at `stack_top`, with the pointer moved by `aslr` as Linux does.
    ///
    /// # Errors
    /// `ENOMEM` if there is no room below `stack_top`.
    pub fn build<R: FnMut() -> u64>(
        args: &Arguments,
        aux: &AuxInfo,
        stack_top: u64,
        aslr: &mut Aslr<R>,
    ) -> Result<StackImage, Errno> {
        let below =
            |at: u64, len: usize| u64::try_from(len).ok().and_then(|l| at.checked_sub(l)).ok_or(ENOMEM);
        // A word of zeros ends the stack.
        let execfn = below(stack_top, 8 + args.filename().len() + 1)?;
        let env_start = below(execfn, args.envp().bytes().len())?;
        let arg_start = below(env_start, args.argv().bytes().len())?;
        let p = aslr.align_stack(arg_start);
        let platform = below(p, PLATFORM.len())?;
        let random = below(platform, aux.random.len())?;
        let auxv = aux.vector(execfn, platform, random);
        // argc, and both vectors with their ends.
        let items = 1 + args.argv().count() + 1 + args.envp().count() + 1;
        let sp = below(below(random, auxv.len())?, items * 8)? & !15;

        let mut image = Image { start: sp, bytes: Vec::new() };
        image.word(u64::try_from(args.argv().count()).map_err(|_| ENOMEM)?);
        image.pointers(args.argv().iter(), arg_start);
        image.pointers(args.envp().iter(), env_start);
        image.bytes.extend_from_slice(&auxv);
        image.at(random, &aux.random)?;
        image.at(platform, PLATFORM)?;
        image.at(arg_start, args.argv().bytes())?;
        image.at(env_start, args.envp().bytes())?;
        image.at(execfn, args.filename())?;
        image.at(stack_top, &[])?;
        Ok(StackImage { sp, bytes: image.bytes, arg: (arg_start, env_start), env: (env_start, execfn), auxv })
    }
}

/// Bytes that are appended to, at addresses.
struct Image {
    start: u64,
    bytes: Vec<u8>,
}

impl Image {
    fn word(&mut self, word: u64) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    /// The addresses of strings that lie one after the other from `at` on, and a null pointer.
    fn pointers<'a>(&mut self, strings: impl Iterator<Item = &'a [u8]>, mut at: u64) {
        for string in strings {
            self.word(at);
            at = at.saturating_add(string.len() as u64).saturating_add(1);
        }
        self.word(0);
    }

    /// Zeros up to `addr`, then `bytes`.
    fn at(&mut self, addr: u64, bytes: &[u8]) -> Result<(), Errno> {
        let offset = addr.checked_sub(self.start).and_then(|o| usize::try_from(o).ok()).ok_or(ENOMEM)?;
        debug_assert!(self.bytes.len() <= offset);
        self.bytes.resize(offset, 0);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl AuxInfo {
    fn vector(&self, execfn: u64, platform: u64, random: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(26 * 16);
        let mut entry = |kind: u64, value: u64| {
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&value.to_le_bytes());
        };
        if let Some(addr) = self.sysinfo_ehdr {
            entry(AT_SYSINFO_EHDR, addr);
        }
        entry(AT_MINSIGSTKSZ, self.minsigstksz);
        entry(AT_HWCAP, self.hwcap);
        entry(AT_PAGESZ, PAGE_SIZE);
        entry(AT_CLKTCK, USER_HZ);
        entry(AT_PHDR, self.phdr);
        entry(AT_PHENT, PHENT_SIZE as u64);
        entry(AT_PHNUM, self.phnum.into());
        entry(AT_BASE, self.base);
        entry(AT_FLAGS, self.flags);
        entry(AT_ENTRY, self.entry);
        entry(AT_UID, self.uid.into());
        entry(AT_EUID, self.euid.into());
        entry(AT_GID, self.gid.into());
        entry(AT_EGID, self.egid.into());
        entry(AT_SECURE, self.secure.into());
        entry(AT_RANDOM, random);
        entry(AT_HWCAP2, self.hwcap2);
        entry(AT_EXECFN, execfn);
        entry(AT_PLATFORM, platform);
        if let Some(fd) = self.execfd {
            entry(AT_EXECFD, fd.into());
        }
        if let Some(rseq) = self.rseq {
            entry(AT_RSEQ_FEATURE_SIZE, rseq.feature_size);
            entry(AT_RSEQ_ALIGN, rseq.align);
        }
        entry(AT_NULL, 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::Randomize;
    use proptest::prelude::*;

    struct Reader<'a>(&'a StackImage, usize);

    impl Reader<'_> {
        fn word(&mut self) -> u64 {
            let at = self.1;
            self.1 += 8;
            u64::from_le_bytes(self.0.bytes[at..at + 8].try_into().unwrap())
        }

        fn string(&self, addr: u64) -> Vec<u8> {
            let from = usize::try_from(addr - self.0.sp).unwrap();
            self.0.bytes[from..].iter().copied().take_while(|b| *b != 0).collect()
        }

        fn strings(&mut self) -> Vec<Vec<u8>> {
            std::iter::from_fn(|| Some(self.word()).filter(|p| *p != 0).map(|p| self.string(p))).collect()
        }
    }

    fn check(argv: &[Vec<u8>], envp: &[Vec<u8>], seed: u64) {
        const TOP: u64 = 0x7fff_ffff_0000;
        let mut args = Arguments::new(b"/bin/x", argv.len(), envp.len(), 8 << 20).unwrap();
        envp.iter().for_each(|s| args.push_envp(s).unwrap());
        argv.iter().for_each(|s| args.push_argv(s).unwrap());
        let aux = AuxInfo { random: [7; 16], uid: 5, secure: true, ..AuxInfo::default() };
        let mut aslr = Aslr::new(1 << 47, Randomize::Full, || seed);
        let image = StackImage::build(&args, &aux, TOP, &mut aslr).unwrap();
        assert_eq!(image.sp % 16, 0);
        assert_eq!(image.sp + image.bytes.len() as u64, TOP);
        assert_eq!(image.bytes[image.bytes.len() - 8..], [0; 8]);
        let mut r = Reader(&image, 0);
        assert_eq!(r.word(), argv.len() as u64);
        assert_eq!(r.strings(), argv);
        assert_eq!(r.strings(), envp);
        let vector = r.1;
        let mut aux = std::collections::BTreeMap::new();
        loop {
            let (kind, value) = (r.word(), r.word());
            if kind == AT_NULL {
                break;
            }
            assert_eq!(aux.insert(kind, value), None);
        }
        assert_eq!(image.bytes[vector..r.1], image.auxv);
        assert_eq!(r.string(aux[&AT_EXECFN]), b"/bin/x");
        assert_eq!(r.string(aux[&AT_PLATFORM]), b"x86_64");
        let random = usize::try_from(aux[&AT_RANDOM] - image.sp).unwrap();
        assert_eq!(image.bytes[random..random + 16], [7; 16]);
        assert_eq!((aux[&AT_UID], aux[&AT_SECURE], aux[&AT_PAGESZ]), (5, 1, 4096));
        let arg = usize::try_from(image.arg.0 - image.sp).unwrap()
            ..usize::try_from(image.arg.1 - image.sp).unwrap();
        assert_eq!(&image.bytes[arg], args.argv().bytes());
        assert_eq!(image.env.1 - image.env.0, args.envp().bytes().len() as u64);
    }

    proptest! {
        #[test]
        fn a_reader_finds_what_was_put(
            argv in prop::collection::vec(prop::collection::vec(1u8.., 0..200), 0..20),
            envp in prop::collection::vec(prop::collection::vec(1u8.., 0..200), 0..20),
            seed: u64,
        ) {
            check(&argv, &envp, seed);
        }
    }

    #[test]
    fn a_stack_without_room_is_refused() {
        let args = Arguments::new(b"/bin/x", 1, 0, 8 << 20).unwrap();
        let mut aslr = Aslr::new(1 << 47, Randomize::Off, || 0);
        assert_eq!(StackImage::build(&args, &AuxInfo::default(), 64, &mut aslr).err(), Some(ENOMEM));
    }
}
