//! Credentials.

mod capability;
mod exec;
mod ids;
mod inherit;
mod keys;
mod prctl;
