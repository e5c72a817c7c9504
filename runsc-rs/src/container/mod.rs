//! Containers as the runtime sees them: the specification and where it comes from.

pub mod caller;
pub mod devices;
pub mod mount_options;
pub mod oci;
mod spec;
pub mod state;

pub use spec::*;
