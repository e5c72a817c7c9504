//! Asynchronous I/O as io_submit(2) knows it. Linux: fs/aio.c. Differs: transfers are done before io_submit(2) comes back,
//! as Linux does them for most files; polls alone are outstanding. A context is found by the mapping of its ring, with
//! which it comes and goes.

mod context;
mod poll;

pub use context::{AioCounters, Kioctx};
