//! Linux: fs/exec.c, `do_execveat_common`, `begin_new_exec`; fs/binfmt_elf.c, `load_elf_binary`.

use crate::vvar::{VVAR, empty_vvar};
use crate::{CurrentTask, Task};
use fs_vfs::{File, FileType, TaskContext};
use platform::{Prot, PtRegs};
use sentry_auth::{BprmCreds, Cred};
use sentry_loader::{
    Arguments, Aslr, AuxInfo, ElfImage, ExecStack, LoadPlan, MAX_REWRITES, Placement as ElfPlacement,
    Randomize, ReadAt, ScriptLine, StackImage,
};
use sentry_mm::{
    IoDst, MappedFile, MemoryManager, MmLimits, MmapRequest, PAGE_SIZE, Placement, VmFlags, VmaFile, dumpable,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EAGAIN, ELOOP, ENOENT, ENOMEM};
use sentry_uapi::resource::{RLIMIT_STACK, Rlimit};
use sentry_uapi::sigaction::{SS_DISABLE, SigAltStack};
use sentry_uapi::signal::{SIGCHLD, SIGSEGV};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// personality(2): no address randomisation.
const ADDR_NO_RANDOMIZE: u64 = 0x0004_0000;
/// personality(2): every readable mapping is executable.
const READ_IMPLIES_EXEC: u64 = 0x0040_0000;
/// Part of personality(2) that a set-ID program does not inherit. Linux: `PER_CLEAR_ON_SETID`.
const PER_CLEAR_ON_SETID: u64 = READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE | 0x0010_0000 | 0x0020_0000;

/// Linux: arch/x86/include/uapi/asm/hwcap2.h.
const HWCAP2_FSGSBASE: u64 = 1 << 1;
/// What a privileged program's stack may take at most, if its caller allowed it more. Linux: `_STK_LIM`.
const STK_LIM: u64 = 8 << 20;

/// Opens an interpreter by path, as `do_open_execat` does.
pub type OpenExec<'a> = dyn FnMut(&CurrentTask, &[u8]) -> Result<Arc<File>, Errno> + 'a;

struct ExecFile<'a> {
    file: &'a File,
    ctx: &'a dyn TaskContext,
}

impl ReadAt for ExecFile<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buf.len() {
            let mut dst = IoDst::from_slice(&mut buf[done..]);
            let n = self.file.ops().read(self.file, self.ctx, &mut dst, offset + done as u64)?;
            if n == 0 {
                break;
            }
            done += n;
        }
        Ok(done)
    }
}

/// A program whose headers have been read and found good.
struct Program {
    file: Arc<File>,
    image: ElfImage,
    interp: Option<(Arc<File>, ElfImage)>,
}

impl CurrentTask {
    /// execve(2): replaces the program with `file`, which was opened for execution. `name` is what the thread will be
    /// called, and `args` what it gets. `open` opens interpreters. `inaccessible` says that the path of `file` will not
    /// exist for a script's interpreter (a close-on-exec descriptor). `deny` keeps the file from being written to as long
    /// as the program runs.
    ///
    /// # Errors
    /// Those of execve(2), as long as the old program can go on; after that the task is killed.
    pub fn execve(
        &mut self,
        file: Arc<File>,
        deny: Arc<dyn Any + Send + Sync>,
        mut args: Arguments,
        path: &[u8],
        inaccessible: bool,
        open: &mut OpenExec<'_>,
    ) -> Result<(), Errno> {
        let mut file = file;
        let executable = file.clone();
        let mut script_path = path.to_vec();
        let mut rewrites = 0;
        let program = loop {
            let mut start = [0; 256];
            let n = ExecFile { file: &file, ctx: self }.read_at(0, &mut start)?;
            let Some(line) = ScriptLine::parse(start.get(..n).unwrap_or_default())? else {
                break self.read_program(file, open)?;
            };
            rewrites += 1;
            if rewrites > MAX_REWRITES {
                return Err(ELOOP);
            }
            if inaccessible && rewrites == 1 {
                return Err(ENOENT);
            }
            args.splice_script(&line, &script_path)?;
            file = open(self, &line.interpreter)?;
            script_path = line.interpreter;
        };
        let creds = self.bprm_creds(&program.file)?;
        self.de_thread()?;
        // Past this point the old program is gone: whatever fails now kills.
        let result = self.begin_new_exec(&program, &args, creds);
        if let Some(mm) = &self.mm {
            mm.update_info(|info| info.exe_guard = Some(deny));
        }
        if result.is_err() {
            let status = self.group.group_exit(SIGSEGV);
            self.exit_status = Some(status);
            return Ok(());
        }
        let shown = executable.path().dentry.name();
        let base = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        self.task().set_comm(if base.is_empty() { &shown } else { base });
        Ok(())
    }

    fn read_program(&self, file: Arc<File>, open: &mut OpenExec<'_>) -> Result<Program, Errno> {
        let image = ElfImage::parse(&ExecFile { file: &file, ctx: self })?;
        let interp = match image.interp() {
            None => None,
            Some(path) => {
                let interp = open(self, path)?;
                let parsed = ElfImage::parse_interp(&ExecFile { file: &interp, ctx: self })?;
                Some((interp, parsed))
            }
        };
        Ok(Program { file, image, interp })
    }

    /// Ends the other threads of the process; the caller becomes its leader. Linux: `de_thread`.
    fn de_thread(&mut self) -> Result<(), Errno> {
        let kernel = self.kernel().clone();
        let own = self.tid();
        let others: Vec<Arc<Task>> = self.group.threads().into_iter().filter(|t| t.tid() != own).collect();
        if others.is_empty() && self.task().is_leader() {
            return Ok(());
        }
        {
            let mut signal = self.group.signal();
            if signal.group_exit.is_some() || signal.exec_thread.is_some() {
                return Err(EAGAIN);
            }
            signal.exec_thread = Some(own);
        }
        for t in self.group.threads() {
            if t.tid() != own {
                t.kick();
            }
        }
        let alone =
            |tree: &crate::Tree| tree.processes.get(&self.group.id()).is_none_or(|p| p.threads.len() <= 1);
        loop {
            if alone(&kernel.tree.lock()) {
                break;
            }
            if !self.sleep_killable() {
                self.group.signal().exec_thread = None;
                return Err(EAGAIN);
            }
        }
        let leader = self.group.pid.clone();
        if own != leader.global() {
            let mut tree = kernel.tree.lock();
            tree.tasks.remove(&own);
            self.task().set_pid(leader.clone());
            self.answers_told = false;
            tree.tasks.insert(leader.global(), self.task().clone());
            let nproc = self.group.dead_leader_nproc.lock().take();
            drop(nproc);
        }
        self.group.signal().exec_thread = None;
        Ok(())
    }

    fn begin_new_exec(&mut self, program: &Program, args: &Arguments, creds: BprmCreds) -> Result<(), Errno> {
        let kernel = self.kernel().clone();
        let mm = MemoryManager::new(kernel.memory.clone(), kernel.platform.clone()).map_err(|_| ENOMEM)?;
        let BprmCreds { cred, secureexec, per_clear } = creds;
        if per_clear {
            self.personality.fetch_and(!PER_CLEAR_ON_SETID, Ordering::Relaxed);
        }
        if secureexec {
            self.task().pdeath_signal.store(0, Ordering::Relaxed);
            // A stack limit of the caller's choice would decide where things are mapped.
            let limit = self.group.rlimit(RLIMIT_STACK);
            self.group.set_rlimit(RLIMIT_STACK, Rlimit { cur: limit.cur.min(STK_LIM), ..limit });
        }
        let personality = self.personality.load(Ordering::Relaxed);
        let loaded = self.load(&mm, program, args, &cred, secureexec, personality)?;
        self.set_exec_dumpable(&mm, program);
        // The old address space goes, with what hangs on it.
        self.exit_mm();
        self.exec_task_namespaces();
        self.task().resources.lock().mm = Some(mm.clone());
        self.mm = Some(mm);
        self.ctx.reset_fp_state().map_err(|_| ENOMEM)?;
        self.regs = PtRegs::for_exec(loaded.entry, loaded.sp);
        self.altstack = SigAltStack { ss_flags: SS_DISABLE, ..SigAltStack::default() };
        self.restart = None;
        self.robust_list.store(0, Ordering::Relaxed);
        self.clear_child_tid.store(0, Ordering::Relaxed);
        let sighand = self.group.sighand().copy();
        sighand.flush(false);
        self.group.set_sighand(sighand);
        self.group.timers_exec();
        // Descriptors shared with another process are shared no longer.
        let files = self.task().files()?;
        let files = if Arc::strong_count(&files) > 2 { files.copy() } else { files };
        self.task().resources.lock().files = Some(files.clone());
        files.close_on_exec(self);
        {
            let mut tree = kernel.tree.lock();
            if let Some(p) = tree.processes.get_mut(&self.group.id()) {
                p.did_exec = true;
                p.exit_signal = SIGCHLD;
            }
        }
        self.commit_creds(cred);
        Ok(())
    }

    /// Who may look into the new program: not those who could not read it, nor, by the old credentials, those who are not
    /// entirely the user that runs it.
    fn set_exec_dumpable(&self, mm: &MemoryManager, program: &Program) {
        let old = self.task().cred();
        let mut user_ns = old.user_ns.clone();
        let mut readable = true;
        for file in [Some(&program.file), program.interp.as_ref().map(|(file, _)| file)].into_iter().flatten()
        {
            if let Some(ns) = self.would_dump(file, &user_ns) {
                (user_ns, readable) = (ns, false);
            }
        }
        let same = old.euid == old.uid && old.egid == old.gid;
        let dumpable = if readable && same {
            dumpable::USER
        } else {
            self.kernel().suid_dumpable.load(Ordering::Relaxed)
        };
        mm.update_info(|info| {
            info.dumpable = dumpable;
            info.user_ns = Some(user_ns);
        });
    }

    fn load(
        &self,
        mm: &Arc<MemoryManager>,
        program: &Program,
        args: &Arguments,
        cred: &Cred,
        secure: bool,
        personality: u64,
    ) -> Result<Loaded, Errno> {
        let kernel = self.kernel();
        let limits = self.mm_limits();
        let stack_limit = self.group.rlimit(RLIMIT_STACK).cur;
        let randomize = if personality & ADDR_NO_RANDOMIZE != 0 { Randomize::Off } else { Randomize::Full };
        let user_end = kernel.platform.user_range().1;
        let mut aslr = Aslr::new(user_end, randomize, || kernel.random_u64());
        let stack_top = aslr.stack_top();
        mm.set_mmap_base(aslr.mmap_base(stack_limit));
        let exec_stack = program.image.exec_stack() == ExecStack::Enabled;
        self.map_stack(mm, stack_top, stack_limit, exec_stack, &limits)?;

        let main = map_image(mm, &program.file, &program.image, &mut aslr, user_end, &limits)?;
        let mut entry = main.entry;
        let mut base = 0;
        if let Some((file, image)) = &program.interp {
            let plan = map_image(mm, file, image, &mut aslr, user_end, &limits)?;
            entry = plan.entry;
            base = plan.bias;
        }
        let brk = aslr.brk(main.brk, program.image.is_loader());
        mm.set_brk_start(brk);
        let vdso = self.map_vdso(mm, aslr.vdso_addr(stack_top, PAGE_SIZE * 4), &limits)?;
        let mut random = [0; 16];
        kernel.random(&mut random);
        let (hwcap, mut hwcap2, minsigstksz) = platform_host::cpu::auxv_features();
        if kernel.platform.call_gate().is_some() {
            // The base of GS is the gate's; a program that wants one asks arch_prctl(2) for it then.
            hwcap2 &= !HWCAP2_FSGSBASE;
        }
        let aux = AuxInfo {
            sysinfo_ehdr: vdso,
            minsigstksz,
            hwcap,
            hwcap2,
            phdr: main.phdr_addr,
            phnum: program.image.phnum(),
            base,
            flags: 0,
            entry: main.entry,
            uid: cred.user_ns.from_kuid_munged(cred.uid),
            euid: cred.user_ns.from_kuid_munged(cred.euid),
            gid: cred.user_ns.from_kgid_munged(cred.gid),
            egid: cred.user_ns.from_kgid_munged(cred.egid),
            secure,
            execfd: None,
            rseq: None,
            random,
        };
        let stack = StackImage::build(args, &aux, stack_top, &mut aslr)?;
        let lowest = stack_top.saturating_sub(stack_limit.max(PAGE_SIZE));
        if stack.sp < lowest {
            return Err(ENOMEM);
        }
        mm.copy_to_user(stack.sp, &stack.bytes)?;
        let exe: Arc<dyn MappedFile> = program.file.clone();
        mm.update_info(|info| {
            info.code = main.code;
            info.data = main.data;
            info.start_stack = stack.sp;
            info.args = stack.arg;
            info.env = stack.env;
            info.auxv = stack.auxv.clone();
            info.exe = Some(exe);
        });
        Ok(Loaded { entry, sp: stack.sp })
    }

    fn map_stack(
        &self,
        mm: &MemoryManager,
        top: u64,
        stack_limit: u64,
        executable: bool,
        limits: &MmLimits,
    ) -> Result<(), Errno> {
        /// Mapped from the start: arguments, environment and first frames. Linux: `stack_expand` in setup_arg_pages.
        const INITIAL: u64 = 132 << 10;
        let size = INITIAL.max(PAGE_SIZE).min(stack_limit.next_multiple_of(PAGE_SIZE).max(PAGE_SIZE));
        let prot = Prot::READ | Prot::WRITE | if executable { Prot::EXEC } else { Prot::empty() };
        let request = MmapRequest {
            flags: VmFlags::GROWSDOWN,
            name: Some("[stack]"),
            ..MmapRequest::anonymous(Placement::Fixed(top - size), size, prot)
        };
        mm.mmap(&request, &MmLimits { stack: stack_limit, ..*limits })?;
        Ok(())
    }

    fn map_vdso(&self, mm: &MemoryManager, hint: u64, limits: &MmLimits) -> Result<Option<u64>, Errno> {
        let Some(vdso) = &self.kernel().vdso else { return Ok(None) };
        let len = vdso.vvar_len + vdso.image_len;
        let request = |place, len, offset, prot, name| MmapRequest {
            max_prot: prot,
            flags: VmFlags::SHARED,
            file: Some(VmaFile { mappable: vdso.pages.clone(), file: None, offset }),
            name: Some(name),
            populate: true,
            ..MmapRequest::anonymous(place, len, prot)
        };
        let reserve = MmapRequest::anonymous(Placement::Hint(hint), len, Prot::empty());
        let at = mm.mmap(&reserve, limits)?;
        if self.task().ns().time_for_children.is_plain() {
            mm.mmap(&request(Placement::Fixed(at), vdso.vvar_len, 0, Prot::READ, VVAR), limits)?;
        } else {
            mm.mmap(&empty_vvar(at, vdso.vvar_len), limits)?;
        }
        let image = at + vdso.vvar_len;
        let prot = Prot::READ | Prot::EXEC;
        mm.mmap(&request(Placement::Fixed(image), vdso.image_len, vdso.vvar_len, prot, "[vdso]"), limits)?;
        Ok(Some(image))
    }
}

struct Loaded {
    entry: u64,
    sp: u64,
}

/// Maps one image as its plan says.
fn map_image<R: FnMut() -> u64>(
    mm: &MemoryManager,
    file: &Arc<File>,
    image: &ElfImage,
    aslr: &mut Aslr<R>,
    user_end: u64,
    limits: &MmLimits,
) -> Result<LoadPlan, Errno> {
    let mappable = file.ops().mmap(file)?;
    let mapped: Arc<dyn MappedFile> = file.clone();
    let base = match image.placement()? {
        ElfPlacement::Fixed => 0,
        ElfPlacement::EtDynBase { align } => aslr.et_dyn_base(align),
        ElfPlacement::MmapArea { len, align } => {
            let room = len.checked_add(align).ok_or(ENOMEM)?;
            let at = mm.mmap(&MmapRequest::anonymous(Placement::Hint(0), room, Prot::empty()), limits)?;
            mm.munmap(at, room)?;
            // As high as the alignment allows.
            (at + room - len) & !(align - 1)
        }
    };
    let plan = image.plan(base, user_end)?;
    for segment in &plan.segments {
        if let Some(f) = &segment.file {
            let request = MmapRequest {
                file: Some(VmaFile {
                    mappable: mappable.clone(),
                    file: Some(mapped.clone()),
                    offset: f.offset,
                }),
                populate: true,
                ..MmapRequest::anonymous(Placement::Fixed(f.addr), f.len, segment.prot)
            };
            mm.mmap(&request, limits)?;
        }
        let (zero, end) = segment.zero;
        if zero < end {
            let len = usize::try_from(end - zero).map_err(|_| ENOMEM)?;
            // Fails for a segment that is not writable, which is no error.
            let _ = mm.clear_user(zero, len);
        }
        let (bss, end) = segment.bss;
        if bss < end {
            let prot = Prot::READ | Prot::WRITE | (segment.prot & Prot::EXEC);
            mm.mmap(&MmapRequest::anonymous(Placement::Fixed(bss), end - bss, prot), limits)?;
        }
    }
    Ok(plan)
}

/// Whether a file may be executed at all: regular, on a mount that allows it. Linux: `do_open_execat`.
///
/// # Errors
/// `EACCES`.
pub fn may_exec(file: &File) -> Result<(), Errno> {
    if file.inode().file_type() != FileType::Regular || file.path().is_noexec() {
        Err(EACCES)
    } else {
        Ok(())
    }
}
