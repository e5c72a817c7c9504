//! Credentials.

mod capability;
mod ids;
mod inherit;
