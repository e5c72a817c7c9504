//! Credentials.

mod capability;
mod exec;
mod ids;
mod inherit;
mod prctl;
