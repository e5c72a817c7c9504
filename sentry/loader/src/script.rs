//! Linux: fs/binfmt_script.c.

use sentry_uapi::Errno;
use sentry_uapi::binfmts::BINPRM_BUF_SIZE;
use sentry_uapi::errno::ENOEXEC;

/// How often a file may name another to run in its place; one more fails with `ELOOP`. Linux: `exec_binprm`.
pub const MAX_REWRITES: usize = 5;

/// What a `#!` line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptLine {
    /// Path of the interpreter. May be empty, which then does not exist.
    pub interpreter: Vec<u8>,
    /// All that follows it on the line.
    pub arg: Option<Vec<u8>>,
}

const fn spacetab(c: u8) -> bool {
    c == b' ' || c == b'\t'
}

const fn terminator(c: u8) -> bool {
    spacetab(c) || c == 0
}

impl ScriptLine {
    /// Parses the start of a file, of which [`BINPRM_BUF_SIZE`] bytes count. `None` if it is no script.
    ///
    /// # Errors
    /// `ENOEXEC` if no interpreter is named, or its path may have been cut off. A cut argument is let through: the
    /// interpreter can read the line again.
    pub fn parse(start: &[u8]) -> Result<Option<ScriptLine>, Errno> {
        if !start.starts_with(b"#!") {
            return Ok(None);
        }
        let mut buf = [0; BINPRM_BUF_SIZE];
        buf.iter_mut().zip(start).for_each(|(to, from)| *to = *from);
        let (_, line) = buf.split_at(2);
        let line = match line.iter().position(|c| *c == b'\n') {
            Some(newline) => line.get(..newline).unwrap_or_default(),
            None => {
                let name = line.iter().position(|c| !spacetab(*c)).ok_or(ENOEXEC)?;
                if !line.iter().skip(name).any(|c| terminator(*c)) {
                    return Err(ENOEXEC);
                }
                // The last byte makes room for the terminating zero.
                line.split_last().map_or(line, |(_, rest)| rest)
            }
        };
        let line = trim(line);
        if line.is_empty() {
            return Err(ENOEXEC);
        }
        let name_end = line.iter().position(|c| terminator(*c)).unwrap_or(line.len());
        let (name, rest) = line.split_at(name_end);
        let arg = match rest.first() {
            Some(0) | None => None,
            Some(_) => Some(c_string(trim(rest))),
        };
        Ok(Some(ScriptLine { interpreter: name.to_vec(), arg }))
    }
}

/// Without spaces and tabs at both ends.
fn trim(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|c| !spacetab(*c)).unwrap_or(line.len());
    let end = line.iter().rposition(|c| !spacetab(*c)).map_or(start, |last| last + 1);
    line.get(start..end).unwrap_or_default()
}

fn c_string(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|c| *c != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(interpreter: &str, arg: Option<&str>) -> Result<Option<ScriptLine>, Errno> {
        Ok(Some(ScriptLine { interpreter: interpreter.into(), arg: arg.map(Into::into) }))
    }

    #[test]
    fn the_name_and_one_argument_are_cut_out() {
        assert_eq!(ScriptLine::parse(b"#!/bin/sh\n"), line("/bin/sh", None));
        assert_eq!(ScriptLine::parse(b"#! \t/bin/sh\t \nexit"), line("/bin/sh", None));
        assert_eq!(ScriptLine::parse(b"#!/bin/sh"), line("/bin/sh", None));
        assert_eq!(ScriptLine::parse(b"#!/bin/sh "), line("/bin/sh", Some("")));
        assert_eq!(ScriptLine::parse(b"#!/bin/sh -e"), line("/bin/sh", Some("-e")));
        assert_eq!(ScriptLine::parse(b"#!/usr/bin/env  a b\tc \n"), line("/usr/bin/env", Some("a b\tc")));
        assert_eq!(ScriptLine::parse(b"#!/bin/sh\0x y\n"), line("/bin/sh", None));
        assert_eq!(ScriptLine::parse(b"#!/bin/sh a\0b\n"), line("/bin/sh", Some("a")));
        assert_eq!(ScriptLine::parse(b"#!\0\n"), line("", None));
        assert_eq!(ScriptLine::parse(b"#!"), line("", None));
    }

    #[test]
    fn files_that_are_no_scripts_and_lines_without_a_name() {
        assert_eq!(ScriptLine::parse(b""), Ok(None));
        assert_eq!(ScriptLine::parse(b"#"), Ok(None));
        assert_eq!(ScriptLine::parse(b"\x7fELF"), Ok(None));
        assert_eq!(ScriptLine::parse(b"#!\n/bin/sh"), Err(ENOEXEC));
        assert_eq!(ScriptLine::parse(b"#! \t \n"), Err(ENOEXEC));
        assert_eq!(ScriptLine::parse(&[b"#!".as_slice(), &[b' '; 300]].concat()), Err(ENOEXEC));
    }

    #[test]
    fn a_cut_name_fails_and_a_cut_argument_does_not() {
        let long = |n: usize| [b"#!".as_slice(), &vec![b'x'; n]].concat();
        assert_eq!(ScriptLine::parse(&long(254)), Err(ENOEXEC));
        assert_eq!(ScriptLine::parse(&long(300)), Err(ENOEXEC));
        assert_eq!(ScriptLine::parse(&long(253)), line(&"x".repeat(253), None));
        let newline_beyond = [long(254), b"\n".to_vec()].concat();
        assert_eq!(ScriptLine::parse(&newline_beyond), Err(ENOEXEC));
        let with_arg = [b"#!/i ".to_vec(), vec![b'y'; 300]].concat();
        assert_eq!(ScriptLine::parse(&with_arg), line("/i", Some(&"y".repeat(250))));
    }
}
