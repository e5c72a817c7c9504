//! Putting text together. Linux: fs/seq_file.c.

use std::fmt::Arguments;
use std::io::Write;

/// Appends formatted text. Linux: `seq_printf`.
pub(crate) fn put(out: &mut Vec<u8>, text: Arguments<'_>) {
    // Writing to a vector does not fail.
    let _ = out.write_fmt(text);
}

/// Appends spaces until the line that began at `start` is `width` bytes long, and one more. Linux: `seq_pad`.
pub(crate) fn pad(out: &mut Vec<u8>, start: usize, width: usize) {
    let end = start.saturating_add(width).max(out.len());
    out.resize(end, b' ');
    out.push(b' ');
}

/// Appends bytes, those of `special` as octal escapes. Linux: `mangle_path`, `seq_escape`.
pub(crate) fn escape(out: &mut Vec<u8>, bytes: &[u8], special: &[u8]) {
    for byte in bytes {
        if special.contains(byte) {
            out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
        } else {
            out.push(*byte);
        }
    }
}

/// Appends numbers with tabs between them and a newline behind the last, as a file of `/proc/sys` shows them.
pub(crate) fn put_tabbed<T: std::fmt::Display>(out: &mut Vec<u8>, values: &[T]) {
    for (i, value) in values.iter().enumerate() {
        let tab = if i == 0 { "" } else { "\t" };
        put(out, format_args!("{tab}{value}"));
    }
    out.push(b'\n');
}

/// A mask of processors as hexadecimal words of 32, the highest first. Linux: `%*pb`.
pub(crate) fn bitmap(words: &[u64], bits: usize) -> String {
    let word = |at: usize| words.get(at / 2).copied().unwrap_or(0) >> (at % 2 * 32) & 0xffff_ffff;
    let count = bits.div_ceil(32).max(1);
    let top_digits = (bits - (count - 1) * 32).div_ceil(4).max(1);
    let mut text = format!("{:0top_digits$x}", word(count - 1));
    for at in (0..count - 1).rev() {
        text.push_str(&format!(",{:08x}", word(at)));
    }
    text
}

/// A mask of processors as ranges: `0-3,6`. Linux: `%*pbl`.
pub(crate) fn bitmap_list(words: &[u64], bits: usize) -> String {
    let is_set = |bit: usize| bit < bits && words.get(bit / 64).is_some_and(|w| w >> (bit % 64) & 1 == 1);
    let mut parts = Vec::new();
    let mut bit = 0;
    while bit < bits {
        if !is_set(bit) {
            bit += 1;
            continue;
        }
        let first = bit;
        while is_set(bit) {
            bit += 1;
        }
        let last = bit - 1;
        parts.push(if first == last { format!("{first}") } else { format!("{first}-{last}") });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_processors() {
        assert_eq!(bitmap(&[3], 2), "3");
        assert_eq!(bitmap(&[0xff], 8), "ff");
        assert_eq!(bitmap(&[u64::MAX, 1], 65), "1,ffffffff,ffffffff");
        assert_eq!(bitmap_list(&[0b1011_1011], 8), "0-1,3-5,7");
        assert_eq!(bitmap_list(&[3], 2), "0-1");
        assert_eq!(bitmap_list(&[0], 2), "");
    }

    #[test]
    fn special_bytes_are_octal() {
        let mut out = Vec::new();
        escape(&mut out, b"a\nb\\", b"\n\\");
        assert_eq!(out, b"a\\012b\\134");
    }
}
