//! Classes of characters. Linux: lib/ctype.c, which knows ISO 8859-1.

pub(crate) fn iscntrl(c: u8) -> bool {
    c < 0x20 || c == 0x7f
}

fn isupper(c: u8) -> bool {
    c.is_ascii_uppercase() || (0xc0..=0xde).contains(&c) && c != 0xd7
}

fn islower(c: u8) -> bool {
    c.is_ascii_lowercase() || c >= 0xdf && c != 0xf7
}

pub(crate) fn isalnum(c: u8) -> bool {
    isupper(c) || islower(c) || c.is_ascii_digit()
}

pub(crate) fn toupper(c: u8) -> u8 {
    if islower(c) { c.wrapping_sub(0x20) } else { c }
}

pub(crate) fn tolower(c: u8) -> u8 {
    if isupper(c) { c + 0x20 } else { c }
}

/// Whether the byte goes on with a character of several. Linux: `is_utf8_continuation`.
pub(crate) fn is_utf8_continuation(c: u8) -> bool {
    c & 0xc0 == 0x80
}
