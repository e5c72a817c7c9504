//! Tells the tests this back-end shares with others that not every machine can run them.

fn main() {
    println!("cargo::rustc-cfg=needs_kvm");
    println!("cargo::rerun-if-changed=build.rs");
}
