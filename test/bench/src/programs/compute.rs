//! Programs that compute more than they call.

use super::{Stage, sh, text};
use anyhow::Result;
use std::fs;
use std::path::Path;

/// So many MiB that compress about as text does: words, of which some are frequent.
pub(super) fn make_text(directory: &Path, mebibytes: &str) -> Result<()> {
    let length = mebibytes.parse::<usize>()? << 20;
    let mut text = String::with_capacity(length + 16);
    let mut state = 12345_u32;
    while text.len() < length {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
        let rank = (state >> 16) & 0x7fff;
        // Squaring makes small numbers, the frequent words, more likely.
        let word = rank * rank / 0x7fff;
        text.push_str(&format!("w{word:x} "));
    }
    Ok(fs::write(directory.join("text"), text)?)
}

/// With one thread, so that a busy second CPU does not matter.
pub(super) fn xz(stage: &Stage) -> Result<f64> {
    let mut command = sh("xz -T1 -6 -c \"$1\" >/dev/null", &[text(&stage.prepared.join("text"))?]);
    stage.timed_command(&mut command)
}

/// The same file 32 times over: with processors that hash quickly, a row of large reads.
pub(super) fn sha256(stage: &Stage) -> Result<f64> {
    let script = "for i in 1 2 3 4; do sha256sum \"$1\" \"$1\" \"$1\" \"$1\" \"$1\" \"$1\" \"$1\" \"$1\"; done >/dev/null";
    stage.timed_command(&mut sh(script, &[text(&stage.prepared.join("text"))?]))
}
