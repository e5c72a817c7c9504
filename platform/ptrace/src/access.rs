//! What kind of access a page fault was. The processor says so in the fault's error code, which ptrace(2) does not
//! pass on; the instruction tells, too.

use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, OpAccess, Register, UsedMemory,
};
use platform::{AccessType, PtRegs};
use platform_host::ptrace::peek_text;

/// Length of the longest instruction, in bytes.
const MAX_INSTRUCTION: usize = 15;
const WORD: usize = 8;

/// The access to `addr` that a stopped thread has faulted with at `regs.rip`.
pub(crate) fn of_fault(tid: i32, regs: &PtRegs, addr: u64) -> AccessType {
    let mut code = Vec::with_capacity(2 * WORD);
    for at in [regs.rip, regs.rip.wrapping_add(8)] {
        match peek_text(tid, at) {
            Ok(word) => code.extend_from_slice(&word.to_le_bytes()),
            Err(_) => {
                // The bytes up to the end of the page, which the word before the next page's start ends with.
                let before = regs.rip.wrapping_add(u64::try_from(code.len()).unwrap_or(0));
                let missing = usize::try_from(before.next_multiple_of(4096) - before).unwrap_or(0);
                if (1..WORD).contains(&missing)
                    && let Ok(word) = peek_text(tid, before.next_multiple_of(4096) - 8)
                {
                    code.extend_from_slice(word.to_le_bytes().get(WORD - missing..).unwrap_or(&[]));
                }
                break;
            }
        }
    }
    classify(&code, regs, addr)
}

/// The access to `addr` by the instruction `code` begins with. `code` ends where it cannot be read.
fn classify(code: &[u8], regs: &PtRegs, addr: u64) -> AccessType {
    let code = code.get(..MAX_INSTRUCTION.min(code.len())).unwrap_or(&[]);
    let mut decoder = Decoder::with_ip(64, code, regs.rip, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    decoder.decode_out(&mut instruction);
    let fetched = addr.wrapping_sub(regs.rip);
    if instruction.is_invalid() {
        let within = fetched < u64::try_from(MAX_INSTRUCTION).unwrap_or(0);
        return if within { AccessType::Execute } else { AccessType::Unknown };
    }
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(&instruction).used_memory();
    if let Some(memory) = used.iter().find(|memory| touches(memory, regs, addr)) {
        return access_of(memory);
    }
    let length = u64::try_from(instruction.len()).unwrap_or(0);
    if addr == regs.rip || fetched < length && addr.is_multiple_of(4096) {
        return AccessType::Execute;
    }
    // An address that is made from a vector register, or an operand whose size the state decides.
    match used {
        [one] => access_of(one),
        _ => AccessType::Unknown,
    }
}

fn access_of(memory: &UsedMemory) -> AccessType {
    match memory.access() {
        OpAccess::Read | OpAccess::CondRead => AccessType::Read,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
            AccessType::Write
        }
        _ => AccessType::Unknown,
    }
}

fn touches(memory: &UsedMemory, regs: &PtRegs, addr: u64) -> bool {
    let start = memory.virtual_address(0, |register, _, _| value(register, regs));
    let size = u64::try_from(memory.memory_size().size()).unwrap_or(0).max(1);
    start.is_some_and(|start| addr.wrapping_sub(start) < size)
}

/// A register that an address can be made of.
fn value(register: Register, regs: &PtRegs) -> Option<u64> {
    let whole = match register {
        Register::FS => return Some(regs.fs_base),
        Register::GS => return Some(regs.gs_base),
        Register::ES | Register::CS | Register::SS | Register::DS => return Some(0),
        other => other.full_register(),
    };
    let whole = match whole {
        Register::RAX => regs.rax,
        Register::RBX => regs.rbx,
        Register::RCX => regs.rcx,
        Register::RDX => regs.rdx,
        Register::RSI => regs.rsi,
        Register::RDI => regs.rdi,
        Register::RBP => regs.rbp,
        Register::RSP => regs.rsp,
        Register::R8 => regs.r8,
        Register::R9 => regs.r9,
        Register::R10 => regs.r10,
        Register::R11 => regs.r11,
        Register::R12 => regs.r12,
        Register::R13 => regs.r13,
        Register::R14 => regs.r14,
        Register::R15 => regs.r15,
        _ => return None,
    };
    Some(match register.size() {
        4 => whole & u64::from(u32::MAX),
        2 => whole & u64::from(u16::MAX),
        _ => whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIP: u64 = 0x40_0ff0;
    const AT: u64 = 0x7000_0000;

    fn regs() -> PtRegs {
        PtRegs { rip: RIP, rsp: AT, rdi: AT, rsi: AT + 0x1000, rax: 8, fs_base: AT, ..PtRegs::default() }
    }

    #[track_caller]
    fn assert_access(code: &[u8], addr: u64, access: AccessType) {
        assert_eq!(classify(code, &regs(), addr), access);
    }

    #[test]
    fn moves_read_and_write() {
        // mov rax, [rdi]
        assert_access(&[0x48, 0x8b, 0x07], AT, AccessType::Read);
        assert_access(&[0x48, 0x8b, 0x07], AT + 7, AccessType::Read);
        // mov [rdi + rax * 2 + 16], rax
        assert_access(&[0x48, 0x89, 0x44, 0x47, 0x10], AT + 32, AccessType::Write);
        // mov rax, fs:[0]
        assert_access(&[0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0], AT, AccessType::Read);
        // mov [edi], eax
        assert_access(&[0x67, 0x89, 0x07], AT, AccessType::Write);
    }

    #[test]
    fn a_change_in_place_is_a_write() {
        // add [rdi], rax; lock cmpxchg [rdi], rsi
        assert_access(&[0x48, 0x01, 0x07], AT, AccessType::Write);
        assert_access(&[0xf0, 0x48, 0x0f, 0xb1, 0x37], AT, AccessType::Write);
    }

    #[test]
    fn operands_are_told_apart() {
        // movsb: [rsi] to [rdi]
        assert_access(&[0xa4], AT, AccessType::Write);
        assert_access(&[0xa4], AT + 0x1000, AccessType::Read);
        // push [rsi]
        assert_access(&[0xff, 0x36], AT - 8, AccessType::Write);
        assert_access(&[0xff, 0x36], AT + 0x1000, AccessType::Read);
    }

    #[test]
    fn fetches_are_recognised() {
        assert_access(&[], RIP, AccessType::Execute);
        assert_access(&[0x90], RIP, AccessType::Execute);
        // The second half lies on the next page.
        let regs = PtRegs { rip: 0x40_0ffe, ..regs() };
        assert_eq!(classify(&[0x48, 0x8b], &regs, 0x40_1000), AccessType::Execute);
        assert_eq!(classify(&[0x48, 0x8b, 0x07], &regs, 0x40_1000), AccessType::Execute);
    }

    #[test]
    fn gathers_read() {
        // vpgatherdd xmm0, [rdi + xmm1 * 4], xmm2
        assert_access(&[0xc4, 0xe2, 0x69, 0x90, 0x04, 0x8f], AT + 0x123, AccessType::Read);
    }
}
