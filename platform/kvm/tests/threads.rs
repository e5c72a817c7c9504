//! Several contexts in one address space, and address spaces that come and go.

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;
#[path = "../../suite/threads.rs"]
mod suite;
