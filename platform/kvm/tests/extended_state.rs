//! The x87, SSE and AVX registers.

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;
#[path = "../../suite/extended_state.rs"]
mod suite;
