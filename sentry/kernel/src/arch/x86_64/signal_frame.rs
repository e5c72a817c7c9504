//! Signal frames. Linux: arch/x86/kernel/signal_64.c, arch/x86/kernel/fpu/signal.c.

use crate::CurrentTask;
use platform::arch::XSTATE_BV_OFFSET;
use platform::{FpState, PtRegs};
use sentry_uapi::Errno;
use sentry_uapi::errno::EFAULT;
use sentry_uapi::sigaction::{
    FP_SW_BYTES_OFFSET, FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, RtSigFrame, SS_AUTODISARM, SS_DISABLE,
    SS_ONSTACK, SaFlags, SigAction, SigAltStack, SigContext, UC_FP_XSTATE, UC_SIGCONTEXT_SS,
    UC_STRICT_RESTORE_SS, Ucontext,
};
use sentry_uapi::signal::{SigInfo, SigSet};

/// Bytes below the stack pointer that compiled code may use without moving it.
const RED_ZONE: u64 = 128;
/// Bytes of the legacy FP area.
const FXSAVE_LEN: usize = 512;
/// Bytes of the legacy area and the XSAVE header.
const XSAVE_MIN_LEN: usize = 576;
/// Largest XSAVE image believed in a frame.
const XSAVE_MAX_LEN: usize = 16 << 10;

impl CurrentTask {
    /// Whether `sp` lies on the alternate stack. Linux: `on_sig_stack`.
    pub fn on_altstack(&self, sp: u64) -> bool {
        let s = &self.altstack;
        // An autodisarmed stack is never "in use": a handler may even switch away from it.
        s.ss_flags & SS_AUTODISARM == 0 && sp > s.ss_sp && sp - s.ss_sp <= s.ss_size
    }

    /// The alternate stack with its flags as sigaltstack(2) and frames show them. Linux: `sas_ss_flags`.
    pub fn altstack_view(&self) -> SigAltStack {
        let mut view = self.altstack;
        let disabled = view.ss_size == 0;
        view.ss_flags = (view.ss_flags & SS_AUTODISARM)
            | if disabled {
                SS_DISABLE
            } else if self.on_altstack(self.regs.rsp) {
                SS_ONSTACK
            } else {
                0
            };
        view
    }

    /// Builds the frame of a handler and points the registers at it.
    ///
    /// # Errors
    /// `EFAULT` when the stack cannot take it; the caller then sends SIGSEGV.
    pub(crate) fn setup_rt_frame(
        &mut self,
        info: &SigInfo,
        action: &SigAction,
        mask: SigSet,
    ) -> Result<(), Errno> {
        let flags = SaFlags::from_bits_retain(action.flags);
        if !flags.contains(SaFlags::RESTORER) {
            return Err(EFAULT);
        }
        let fp = self.ctx.fp_state().map_err(|_| EFAULT)?;
        let fp = frame_fp_image(fp.as_bytes());
        let nested = self.on_altstack(self.regs.rsp);
        let mut sp = self.regs.rsp.wrapping_sub(RED_ZONE);
        let mut entering = false;
        if flags.contains(SaFlags::ONSTACK)
            && !nested
            && self.altstack.ss_size != 0
            && !self.altstack_in_use()
        {
            sp = self.altstack.ss_sp.wrapping_add(self.altstack.ss_size);
            entering = true;
        }
        // The FP area is aligned to 64; the frame such that the handler sees the stack as after a call.
        let fp_addr = sp.wrapping_sub(fp.len() as u64) & !63;
        let frame_addr = (fp_addr.wrapping_sub(size_of::<RtSigFrame>() as u64) & !15).wrapping_sub(8);
        if (nested || entering) && self.altstack.ss_size != 0 && frame_addr < self.altstack.ss_sp {
            return Err(EFAULT);
        }
        let r = &self.regs;
        let mcontext = SigContext {
            r8: r.r8,
            r9: r.r9,
            r10: r.r10,
            r11: r.r11,
            r12: r.r12,
            r13: r.r13,
            r14: r.r14,
            r15: r.r15,
            rdi: r.rdi,
            rsi: r.rsi,
            rbp: r.rbp,
            rbx: r.rbx,
            rdx: r.rdx,
            rax: r.rax,
            rcx: r.rcx,
            rsp: r.rsp,
            rip: r.rip,
            eflags: r.eflags,
            cs: 0x33,
            gs: 0,
            fs: 0,
            ss: 0x2b,
            err: self.exception.error_code,
            trapno: self.exception.vector,
            oldmask: mask.0,
            cr2: self.exception.cr2,
            fpstate: fp_addr,
            reserved: [0; 8],
        };
        let frame = RtSigFrame {
            pretcode: action.restorer,
            uc: Ucontext {
                flags: UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
                link: 0,
                stack: self.altstack_view(),
                mcontext,
                sigmask: mask,
            },
            info: *info,
        };
        let mm = self.user()?.clone();
        mm.copy_to_user(fp_addr, &fp)?;
        mm.write_obj(frame_addr, &frame)?;
        if self.altstack.ss_flags & SS_AUTODISARM != 0 {
            self.altstack = SigAltStack { ss_flags: SS_DISABLE, ..SigAltStack::default() };
        }
        let uc_offset = 8;
        let info_offset = uc_offset + size_of::<Ucontext>() as u64;
        let r = &mut self.regs;
        r.rdi = u64::try_from(info.si_signo).unwrap_or(0);
        r.rax = 0;
        r.rsi = frame_addr + info_offset;
        r.rdx = frame_addr + uc_offset;
        r.rip = action.handler;
        r.rsp = frame_addr;
        // DF, RF and TF off. Linux: `handle_signal`.
        r.eflags &= !0x0001_0500;
        *r = r.sanitised();
        // A handler starts with the state of a fresh program. Linux: `fpu__clear_user_states`.
        self.ctx.reset_fp_state().map_err(|_| EFAULT)
    }

    fn altstack_in_use(&self) -> bool {
        self.on_altstack(self.regs.rsp)
    }

    /// rt_sigreturn(2): puts back what the frame at the stack pointer says.
    ///
    /// # Errors
    /// `EFAULT` for a frame that cannot be read or believed; the caller then sends SIGSEGV.
    pub fn restore_rt_frame(&mut self) -> Result<(), Errno> {
        // The handler's `ret` has taken the return address off.
        let frame_addr = self.regs.rsp.wrapping_sub(8);
        let mm = self.user()?.clone();
        let frame: RtSigFrame = mm.read_obj(frame_addr)?;
        let m = &frame.uc.mcontext;
        let fp = if m.fpstate == 0 { FpState::default() } else { read_fp_image(&mm, m.fpstate)? };
        if fp.as_bytes().is_empty() {
            self.ctx.reset_fp_state().map_err(|_| EFAULT)?;
        } else {
            // The platform takes an image of the host's full size; what is missing is in its initial state.
            let full = self.ctx.fp_state().map_err(|_| EFAULT)?.as_bytes().len();
            let mut image = fp.as_bytes().to_vec();
            image.resize(full, 0);
            self.ctx.set_fp_state(&FpState::from_bytes(image)).map_err(|_| EFAULT)?;
        }
        self.set_blocked(frame.uc.sigmask);
        self.regs = PtRegs {
            r8: m.r8,
            r9: m.r9,
            r10: m.r10,
            r11: m.r11,
            r12: m.r12,
            r13: m.r13,
            r14: m.r14,
            r15: m.r15,
            rdi: m.rdi,
            rsi: m.rsi,
            rbp: m.rbp,
            rbx: m.rbx,
            rdx: m.rdx,
            rax: m.rax,
            rcx: m.rcx,
            rsp: m.rsp,
            rip: m.rip,
            eflags: m.eflags,
            fs_base: self.regs.fs_base,
            gs_base: self.regs.gs_base,
            ..PtRegs::default()
        }
        .sanitised();
        // A bad stack in the frame is no reason to fail. Linux: `restore_altstack`.
        let _ = self.set_altstack(frame.uc.stack);
        Ok(())
    }
}

/// The XSAVE image as it stands in a frame: software bytes filled in, the second magic number behind it. Linux:
/// `save_xstate_epilog`.
fn frame_fp_image(image: &[u8]) -> Vec<u8> {
    let mut out = image.to_vec();
    out.resize(out.len().max(XSAVE_MIN_LEN), 0);
    let xstate_size = u32::try_from(out.len()).unwrap_or(u32::MAX);
    let extended_size = xstate_size.saturating_add(4);
    let mut xfeatures = [0; 8];
    if let Some(bv) = image.get(XSTATE_BV_OFFSET..XSTATE_BV_OFFSET + 8) {
        xfeatures.copy_from_slice(bv);
    }
    // Legacy state is always present. Linux: `XFEATURE_MASK_FPSSE`.
    let xfeatures = u64::from_ne_bytes(xfeatures) | 3;
    let mut sw = Vec::with_capacity(48);
    sw.extend_from_slice(&FP_XSTATE_MAGIC1.to_ne_bytes());
    sw.extend_from_slice(&extended_size.to_ne_bytes());
    sw.extend_from_slice(&xfeatures.to_ne_bytes());
    sw.extend_from_slice(&xstate_size.to_ne_bytes());
    sw.resize(48, 0);
    if let Some(field) = out.get_mut(FP_SW_BYTES_OFFSET..FP_SW_BYTES_OFFSET + 48) {
        field.copy_from_slice(&sw);
    }
    out.extend_from_slice(&FP_XSTATE_MAGIC2.to_ne_bytes());
    out
}

/// Reads the image back: with extended state if its magic numbers stand, else the legacy part alone. Linux:
/// `check_xstate_in_sigframe`.
fn read_fp_image(mm: &sentry_mm::MemoryManager, addr: u64) -> Result<FpState, Errno> {
    let mut legacy = vec![0; FXSAVE_LEN];
    mm.copy_from_user(addr, &mut legacy)?;
    let word = |at: usize| {
        let mut bytes = [0; 4];
        if let Some(b) = legacy.get(at..at + 4) {
            bytes.copy_from_slice(b);
        }
        u32::from_ne_bytes(bytes)
    };
    let size = usize::try_from(word(FP_SW_BYTES_OFFSET + 16)).unwrap_or(usize::MAX);
    if word(FP_SW_BYTES_OFFSET) == FP_XSTATE_MAGIC1 && (XSAVE_MIN_LEN..=XSAVE_MAX_LEN).contains(&size) {
        let magic2: u32 = mm.read_obj(addr.wrapping_add(size as u64)).unwrap_or(0);
        if magic2 == FP_XSTATE_MAGIC2 {
            let mut image = vec![0; size];
            mm.copy_from_user(addr, &mut image)?;
            clear_software_bytes(&mut image);
            return Ok(FpState::from_bytes(image));
        }
    }
    let mut image = legacy;
    image.resize(XSAVE_MIN_LEN, 0);
    clear_software_bytes(&mut image);
    if let Some(bv) = image.get_mut(XSTATE_BV_OFFSET) {
        *bv = 3;
    }
    Ok(FpState::from_bytes(image))
}

fn clear_software_bytes(image: &mut [u8]) {
    if let Some(field) = image.get_mut(FP_SW_BYTES_OFFSET..FXSAVE_LEN) {
        field.fill(0);
    }
}
