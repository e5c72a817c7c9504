//! Links `bench` statically with a plain `cargo build`, since it is also the program that runs inside.
//!
//! As `test/syscalls/build.rs`: rustc names the C libraries after a `-Bdynamic`, so `-static` alone would not choose the
//! archives; linker scripts of the same names, found first, do.

use std::path::Path;
use std::{env, fs, io};

/// The libraries rustc links dynamically on this target, and the archives that replace them.
const SCRIPTS: [(&str, &str); 3] = [
    ("libgcc_s.so", "INPUT(-l:libgcc_eh.a -l:libgcc.a)\n"),
    ("libc.so", "INPUT(-l:libc.a)\n"),
    ("libm.so", "INPUT(-l:libm.a)\n"),
];

fn main() -> io::Result<()> {
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    for (name, script) in SCRIPTS {
        fs::write(Path::new(&out).join(name), script)?;
    }
    // A small program forks and executes as the programs do that the numbers stand for.
    let args = ["-static", "-no-pie", "-s", &format!("-L{out}")];
    let lines = args.map(|arg| format!("cargo:rustc-link-arg-bin=bench={arg}\n")).concat();
    io::Write::write_all(&mut io::stdout(), lines.as_bytes())?;
    io::Write::write_all(&mut io::stdout(), b"cargo:rerun-if-changed=build.rs\n")
}
