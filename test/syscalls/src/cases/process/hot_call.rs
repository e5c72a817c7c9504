//! System calls that a program makes over and over, from places of every shape. A kernel that rewrites such places must
//! not show it.

use crate::guest::Thread;
use crate::prelude::*;
use libc::*;
use std::arch::global_asm;

global_asm!(
    // fn(rounds) -> 0, or 1 if a call has changed what it must not: getppid(2), its number loaded right before.
    ".pushsection .text.hot_calls, \"ax\", @progbits",
    ".balign 4096",
    ".globl hot_numbered, hot_numbered_call, hot_followed, hot_jumped, hot_calls_end",
    "hot_numbered:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rbx, rdi",
    "mov rbp, 0x55",
    "mov r12, 0x12",
    "mov r13, 0x13",
    "mov r14, 0x14",
    "movq xmm5, rbx",
    "2:",
    "mov esi, 0x51",
    "mov edx, 0xd1",
    "mov edi, 0xd2",
    "mov r8d, 0x81",
    "mov r9d, 0x91",
    "mov r10d, 0xa1",
    // Below the stack pointer is the caller's as well.
    "mov qword ptr [rsp - 8], 0x77",
    "mov qword ptr [rsp - 128], 0x78",
    "hot_numbered_call:",
    "mov eax, 110",
    "syscall",
    "lea r15, [rip]",
    "sub r15, 7",
    "cmp rcx, r15",
    "jne 3f",
    "cmp esi, 0x51",
    "jne 3f",
    "cmp edx, 0xd1",
    "jne 3f",
    "cmp edi, 0xd2",
    "jne 3f",
    "cmp r8d, 0x81",
    "jne 3f",
    "cmp r9d, 0x91",
    "jne 3f",
    "cmp r10d, 0xa1",
    "jne 3f",
    "cmp rbp, 0x55",
    "jne 3f",
    "cmp r12, 0x12",
    "jne 3f",
    "cmp r13, 0x13",
    "jne 3f",
    "cmp r14, 0x14",
    "jne 3f",
    "cmp qword ptr [rsp - 8], 0x77",
    "jne 3f",
    "cmp qword ptr [rsp - 128], 0x78",
    "jne 3f",
    "test eax, eax",
    "js 3f",
    "movq rax, xmm5",
    "cmp rax, rbx",
    "jne 3f",
    "dec rbx",
    "movq xmm5, rbx",
    "jnz 2b",
    "xor eax, eax",
    "jmp 4f",
    "3:",
    "mov eax, 1",
    "4:",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    // fn(fd, buffer, length) -> result: read(2), as the C library writes it.
    ".balign 64",
    "hot_followed:",
    "xor eax, eax",
    "syscall",
    "cmp rax, -4096",
    "ja 5f",
    "ret",
    "5:",
    "neg rax",
    "neg rax",
    "ret",
    // The same, 32 times, 64 bytes apart.
    ".balign 64",
    ".globl hot_shared",
    "hot_shared:",
    ".rept 32",
    ".balign 64",
    "xor eax, eax",
    "syscall",
    "cmp rax, -4096",
    "ja 6f",
    "ret",
    "6:",
    "neg rax",
    "neg rax",
    "ret",
    ".endr",
    // fn() -> result: jumps to the `syscall` of the first one with a number of its own, getpid(2), and back out.
    ".balign 64",
    "hot_jumped:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    // The check behind the call finds that nothing else is as it should be.
    "xor esi, esi",
    "mov eax, -1",
    "jmp hot_numbered_call + 5",
    "hot_calls_end:",
    ".popsection",
);

unsafe extern "C" {
    fn hot_numbered(rounds: u64) -> u64;
    fn hot_followed(fd: i32, buffer: *mut u8, length: usize) -> i64;
    fn hot_jumped() -> u64;
    static hot_shared: u8;
    static hot_numbered_call: u8;
    static __executable_start: u8;
    static etext: u8;
}

/// Enough for any kernel to take notice.
const ROUNDS: u64 = 20_000;
/// `mov $110, %eax; syscall`.
const CALL: [u8; 7] = [0xb8, 110, 0, 0, 0, 0x0f, 0x05];

fn numbered(rounds: u64) -> u64 {
    // SAFETY: keeps to the C calling convention and changes no memory but its stack.
    unsafe { hot_numbered(rounds) }
}

fn followed(fd: i32) -> i64 {
    let mut byte = 0;
    // SAFETY: one byte is read into one byte.
    unsafe { hot_followed(fd, &raw mut byte, 1) }
}

fn call_address() -> usize {
    (&raw const hot_numbered_call).addr()
}

#[case(as_root, as_user)]
fn a_hot_call_changes_nothing_but_its_result(_t: &mut Guest) {
    expect_eq!(numbered(ROUNDS), 0);
}

#[case(as_root, as_user)]
fn a_hot_call_with_code_behind_it_gives_results_and_errors(t: &mut Guest) {
    let zero = t.open("/dev/zero", O_RDONLY);
    for round in 0..2000 {
        expect_eq!((round, followed(zero)), (round, 1));
        expect_eq!((round, followed(-1)), (round, -i64::from(EBADF)));
    }
}

#[case(as_root, as_user)]
fn the_instruction_of_a_hot_call_can_be_jumped_to(_t: &mut Guest) {
    expect_eq!(numbered(1000), 0);
    // SAFETY: as for the function it jumps into.
    expect_eq!(unsafe { hot_jumped() }, 1);
    expect_eq!(numbered(1000), 0);
}

#[case(as_root, as_user)]
fn signals_find_a_hot_call_where_it_is(t: &mut Guest) {
    static SEEN: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel's context of this signal.
        let registers = unsafe { &(*context.cast::<ucontext_t>()).uc_mcontext.gregs };
        let rip = registers[REG_RIP as usize] as usize;
        let text = (&raw const __executable_start).addr()..(&raw const etext).addr();
        SEEN[0].fetch_add(1, SeqCst);
        if !text.contains(&rip) {
            SEEN[1].fetch_add(1, SeqCst);
            SEEN[2].store(rip as u64, SeqCst);
        }
    }
    t.handle(SIGALRM, handler, SA_RESTART);
    let every = timeval { tv_sec: 0, tv_usec: 200 };
    let timer = itimerval { it_interval: every, it_value: every };
    sys!(setitimer(ITIMER_REAL, &raw const timer, 0)).ok();
    let zero = t.open("/dev/zero", O_RDONLY);
    while SEEN[0].load(SeqCst) < 500 {
        expect_eq!(numbered(1000), 0);
        (0..1000).for_each(|_| expect_eq!(followed(zero), 1));
    }
    let off: itimerval = zeroed();
    sys!(setitimer(ITIMER_REAL, &raw const off, 0)).ok();
    expect_eq!((SEEN[1].load(SeqCst), SEEN[2].load(SeqCst)), (0, 0));
}

#[case(as_root, as_user)]
fn a_hot_call_is_restarted_behind_a_handler(t: &mut Guest) {
    let zero = t.open("/dev/zero", O_RDONLY);
    (0..200).for_each(|_| expect_eq!(followed(zero), 1));
    let pipe = t.pipe();
    let parent = sys!(getpid()).ok() as i32;
    t.catch(SIGUSR1, SA_RESTART);
    let child = t.fork(|| {
        t.until_asleep(parent);
        sys!(kill(parent, SIGUSR1)).ok();
        t.until_asleep(parent);
        pipe.signal();
    });
    expect_eq!(followed(pipe.r), 1);
    expect_eq!(t.caught(), [SIGUSR1]);
    child.done();
}

#[case(as_root, as_user)]
fn a_hot_call_reads_as_it_was_written(t: &mut Guest) {
    expect_eq!(numbered(ROUNDS), 0);
    let memory = t.open("/proc/self/mem", O_RDONLY);
    let mut bytes = [0_u8; 7];
    sys!(pread64(memory, bytes.as_mut_ptr(), bytes.len(), call_address())).is(7);
    expect_eq!(bytes, CALL);
    let pipe = t.pipe();
    sys!(write(pipe.w, call_address(), 7)).is(7);
    expect_eq!(t.recv(pipe.r, 7), CALL);
}

#[case(as_root, as_user)]
fn a_hot_call_can_be_changed_by_the_program(_t: &mut Guest) {
    expect_eq!(numbered(ROUNDS), 0);
    let page = call_address() & !(PAGE - 1);
    let writable = PROT_READ | PROT_WRITE | PROT_EXEC;
    sys!(mprotect(page, PAGE, writable)).or_skip(EACCES, "no writable text here").ok();
    let seen: Vec<u8> = (0..7).map(|at| peek(call_address() + at)).collect();
    expect_eq!(seen, CALL);
    // A number that no kernel has.
    poke(call_address() + 3, 0x10);
    expect_eq!(numbered(1), 1);
    poke(call_address() + 3, 0);
    expect_eq!(numbered(ROUNDS), 0);
}

#[case(as_root, as_user)]
fn hot_calls_and_a_thread_with_a_gs_of_its_own(t: &mut Guest) {
    const ARCH_SET_GS: i32 = 0x1001;
    expect_eq!(numbered(ROUNDS), 0);
    let thread = t.thread(|| {
        let word = Box::leak(Box::new(0x5157_u64));
        sys!(arch_prctl(ARCH_SET_GS, &raw const *word)).ok();
        for _ in 0..200 {
            expect_eq!(numbered(100), 0);
            let seen: u64;
            // SAFETY: GS points to the word above.
            unsafe { std::arch::asm!("mov {}, gs:[0]", out(reg) seen) };
            expect_eq!(seen, 0x5157);
        }
    });
    expect_eq!(numbered(ROUNDS), 0);
    thread.join();
    expect_eq!(numbered(ROUNDS), 0);
}

#[case(as_root, as_user)]
fn a_hot_call_can_set_the_base_of_gs(_t: &mut Guest) {
    const ARCH_SET_GS: i32 = 0x1001;
    const ARCH_GET_GS: i32 = 0x1004;
    #[inline(never)]
    fn arch_prctl(code: i32, argument: usize) {
        sys!(arch_prctl(code, argument)).ok();
    }
    let (word, mut base) = (0x5157_u64, 1_u64);
    for _ in 0..200 {
        arch_prctl(ARCH_GET_GS, (&raw mut base).addr());
        expect_eq!(base, 0);
    }
    arch_prctl(ARCH_SET_GS, (&raw const word).addr());
    for _ in 0..200 {
        arch_prctl(ARCH_GET_GS, (&raw mut base).addr());
        let seen: u64;
        // SAFETY: GS points to the word above.
        unsafe { std::arch::asm!("mov {}, gs:[0]", out(reg) seen) };
        expect_eq!((base as usize, seen), ((&raw const word).addr(), word));
    }
    expect_eq!(numbered(ROUNDS), 0);
}

#[case(as_root, as_user)]
fn hot_calls_go_on_in_children_and_threads(t: &mut Guest) {
    let zero = t.open("/dev/zero", O_RDONLY);
    let work = move || {
        expect_eq!(numbered(5000), 0);
        (0..500).for_each(|_| expect_eq!(followed(zero), 1));
    };
    work();
    let children: Vec<Child> = (0..3).map(|_| t.fork(work)).collect();
    let threads: Vec<Thread> = (0..3).map(|_| t.thread(work)).collect();
    work();
    threads.into_iter().for_each(Thread::join);
    children.into_iter().for_each(Child::done);
}

#[case(as_root, as_user)]
fn calls_get_hot_while_threads_are_in_the_middle_of_them(t: &mut Guest) {
    let zero = t.open("/dev/zero", O_RDONLY);
    let call = move |index: usize| {
        let place = (&raw const hot_shared).wrapping_add(64 * index);
        // SAFETY: there are 32 functions of this kind, 64 bytes apart.
        let read: extern "C" fn(i32, *mut u8, usize) -> i64 = unsafe { std::mem::transmute(place) };
        let mut byte = 7;
        expect_eq!(read(zero, &raw mut byte, 1), 1);
        expect_eq!(byte, 0);
    };
    let work = move || (0..32).for_each(|index| (0..400).for_each(|_| call(index)));
    let threads: Vec<Thread> = (0..4).map(|_| t.thread(work)).collect();
    work();
    threads.into_iter().for_each(Thread::join);
}
