//! A C program of many files.

use super::{Stage, text};
use anyhow::Result;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What each file is made of: headers of the system, a few functions, calls of the next file's.
fn source(index: u32, count: u32) -> String {
    let next = (index + 1) % count;
    let mut text =
        String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include \"all.h\"\n");
    for part in 0..8 {
        let _ = write!(
            text,
            "static int step{part}(int x) {{\n    char text[64];\n    snprintf(text, sizeof text, \"%d\", x);\n    \
             for (size_t i = 0; i < strlen(text); i++) x = x * 31 + text[i];\n    return x;\n}}\n"
        );
    }
    let _ = write!(text, "int f{index}(int x) {{\n    int sum = 0;\n");
    for part in 0..8 {
        let _ = writeln!(text, "    sum += step{part}(x + {part});");
    }
    let _ = write!(text, "    return x > 0 ? f{next}(x - 1) + sum : sum;\n}}\n");
    text
}

/// So many files, a header that declares what is in them, and a makefile.
pub(super) fn make_sources(directory: &Path, files: &str) -> Result<()> {
    let count = files.parse()?;
    let mut header = String::new();
    let mut objects = String::new();
    for index in 0..count {
        fs::write(directory.join(format!("f{index}.c")), source(index, count))?;
        let _ = writeln!(header, "int f{index}(int);");
        let _ = write!(objects, " f{index}.o");
    }
    fs::write(directory.join("all.h"), header)?;
    fs::write(directory.join("main.c"), "#include \"all.h\"\nint main(void) { return f0(3) == 0; }\n")?;
    // Objects go into the directory make is started in; sources stay where they are.
    let makefile = format!(
        "VPATH = $(SRC)\nCFLAGS = -O1 -I$(SRC)\nprog: main.o{objects}\n\t$(CC) -o $@ $^\n\
         %.o: %.c all.h\n\t$(CC) $(CFLAGS) -c -o $@ $<\n"
    );
    Ok(fs::write(directory.join("Makefile"), makefile)?)
}

/// With two jobs, from nothing to the program.
pub(super) fn make(stage: &Stage) -> Result<f64> {
    let mut command = Command::new("make");
    command.args(["-s", "-j2", "CC=gcc", "prog"]).arg(format!("SRC={}", text(&stage.prepared)?));
    command.arg("-f").arg(stage.prepared.join("Makefile")).current_dir(stage.own.path());
    stage.timed_command(&mut command)
}
