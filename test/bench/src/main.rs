//! The benchmark: one command measures the whole table on one machine.
//!
//! Columns are the host itself, each platform of `runsc-rs`, and every peer that is there; rows are single calls, threads,
//! whole sandboxes and whole programs. The repetitions of all columns are interleaved. See `docs/performance.md`.
//!
//! The same binary runs inside as `bench --work …`, statically linked, so that no compiler and no library is needed.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "how a test fails"))]

mod cli;
mod columns;
mod host;
mod job;
mod measure;
mod programs;
mod report;
mod rows;
mod run;
mod stats;
mod work;

use anyhow::{Context, Result};
use clap::Parser;
use cli::Cli;
use measure::Bench;
use report::{Report, Style};
use std::fs;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(work::WORK) {
        return work::main(&arguments.collect::<Vec<String>>());
    }
    match bench(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn bench(cli: &Cli) -> Result<()> {
    let rows = cli.selected_rows()?;
    if cli.list {
        let list: String =
            rows.iter().map(|row| format!("{:20} {}: {}\n", row.id, row.group, row.title)).collect();
        return print(&list);
    }
    // What a sandbox leaves behind becomes a child of this process, and is found and ended.
    nix::sys::prctl::set_child_subreaper(true)?;
    let machine = host::describe();
    let scratch = tempfile::Builder::new().prefix("bench-").permissions(readable()).tempdir_in("/tmp")?;
    let ours = cli.runsc.clone().map_or_else(columns::beside_this_program, Ok)?;
    let (columns, left_out) = columns::find(&ours, &cli.peers, &cli.columns, scratch.path())?;
    host::kill_descendants()?;
    let mut bench = Bench::new(scratch.path(), cli.quick, cli.budget())?;
    let measured = run::measure(&mut bench, &rows, &columns, cli.effort());
    let report = Report::new(machine, cli.size(), &columns, &rows, &measured, left_out);
    print(&report::tables(&report, Style::Terminal))?;
    write(cli.json.as_deref(), || report.json())?;
    write(cli.svg.as_deref(), || Ok(report::svg(&report)))?;
    match &cli.markdown {
        Some(path) => report::write_markdown(path, &report::tables(&report, Style::Markdown)),
        None => Ok(()),
    }
}

/// Sandboxes that run as somebody else look at what is in there, too.
fn readable() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

fn write(path: Option<&Path>, text: impl FnOnce() -> Result<String>) -> Result<()> {
    match path {
        Some(path) => fs::write(path, text()?).with_context(|| path.display().to_string()),
        None => Ok(()),
    }
}

fn print(text: &str) -> Result<()> {
    stdout().lock().write_all(text.as_bytes()).context("standard output")
}
