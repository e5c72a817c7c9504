//! Typed arguments of system calls: how a register becomes a value, and how strace shows it.

/// How strace shows an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// Signed number.
    Signed,
    /// Unsigned number.
    Unsigned,
    /// Address or bits.
    Hex,
    /// Octal: modes.
    Octal,
    /// Descriptor.
    Fd,
    /// Directory descriptor of an *at call.
    DirFd,
    /// Address of a string: a path.
    Path,
    /// Address of a buffer that is read, its length in the next argument.
    BufIn,
    /// Address of a buffer that is filled, the result is its length.
    BufOut,
    /// Address of an array of strings.
    StringArray,
    /// Open flags.
    OpenFlags,
    /// Clone flags.
    CloneFlags,
    /// Signal number.
    Signal,
    /// Protection bits.
    Prot,
    /// Flags of mmap.
    MmapFlags,
    /// Address of a `struct timespec`.
    Timespec,
    /// Address of a signal set.
    SigSet,
    /// Futex operation.
    FutexOp,
    /// Seek base.
    Whence,
}

/// A value a register can be decoded to.
pub trait FromArg {
    /// How it is shown.
    const KIND: ArgKind;
    /// Decodes the register. Upper halves that the call does not look at are dropped, as Linux does.
    fn from_arg(raw: u64) -> Self;
}

macro_rules! number {
    ($($type:ty, $kind:ident;)*) => {
        $(impl FromArg for $type {
            const KIND: ArgKind = ArgKind::$kind;
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
            fn from_arg(raw: u64) -> Self {
                raw as $type
            }
        })*
    };
}

number! {
    i32, Signed;
    u32, Unsigned;
    i64, Signed;
    u64, Unsigned;
    usize, Unsigned;
}

macro_rules! wrapper {
    ($($(#[$doc:meta])* $name:ident($inner:ty), $kind:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name(pub $inner);

            impl FromArg for $name {
                const KIND: ArgKind = ArgKind::$kind;
                fn from_arg(raw: u64) -> Self {
                    $name(<$inner>::from_arg(raw))
                }
            }
        )*
    };
}

wrapper! {
    /// A descriptor.
    Fd(i32), Fd;
    /// A directory descriptor, or AT_FDCWD.
    DirFd(i32), DirFd;
    /// An address, or bits shown in hexadecimal.
    Addr(u64), Hex;
    /// The address of a path.
    PathAddr(u64), Path;
    /// The address of a buffer the call reads.
    BufIn(u64), BufIn;
    /// The address of a buffer the call fills.
    BufOut(u64), BufOut;
    /// The address of an array of strings.
    Strings(u64), StringArray;
    /// A file mode.
    Mode(u32), Octal;
    /// Flags shown in hexadecimal.
    Bits(u32), Hex;
    /// Flags of open(2).
    OFlags(u32), OpenFlags;
    /// Flags of clone(2).
    CFlags(u64), CloneFlags;
    /// A signal number.
    Sig(i32), Signal;
    /// PROT_ bits.
    ProtBits(u64), Prot;
    /// MAP_ bits.
    MapBits(u64), MmapFlags;
    /// The address of a `struct timespec`.
    TimespecAddr(u64), Timespec;
    /// The address of a signal set.
    SigSetAddr(u64), SigSet;
    /// A futex operation.
    FutexOp(u32), FutexOp;
    /// A base for lseek(2).
    Whence(u32), Whence;
}
