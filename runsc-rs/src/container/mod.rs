//! Containers as the runtime sees them: the specification and where it comes from.

pub mod caller;
pub mod devices;
pub mod mount_options;
mod spec;

pub use spec::*;
