//! Files, directories and descriptors.

mod open;
