//! What guest code can do to be stopped, and what the sentry is told then.

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;
#[path = "../../suite/traps.rs"]
mod suite;
