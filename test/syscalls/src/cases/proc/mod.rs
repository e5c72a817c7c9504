//! `/proc` and `/dev`.

mod dev;
mod own;
