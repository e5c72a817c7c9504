//! The checks, one file each.

mod direction;
mod length;
mod licences;
mod machine;
mod panics;
mod unfinished;
mod unsafe_code;

pub use direction::direction;
pub use length::length;
pub use licences::licences;
pub use machine::machine;
pub use panics::panics;
pub use unfinished::unfinished;
pub use unsafe_code::{forbidden, in_place, justified};
