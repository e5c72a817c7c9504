//! `/proc` and `/dev`.

mod dev;
mod maps;
mod own;
mod system;
mod task;
