//! The suite as one static program: see `test_syscalls::suite`.

use std::process::ExitCode;

fn main() -> ExitCode {
    test_syscalls::suite::main()
}
