//! Nothing is left behind: address spaces and contexts that come and go, in every order.

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;
#[path = "../../suite/lifetime.rs"]
mod suite;
