//! Files, pipes and what `/proc` says.

use super::{Guest, cstr, zeroed};
use crate::sys::Ret;
use std::ffi::CString;
use std::fs;
use test_syscalls_macros::sys;

/// The two ends of a pipe.
#[derive(Clone, Copy)]
pub struct Pipe {
    /// The end to read from.
    pub r: i32,
    /// The end to write to.
    pub w: i32,
}

impl Pipe {
    /// Writes one byte, which wakes whoever is in `wait`.
    #[track_caller]
    pub fn signal(self) {
        sys!(write(self.w, b"!", 1)).is(1);
    }

    /// Waits for one byte.
    #[track_caller]
    pub fn wait(self) {
        let mut byte = [0_u8; 1];
        sys!(read(self.r, &mut byte, 1)).is(1);
    }
}

/// A file's text, or the error of reading it.
#[must_use]
pub struct Text(Result<String, Ret>);

impl Text {
    /// It must be readable; gives it.
    #[track_caller]
    pub fn ok(self) -> String {
        match self.0 {
            Ok(text) => text,
            Err(ret) => {
                ret.ok();
                String::new()
            }
        }
    }

    /// It must be `want`.
    #[track_caller]
    pub fn is(self, want: &str) {
        let text = self.ok();
        assert!(text == want, "the file's text: expected {want:?}, got {text:?}");
    }

    /// Opening or reading it must fail with `errno`.
    #[track_caller]
    pub fn fails(self, errno: i32) {
        match self.0 {
            Ok(text) => Ret::new("read of the file", text.len() as isize).fails(errno),
            Err(ret) => ret.fails(errno),
        }
    }
}

/// One element of an I/O vector.
#[must_use]
pub fn iov(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

impl Guest {
    /// Creates the file `path` with `data` and mode 0644.
    #[track_caller]
    pub fn file(&self, path: &str, data: impl AsRef<[u8]>) {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
        let fd = sys!(openat(libc::AT_FDCWD, &cstr(path), flags, 0o644)).fd();
        let data = data.as_ref();
        if !data.is_empty() {
            sys!(write(fd, data, data.len())).is(data.len());
        }
        sys!(close(fd)).ok();
    }

    /// Creates the directory `path` with mode 0755.
    #[track_caller]
    pub fn dir(&self, path: &str) {
        sys!(mkdir(&cstr(path), 0o755)).ok();
    }

    /// Opens `path`; files are created with mode 0644.
    #[track_caller]
    pub fn open(&self, path: &str, flags: i32) -> i32 {
        self.try_open(path, flags).fd()
    }

    /// Opens `path`, as `open` but for the result.
    pub fn try_open(&self, path: &str, flags: i32) -> Ret {
        sys!(openat(libc::AT_FDCWD, &cstr(path), flags, 0o644))
    }

    /// Writes `data` to the existing file `path` in one call.
    pub fn write(&self, path: &str, data: impl AsRef<[u8]>) -> Ret {
        let opened = sys!(openat(libc::AT_FDCWD, &cstr(path), libc::O_WRONLY, 0));
        if opened.errno() != 0 {
            return opened;
        }
        let data = data.as_ref();
        let written = sys!(write(opened.raw(), data, data.len()));
        let _ = sys!(close(opened.raw()));
        written
    }

    /// Reads all of the file `path`.
    pub fn read(&self, path: &str) -> Text {
        let opened = sys!(openat(libc::AT_FDCWD, &cstr(path), libc::O_RDONLY, 0));
        if opened.errno() != 0 {
            return Text(Err(opened));
        }
        let mut bytes = Vec::new();
        let mut chunk = [0_u8; 4096];
        let end = loop {
            let got = sys!(read(opened.raw(), &mut chunk, chunk.len()));
            match usize::try_from(got.raw()) {
                Ok(0) => break Text(Ok(String::from_utf8_lossy(&bytes).into_owned())),
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
                Err(_) => break Text(Err(got)),
            }
        };
        let _ = sys!(close(opened.raw()));
        end
    }

    /// Reads once from `fd`, at most `length` bytes.
    #[track_caller]
    pub fn recv(&self, fd: i32, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let got = sys!(read(fd, &mut bytes, length)).size();
        bytes.truncate(got);
        bytes
    }

    /// Reads `length` bytes from `fd`, in as many parts as they come.
    #[track_caller]
    pub fn recv_all(&self, fd: i32, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let part = self.recv(fd, length - bytes.len());
            assert!(!part.is_empty(), "read of {length} bytes: expected all of them, got {bytes:?}");
            bytes.extend(part);
        }
        bytes
    }

    /// Writes all of `data` to `fd` in one call.
    #[track_caller]
    pub fn send(&self, fd: i32, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        sys!(write(fd, data, data.len())).is(data.len());
    }

    /// `stat` of `path`, symbolic links followed.
    #[track_caller]
    pub fn stat(&self, path: &str) -> libc::stat {
        let mut stat = zeroed();
        sys!(newfstatat(libc::AT_FDCWD, &cstr(path), &raw mut stat, 0)).ok();
        stat
    }

    /// `stat` of `path` itself.
    #[track_caller]
    pub fn lstat(&self, path: &str) -> libc::stat {
        let mut stat = zeroed();
        sys!(newfstatat(libc::AT_FDCWD, &cstr(path), &raw mut stat, libc::AT_SYMLINK_NOFOLLOW)).ok();
        stat
    }

    /// `stat` of an open file.
    #[track_caller]
    pub fn fstat(&self, fd: i32) -> libc::stat {
        let mut stat = zeroed();
        sys!(fstat(fd, &raw mut stat)).ok();
        stat
    }

    /// The permission bits of `path`, with set-id and sticky bits.
    #[track_caller]
    pub fn mode(&self, path: &str) -> u32 {
        self.stat(path).st_mode & 0o7777
    }

    /// A pipe without flags.
    #[track_caller]
    pub fn pipe(&self) -> Pipe {
        self.pipe2(0)
    }

    /// A pipe with `flags`.
    #[track_caller]
    pub fn pipe2(&self, flags: i32) -> Pipe {
        let mut ends = [0_i32; 2];
        sys!(pipe2(&mut ends, flags)).ok();
        Pipe { r: ends[0], w: ends[1] }
    }

    /// The names in directory `path` as the kernel lists them, `.` and `..` included, sorted.
    #[track_caller]
    pub fn names(&self, path: &str) -> Vec<String> {
        let fd = self.open(path, libc::O_RDONLY | libc::O_DIRECTORY);
        let mut names: Vec<_> = self.entries(fd).into_iter().map(|(name, _)| name).collect();
        sys!(close(fd)).ok();
        names.sort();
        names
    }

    /// The rest of the open directory `fd`: names and their `d_type`.
    #[track_caller]
    pub fn entries(&self, fd: i32) -> Vec<(String, u8)> {
        let mut entries = Vec::new();
        let mut buffer = [0_u64; 512];
        loop {
            let length = sys!(getdents64(fd, &mut buffer, size_of_val(&buffer))).size();
            if length == 0 {
                return entries;
            }
            let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let mut at = 0;
            while at < length {
                let size = usize::from(u16::from_ne_bytes([bytes[at + 16], bytes[at + 17]]));
                let name = bytes[at + 19..at + size].split(|byte| *byte == 0).next().unwrap_or_default();
                entries.push((String::from_utf8_lossy(name).into_owned(), bytes[at + 18]));
                at += size;
            }
        }
    }

    /// The value of `key` in a file of `key: value` lines such as `/proc/self/status`.
    #[track_caller]
    pub fn field(&self, path: &str, key: &str) -> String {
        let text = self.read(path).ok();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{path}: expected a line {key:?}, got {text:?}")).trim().to_owned()
    }

    /// A file of another user. In a sandbox that an ordinary user started, the host's root may look like that user.
    #[must_use]
    pub fn foreign_file(&self) -> CString {
        let candidates = ["/etc/passwd", "/proc/version"];
        let foreign =
            candidates.iter().find(|path| self.exists(path) && self.stat(path).st_uid != self.uid());
        foreign.map_or_else(|| self.skip("every file belongs to this user"), cstr)
    }

    /// Whether `path` exists, symbolic links not followed.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(path).is_ok()
    }
}
