//! Requests to leave guest code.

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;
#[path = "../../suite/interrupt.rs"]
mod suite;
