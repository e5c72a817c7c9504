//! What was measured, judged, and shown in four ways.

mod chart;
mod table;
mod units;

pub(crate) use chart::svg;
pub(crate) use table::{Style, tables};

use crate::columns::{Column, Kind};
use crate::rows::{Goal, HAND_OFF_MARGIN, Row, Unit, is_hand_off};
use crate::run::Cell;
use crate::stats::{Ratio, median};
use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) size: &'static str,
    pub(crate) columns: Vec<ColumnReport>,
    pub(crate) rows: Vec<RowReport>,
    /// Columns that could have been there and are not, and why.
    pub(crate) left_out: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ColumnReport {
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(skip)]
    pub(crate) kind: Kind,
}

#[derive(Debug, Serialize)]
pub(crate) struct RowReport {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) group: &'static str,
    pub(crate) unit: Unit,
    pub(crate) goal: Goal,
    /// The goal as a number in the row's unit, where what it refers to was measured.
    pub(crate) limit: Option<f64>,
    /// The best of ours over the best of gVisor's.
    pub(crate) against_peers: Option<f64>,
    /// In the order of the columns.
    pub(crate) cells: Vec<CellReport>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct CellReport {
    /// One for each repetition.
    pub(crate) values: Vec<f64>,
    pub(crate) median: Option<f64>,
    /// To the native column.
    pub(crate) ratio: Option<Ratio>,
    /// Seconds of CPU of all processes: the median.
    pub(crate) cpu: Option<f64>,
    /// Exits of virtual processors for each operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exits: Option<f64>,
    /// Whether one of ours meets the goal.
    pub(crate) met: Option<bool>,
    /// Why there is no number.
    pub(crate) failure: Option<String>,
}

impl Report {
    /// Judges what was measured: `measured` has a line of cells for each row.
    pub(crate) fn new(
        machine: String,
        size: &'static str,
        columns: &[Column],
        rows: &[Row],
        measured: &[Vec<Cell>],
        left_out: Vec<String>,
    ) -> Self {
        let hand_off = rows.iter().zip(measured).find(|(row, _)| is_hand_off(&row.id));
        let hand_off = hand_off.and_then(|(_, cells)| median(&values(cells.first()?)));
        Self {
            machine,
            size,
            columns: columns
                .iter()
                .map(|c| ColumnReport { name: c.name.clone(), version: c.version.clone(), kind: c.kind })
                .collect(),
            rows: rows
                .iter()
                .zip(measured)
                .map(|(row, cells)| judge(row, cells, columns, hand_off))
                .collect(),
            left_out,
        }
    }

    /// As JSON, with every repetition.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// How often ours is as good as it is to be, a line for each of its columns.
    pub(crate) fn summary(&self) -> Vec<String> {
        let ours = self.columns.iter().enumerate().filter(|(_, column)| column.kind == Kind::Ours);
        ours.map(|(index, column)| {
            let judged = self.rows.iter().filter_map(|row| row.cells.get(index)?.met);
            let failed =
                self.rows.iter().filter(|row| row.cells.get(index).is_some_and(|c| c.failure.is_some()));
            let compared = self
                .rows
                .iter()
                .filter_map(|row| Some((row.cells.get(index)?.median?, self.best_peer(row)?)));
            format!(
                "{}: {} of {} goals met; ahead of the best peer in {} of {} rows; {} without a number",
                column.name,
                judged.clone().filter(|met| *met).count(),
                judged.count(),
                compared.clone().filter(|(ours, peer)| ours < peer).count(),
                compared.count(),
                failed.count(),
            )
        })
        .collect()
    }

    fn best_peer(&self, row: &RowReport) -> Option<f64> {
        best(self.columns.iter().map(|column| column.kind).zip(&row.cells), Kind::Runsc)
    }
}

fn values(cell: &Cell) -> Vec<f64> {
    cell.samples.iter().map(|sample| sample.value).collect()
}

fn judge(row: &Row, measured: &[Cell], columns: &[Column], hand_off: Option<f64>) -> RowReport {
    let native = measured.first().map(values).unwrap_or_default();
    let limit = limit(row.goal, median(&native), hand_off);
    let cells: Vec<CellReport> = measured
        .iter()
        .zip(columns)
        .map(|(cell, column)| {
            let values = values(cell);
            let cpu: Vec<f64> = cell.samples.iter().filter_map(|sample| sample.cpu).collect();
            let median_value = median(&values);
            let ours = column.kind == Kind::Ours;
            CellReport {
                median: median_value,
                ratio: (column.kind != Kind::Native).then(|| Ratio::of(&values, &native)).flatten(),
                cpu: median(&cpu),
                met: median_value.zip(limit).filter(|_| ours).map(|(value, limit)| value <= limit),
                exits: cell.exits,
                failure: cell.failure.clone(),
                values,
            }
        })
        .collect();
    let kinds = || columns.iter().map(|column| column.kind).zip(&cells);
    let against_peers = best(kinds(), Kind::Ours)
        .zip(best(kinds(), Kind::Runsc))
        .filter(|(_, peer)| *peer > 0.0)
        .map(|(ours, peer)| ours / peer);
    RowReport {
        id: row.id.clone(),
        title: row.title.clone(),
        group: row.group,
        unit: row.unit,
        goal: row.goal,
        limit,
        against_peers,
        cells,
    }
}

/// The lowest median of the columns of a kind.
fn best<'a>(cells: impl Iterator<Item = (Kind, &'a CellReport)>, wanted: Kind) -> Option<f64> {
    let medians = cells.filter(|(kind, _)| *kind == wanted).filter_map(|(_, cell)| cell.median);
    medians.min_by(f64::total_cmp)
}

fn limit(goal: Goal, native: Option<f64>, hand_off: Option<f64>) -> Option<f64> {
    match goal {
        Goal::Ratio(times) => native.map(|native| native * times),
        Goal::HandOffs(count) => hand_off.map(|seconds| seconds * HAND_OFF_MARGIN * f64::from(count)),
        Goal::AtMost(limit) => Some(limit),
        Goal::None => None,
    }
}

/// Lines between which a Markdown file holds what a run writes.
const MARKS: [&str; 2] = ["<!-- bench: begin -->", "<!-- bench: end -->"];

/// Writes Markdown: between the marks of a file that has them, or else the whole file.
pub(crate) fn write_markdown(path: &Path, text: &str) -> Result<()> {
    let old = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    fs::write(path, between_marks(&old, text)).with_context(|| path.display().to_string())
}

fn between_marks(old: &str, text: &str) -> String {
    let [begin, end] = MARKS;
    let parts = old.split_once(begin).and_then(|(head, rest)| Some((head, rest.split_once(end)?.1)));
    match parts {
        Some((head, tail)) => format!("{head}{begin}\n{text}\n{end}{tail}"),
        None => format!("{text}\n"),
    }
}

#[cfg(test)]
mod tests;
