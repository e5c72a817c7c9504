//! What can go wrong below the sentry.

use sentry_uapi::Errno;

/// An error of a platform back-end.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The host has no memory, no process or no mapping left.
    #[error("the host is out of memory, processes or mappings: {0}")]
    OutOfMemory(Errno),
    /// The host process or virtual CPU that ran the guest is gone.
    #[error("the host process that ran the guest is gone: {0}")]
    Gone(String),
    /// An extended state image that the processor would refuse.
    #[error("malformed extended processor state")]
    InvalidState,
    /// The back-end cannot work on this host. The text names the reason and the way out.
    #[error("{0}")]
    Unavailable(String),
    /// A host call failed in a way that has no meaning of its own.
    #[error("{what}: {errno}")]
    Host {
        /// The host call.
        what: &'static str,
        /// Its error.
        errno: Errno,
    },
}
