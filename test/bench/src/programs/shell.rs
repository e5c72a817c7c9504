//! Programs that are over soon, many times.

use super::{Stage, sh};
use anyhow::Result;

pub(super) fn many_true(stage: &Stage) -> Result<f64> {
    repeated(stage, "/bin/true")
}

/// Debian's, without what a user may have installed besides.
pub(super) fn python(stage: &Stage) -> Result<f64> {
    repeated(stage, "python3 -I -c pass")
}

fn repeated(stage: &Stage, command: &str) -> Result<f64> {
    let script = format!("i=0; while [ $i -lt $1 ]; do {command} || exit 1; i=$((i+1)); done");
    stage.timed_command(&mut sh(&script, &[&stage.amount]))
}
