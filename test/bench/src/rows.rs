//! The rows of the table.

use crate::programs::{PROGRAMS, Program};
use crate::work::{CALLS, HAND_OFF, THREADS};
use serde::Serialize;

/// What a row's numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Seconds,
    Bytes,
}

/// What a row's number is to be at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// So many times the native one.
    Ratio(f64),
    /// 1.2 times so many raw hand-offs.
    HandOffs(u8),
    /// So much, in the row's unit.
    AtMost(f64),
    None,
}

/// How much longer than the raw hand-off a call may take where there is one CPU for both sides.
pub(crate) const HAND_OFF_MARGIN: f64 = 1.2;

/// CPU time that counts as none: the time of a few wake-ups.
const NO_CPU: f64 = 0.001;

/// How a row is measured.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// A piece of the guest's work by name; pinned to one CPU or not.
    Work { pinned: bool },
    /// The same, natively only: what others are compared with.
    HandOff,
    /// The whole of `do /bin/true`.
    Do,
    /// From the start of `run` until the container prints something.
    FirstOutput,
    /// The memory of a sandbox, when there are so many.
    IdleMemory(u8),
    /// The CPU time of a sandbox that does nothing.
    IdleCpu,
    /// A whole program.
    Program(&'static Program),
}

/// A row of the table.
pub(crate) struct Row {
    /// What `--rows` selects by.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) group: &'static str,
    pub(crate) unit: Unit,
    pub(crate) goal: Goal,
    pub(crate) measure: Measure,
}

/// The row of the raw hand-off.
pub(crate) fn is_hand_off(id: &str) -> bool {
    id == HAND_OFF
}

/// All rows of a full or a quick run, in the order of the table.
pub(crate) fn all(quick: bool) -> Vec<Row> {
    let mut rows = calls();
    rows.extend(threads());
    rows.extend(whole_sandboxes());
    rows.extend(PROGRAMS.iter().map(|program| Row {
        id: program.name.to_owned(),
        title: program.title(quick),
        group: "whole programs, timed inside",
        unit: Unit::Seconds,
        goal: Goal::Ratio(program.goal),
        measure: Measure::Program(program),
    }));
    rows
}

fn calls() -> Vec<Row> {
    let spare = CALLS.iter().map(|call| Row {
        id: call.name.to_owned(),
        title: call.title.to_owned(),
        group: "calls, a CPU to spare",
        unit: Unit::Seconds,
        goal: call.spare,
        measure: Measure::Work { pinned: false },
    });
    let hand_off = Row {
        id: HAND_OFF.to_owned(),
        title: "the raw hand-off".to_owned(),
        group: "calls, all on one CPU",
        unit: Unit::Seconds,
        goal: Goal::None,
        measure: Measure::HandOff,
    };
    let pinned = CALLS.iter().map(|call| Row {
        id: format!("{}/1cpu", call.name),
        title: call.title.to_owned(),
        group: "calls, all on one CPU",
        unit: Unit::Seconds,
        goal: call.pinned,
        measure: Measure::Work { pinned: true },
    });
    spare.chain([hand_off]).chain(pinned).collect()
}

fn threads() -> impl Iterator<Item = Row> {
    [1, 2, 8, 64].into_iter().map(|threads| Row {
        id: format!("{THREADS}{threads}"),
        title: format!("{threads} calling getppid, a call"),
        group: "threads at once",
        unit: Unit::Seconds,
        goal: Goal::None,
        measure: Measure::Work { pinned: false },
    })
}

fn whole_sandboxes() -> Vec<Row> {
    let row = |id: &str, title: &str, unit, goal, measure| Row {
        id: id.to_owned(),
        title: title.to_owned(),
        group: "whole sandboxes",
        unit,
        goal,
        measure,
    };
    let small = Goal::AtMost(5e6);
    vec![
        row("do-true", "do /bin/true", Unit::Seconds, Goal::AtMost(0.015), Measure::Do),
        row("first-output", "run, to the first output", Unit::Seconds, Goal::None, Measure::FirstOutput),
        row("idle-memory", "memory, idle", Unit::Bytes, small, Measure::IdleMemory(1)),
        row("idle-memory-20", "memory, idle, each of 20", Unit::Bytes, small, Measure::IdleMemory(20)),
        row("idle-cpu", "CPU used idle, in 10 s", Unit::Seconds, Goal::AtMost(NO_CPU), Measure::IdleCpu),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_name_one_row() {
        let rows = all(false);
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids.len(), rows.len());
        assert!(ids.iter().all(|id| !id.contains(' ')));
    }

    #[test]
    fn groups_stand_together() {
        let mut groups: Vec<&str> = all(false).iter().map(|row| row.group).collect();
        groups.dedup();
        let distinct: BTreeSet<&str> = groups.iter().copied().collect();
        assert_eq!(groups.len(), distinct.len());
    }
}
