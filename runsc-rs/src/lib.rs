//! The runtime around the sentry: command line, container specifications, and the host processes and their confinement.
//!
//! `cli` parses and reports. `container` turns a caller or a bundle into a [`container::ContainerSpec`]. `sandbox` starts
//! the sentry's process, speaks with it and waits for it. `boot` is what runs in that process.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod boot;
pub mod cli;
pub mod config;
pub mod container;
pub mod log;
pub mod sandbox;
