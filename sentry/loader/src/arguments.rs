//! Linux: fs/exec.c, `struct linux_binprm`: file name, arguments and environment on their way to the new stack.

use crate::ScriptLine;
use sentry_uapi::Errno;
use sentry_uapi::binfmts::{ARG_MAX, MAX_ARG_STRLEN};
use sentry_uapi::errno::E2BIG;

/// Three quarters of the default stack size bound arguments however large the stack is. Linux: `_STK_LIM`.
const STACK_LIMIT_SHARE: u64 = (8 << 20) / 4 * 3;

/// Bytes that strings and the pointers to them may take together, for an RLIMIT_STACK. Linux: `bprm_stack_limits`.
///
/// A caller that counts a vector of pointers may stop with `E2BIG` at an eighth of it.
pub fn stack_limit(rlimit_stack: u64) -> u64 {
    STACK_LIMIT_SHARE.min(rlimit_stack / 4).max(ARG_MAX)
}

/// Strings with their terminating zeros, one after the other, as they will lie on the stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringTable {
    bytes: Vec<u8>,
    count: usize,
}

impl StringTable {
    /// The strings, each with its zero.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of strings.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The strings, without their zeros.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|b| *b == 0).take(self.count)
    }

    fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.count += 1;
    }
}

/// The strings of a program to be executed, within their limit.
#[derive(Clone, Debug)]
pub struct Arguments {
    filename: Vec<u8>,
    argv: StringTable,
    envp: StringTable,
    left: u64,
}

impl Arguments {
    /// For `argc` and `envc` strings to come. `filename` is what AT_EXECFN will show.
    ///
    /// # Errors
    /// `E2BIG` if the pointers alone, or the file name, are too much.
    pub fn new(filename: &[u8], argc: usize, envc: usize, rlimit_stack: u64) -> Result<Arguments, Errno> {
        // An empty argv gets one empty string.
        let pointers = u64::try_from(argc.max(1).saturating_add(envc)).unwrap_or(u64::MAX).saturating_mul(8);
        let left = stack_limit(rlimit_stack).checked_sub(pointers).filter(|l| *l > 0).ok_or(E2BIG)?;
        let mut args = Arguments {
            filename: filename.to_vec(),
            argv: StringTable::default(),
            envp: StringTable::default(),
            left,
        };
        args.charge(filename)?;
        Ok(args)
    }

    /// Linux: the checks of `copy_strings`.
    fn charge(&mut self, string: &[u8]) -> Result<(), Errno> {
        let size = string.len() + 1;
        if size > MAX_ARG_STRLEN {
            return Err(E2BIG);
        }
        self.left = u64::try_from(size).ok().and_then(|s| self.left.checked_sub(s)).ok_or(E2BIG)?;
        Ok(())
    }

    /// Adds a string of the environment; Linux copies it before the arguments. The string holds no zero.
    ///
    /// # Errors
    /// `E2BIG` beyond `MAX_ARG_STRLEN`, or when the limit is used up.
    pub fn push_envp(&mut self, string: &[u8]) -> Result<(), Errno> {
        self.charge(string)?;
        self.envp.push(string);
        Ok(())
    }

    /// Adds an argument. Errors as [`Arguments::push_envp`].
    pub fn push_argv(&mut self, string: &[u8]) -> Result<(), Errno> {
        self.charge(string)?;
        self.argv.push(string);
        Ok(())
    }

    /// To be called when all strings are there: without arguments, adds an empty one.
    pub fn finish(&mut self) -> Result<(), Errno> {
        if self.argv.count == 0 { self.push_argv(b"") } else { Ok(()) }
    }

    /// Puts an interpreter, its argument, and the path of the script in the place of argv\[0\]. `script` is the path
    /// by which the interpreter can open the file. Linux: the second half of `load_script`.
    pub fn splice_script(&mut self, line: &ScriptLine, script: &[u8]) -> Result<(), Errno> {
        let first = self.argv.bytes.iter().position(|b| *b == 0).map_or(0, |zero| zero + 1);
        self.left = self.left.saturating_add(u64::try_from(first).unwrap_or(0));
        let mut argv = StringTable::default();
        for string in [Some(&line.interpreter[..]), line.arg.as_deref(), Some(script)].into_iter().flatten() {
            self.charge(string)?;
            argv.push(string);
        }
        argv.bytes.extend(self.argv.bytes.iter().skip(first));
        argv.count += self.argv.count.saturating_sub(1);
        self.argv = argv;
        Ok(())
    }

    /// What AT_EXECFN will show.
    pub fn filename(&self) -> &[u8] {
        &self.filename
    }

    /// The arguments.
    pub fn argv(&self) -> &StringTable {
        &self.argv
    }

    /// The environment.
    pub fn envp(&self) -> &StringTable {
        &self.envp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_the_stack() {
        assert_eq!(stack_limit(u64::MAX), 6 << 20);
        assert_eq!(stack_limit(8 << 20), 2 << 20);
        assert_eq!(stack_limit(0), 128 << 10);
        assert_eq!(Arguments::new(b"x", 1 << 14, 0, 0).err(), Some(E2BIG));
        assert_eq!(Arguments::new(b"x", usize::MAX, 1, 0).err(), Some(E2BIG));
    }

    #[test]
    fn a_string_and_all_strings_have_a_limit() -> Result<(), Errno> {
        let mut args = Arguments::new(b"/x", 3, 0, 8 << 20)?;
        args.push_argv(&vec![b'a'; MAX_ARG_STRLEN - 1])?;
        assert_eq!(args.push_argv(&vec![b'a'; MAX_ARG_STRLEN]), Err(E2BIG));
        // 128 KiB, less two pointers and the file name.
        let mut args = Arguments::new(b"/x", 1, 1, 0)?;
        args.push_envp(&vec![b'e'; (64 << 10) - 1])?;
        assert_eq!(args.push_argv(&vec![b'a'; (64 << 10) - 16 - 3]), Err(E2BIG));
        args.push_argv(&vec![b'a'; (64 << 10) - 16 - 3 - 1])?;
        assert_eq!(args.left, 0);
        Ok(())
    }

    #[test]
    fn a_script_takes_the_place_of_the_first_argument() -> Result<(), Errno> {
        let mut args = Arguments::new(b"./s", 2, 0, 8 << 20)?;
        args.push_argv(b"zero")?;
        args.push_argv(b"one")?;
        args.finish()?;
        let line = ScriptLine { interpreter: b"/bin/sh".to_vec(), arg: Some(b"-e".to_vec()) };
        args.splice_script(&line, b"./s")?;
        assert_eq!(args.argv().iter().collect::<Vec<_>>(), [&b"/bin/sh"[..], b"-e", b"./s", b"one"]);
        let line = ScriptLine { interpreter: b"/i".to_vec(), arg: None };
        args.splice_script(&line, b"/bin/sh")?;
        assert_eq!(args.argv().iter().collect::<Vec<_>>(), [&b"/i"[..], b"/bin/sh", b"-e", b"./s", b"one"]);
        assert_eq!(args.argv().bytes(), b"/i\0/bin/sh\0-e\0./s\0one\0");
        Ok(())
    }

    #[test]
    fn no_arguments_are_one_empty_argument() -> Result<(), Errno> {
        let mut args = Arguments::new(b"x", 0, 0, 0)?;
        args.finish()?;
        assert_eq!(args.argv().iter().collect::<Vec<_>>(), [b""]);
        Ok(())
    }
}
