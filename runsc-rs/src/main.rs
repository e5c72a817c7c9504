//! The `runsc-rs` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    runsc_rs::cli::main(std::env::args_os())
}
