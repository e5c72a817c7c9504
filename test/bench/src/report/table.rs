//! Tables, for terminals and for Markdown.

use super::units;
use super::{CellReport, ColumnReport, Report, RowReport};
use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{CellAlignment, Table, TableComponent};
use std::fmt::Write;

/// Where a table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Terminal,
    Markdown,
}

/// All tables, one for each group of rows, with what they are about.
pub(crate) fn tables(report: &Report, style: Style) -> String {
    let mut text = format!("{}; {} run\n", report.machine, report.size);
    let versions = report.columns.iter().filter(|column| !column.version.is_empty());
    for column in versions {
        let _ = writeln!(text, "{}{}: {}", bullet(style), column.name, column.version);
    }
    let mut notes = Vec::new();
    let mut rows = report.rows.as_slice();
    while let Some(first) = rows.first() {
        let count = rows.iter().take_while(|row| row.group == first.group).count();
        let (group, rest) = rows.split_at(count);
        rows = rest;
        let _ = write!(
            text,
            "\n{}\n\n{}\n",
            heading(first.group, style),
            group_table(report, group, style, &mut notes)
        );
    }
    if let Some(table) = cpu_table(report, style) {
        let title = heading("CPU time of whole programs, all processes of the sandbox", style);
        let _ = write!(text, "\n{title}\n\n{table}\n");
    }
    if let Some(table) = exits_table(report, style) {
        let title = heading("exits of virtual processors for each operation", style);
        let _ = write!(text, "\n{title}\n\n{table}\n");
    }
    let lines = report.summary().into_iter().chain(notes).chain(report.left_out.iter().cloned());
    text.push('\n');
    for line in lines {
        let _ = writeln!(text, "{}{line}", bullet(style));
    }
    text
}

fn heading(title: &str, style: Style) -> String {
    match style {
        Style::Terminal => format!("== {title}"),
        Style::Markdown => format!("### {}{}", title[..1].to_uppercase(), &title[1..]),
    }
}

fn bullet(style: Style) -> &'static str {
    match style {
        Style::Terminal => "",
        Style::Markdown => "- ",
    }
}

fn empty_table(style: Style) -> Table {
    let mut table = Table::new();
    match style {
        Style::Markdown => table.load_preset(ASCII_MARKDOWN),
        Style::Terminal => table
            .load_preset(NOTHING)
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─'),
    };
    table
}

fn finished(mut table: Table) -> String {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn group_table(report: &Report, rows: &[RowReport], style: Style, notes: &mut Vec<String>) -> String {
    let mut table = empty_table(style);
    let has_goal = rows.iter().any(|row| row.limit.is_some());
    let has_peer = rows.iter().any(|row| row.against_peers.is_some());
    let said = |index: usize| {
        rows.iter().filter_map(|row| row.cells.get(index)).any(|c| c.median.is_some() || c.failure.is_some())
    };
    // Runtimes that only run bundles have nothing to say on most.
    let columns: Vec<(usize, &ColumnReport)> =
        report.columns.iter().enumerate().filter(|(index, _)| said(*index)).collect();
    let mut header = vec![String::new()];
    header.extend(columns.iter().map(|(_, column)| column.name.clone()));
    header.extend(has_goal.then(|| "goal".to_owned()));
    header.extend(has_peer.then(|| "best to peer's".to_owned()));
    table.set_header(header);
    for row in rows {
        let mut line = vec![row.title.clone()];
        for (index, column) in &columns {
            let Some(cell) = row.cells.get(*index) else { continue };
            line.push(cell_text(row, cell));
            if let Some(reason) = &cell.failure {
                note(notes, &row.id, &column.name, reason);
            }
        }
        line.extend(has_goal.then(|| units::goal(row.goal, row.unit)));
        let against = row.against_peers.map_or_else(|| "–".to_owned(), |r| format!("{}×", units::digits(r)));
        line.extend(has_peer.then_some(against));
        table.add_row(line);
    }
    finished(table)
}

/// Adds a reason, once for all columns that share it.
fn note(notes: &mut Vec<String>, row: &str, column: &str, reason: &str) {
    let (head, tail) = (format!("{row}, "), format!(": {reason}"));
    let known = notes.iter_mut().find(|line| line.starts_with(&head) && line.ends_with(&tail));
    match known {
        Some(line) => line.insert_str(line.len() - tail.len(), &format!(", {column}")),
        None => notes.push(format!("{head}{column}{tail}")),
    }
}

fn cell_text(row: &RowReport, cell: &CellReport) -> String {
    let Some(median) = cell.median else {
        return if cell.failure.is_some() { short_reason(cell) } else { "–".to_owned() };
    };
    let mut text = units::value(median, row.unit);
    if let Some(ratio) = cell.ratio {
        let _ = write!(text, "  {}", units::ratio(ratio));
    }
    match cell.met {
        Some(true) => text.push_str(" ✓"),
        Some(false) => text.push_str(" ✗"),
        None => {}
    }
    text
}

/// The whole reason stands below the table.
fn short_reason(cell: &CellReport) -> String {
    let reason = cell.failure.as_deref().unwrap_or_default();
    if reason.starts_with("skipped") { "skipped".to_owned() } else { "failed".to_owned() }
}

/// Native CPU time from which on a ratio to it means something: ten clock ticks.
const ENOUGH_CPU: f64 = 0.1;

/// What virtual processors cost whatever the machine: there is no native number to compare with.
fn exits_table(report: &Report, style: Style) -> Option<String> {
    let text = |_: &RowReport, _: usize, exits: f64| format!("{exits:.2}");
    table_of(report, style, |cell| cell.exits, text)
}

/// Seconds of CPU where they were measured; none if nowhere.
fn cpu_table(report: &Report, style: Style) -> Option<String> {
    let cpu = |cell: &CellReport| cell.cpu;
    table_of(report, style, cpu, |row, index, seconds| {
        let native = row.cells.first().and_then(cpu).filter(|native| *native >= ENOUGH_CPU);
        match native {
            Some(native) if index > 0 => {
                format!("{}  {}×", units::value(seconds, row.unit), units::digits(seconds / native))
            }
            _ => units::value(seconds, row.unit),
        }
    })
}

/// A table of one thing that was measured beside the time, of the rows and columns that have it; none if nothing has. `text`
/// writes what the row has in the column of that index.
fn table_of(
    report: &Report,
    style: Style,
    measured: impl Fn(&CellReport) -> Option<f64>,
    text: impl Fn(&RowReport, usize, f64) -> String,
) -> Option<String> {
    let value = |row: &RowReport, index: usize| row.cells.get(index).and_then(&measured);
    let has_some = |row: &&RowReport| row.cells.iter().any(|cell| measured(cell).is_some());
    let rows: Vec<&RowReport> = report.rows.iter().filter(has_some).collect();
    let columns: Vec<(usize, &ColumnReport)> = report
        .columns
        .iter()
        .enumerate()
        .filter(|(index, _)| rows.iter().any(|row| value(row, *index).is_some()))
        .collect();
    if columns.is_empty() {
        return None;
    }
    let mut table = empty_table(style);
    let mut header = vec![String::new()];
    header.extend(columns.iter().map(|(_, column)| column.name.clone()));
    table.set_header(header);
    for row in rows {
        let mut line = vec![row.title.clone()];
        line.extend(columns.iter().map(|(index, _)| {
            value(row, *index).map_or_else(|| "–".to_owned(), |value| text(row, *index, value))
        }));
        table.add_row(line);
    }
    Some(finished(table))
}
