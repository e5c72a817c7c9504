//! Credentials.

mod ids;
