//! Linux: include/uapi/linux/aio_abi.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Read.
pub const IOCB_CMD_PREAD: u16 = 0;
/// Write.
pub const IOCB_CMD_PWRITE: u16 = 1;
/// fsync(2).
pub const IOCB_CMD_FSYNC: u16 = 2;
/// fdatasync(2).
pub const IOCB_CMD_FDSYNC: u16 = 3;
/// Wait for events of a file.
pub const IOCB_CMD_POLL: u16 = 5;
/// Read into several buffers.
pub const IOCB_CMD_PREADV: u16 = 7;
/// Write from several buffers.
pub const IOCB_CMD_PWRITEV: u16 = 8;

/// Add to an eventfd on completion.
pub const IOCB_FLAG_RESFD: u32 = 1;
/// `aio_reqprio` is a priority.
pub const IOCB_FLAG_IOPRIO: u32 = 2;

/// In the ring's header.
pub const AIO_RING_MAGIC: u32 = 0xa10a_10a1;

/// `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Iocb {
    pub aio_data: u64,
    pub aio_key: u32,
    pub aio_rw_flags: u32,
    pub aio_lio_opcode: u16,
    pub aio_reqprio: i16,
    pub aio_fildes: i32,
    pub aio_buf: u64,
    pub aio_nbytes: u64,
    pub aio_offset: i64,
    pub aio_reserved2: u64,
    pub aio_flags: u32,
    pub aio_resfd: i32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct IoEvent {
    pub data: u64,
    pub obj: u64,
    pub res: i64,
    pub res2: i64,
}

/// `struct aio_ring`: what stands before the events in the memory that a program shares with the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct AioRing {
    pub id: u32,
    pub nr: u32,
    pub head: u32,
    pub tail: u32,
    pub magic: u32,
    pub compat_features: u32,
    pub incompat_features: u32,
    pub header_length: u32,
}

const _: () = assert!(size_of::<Iocb>() == 64 && size_of::<IoEvent>() == 32 && size_of::<AioRing>() == 32);
