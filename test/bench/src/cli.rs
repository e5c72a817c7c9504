//! The command line.

use crate::rows::{self, Row};
use crate::run::Effort;
use anyhow::{Result, ensure};
use clap::Parser;
use regex_lite::Regex;
use std::path::PathBuf;
use std::time::Duration;

/// Measures runsc-rs against the host and its peers.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Cli {
    /// Only rows whose id matches
    #[arg(long, value_name = "REGEX", default_value = "")]
    pub(crate) rows: Regex,
    /// Only columns whose name matches, and the native one
    #[arg(long, value_name = "REGEX", default_value = "")]
    pub(crate) columns: Regex,
    /// Another runtime to compare with, by its command line gVisor's or runc's; may be repeated. Those on PATH are found.
    #[arg(long = "peer", value_name = "PATH")]
    pub(crate) peers: Vec<PathBuf>,
    /// What is tested [default: the one that was built beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) runsc: Option<PathBuf>,
    /// Repetitions [default: 5, and 3 of whole programs; with --quick 2 and 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) repeat: Option<u16>,
    /// Less of everything, in three minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write the result with all repetitions
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the chart
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Write the tables, between the marks of a file that has them
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Name the rows and measure nothing
    #[arg(long)]
    pub(crate) list: bool,
}

impl Cli {
    /// The rows to measure, of which there is one at least.
    pub(crate) fn selected_rows(&self) -> Result<Vec<Row>> {
        let rows: Vec<Row> =
            rows::all(self.quick).into_iter().filter(|row| self.rows.is_match(&row.id)).collect();
        ensure!(!rows.is_empty(), "--rows: expected some of those that --list names, found none");
        Ok(rows)
    }

    /// How the tables call this run.
    pub(crate) fn size(&self) -> &'static str {
        if self.quick { "quick" } else { "full" }
    }

    /// How long a call is measured for, each time.
    pub(crate) fn budget(&self) -> Duration {
        Duration::from_millis(if self.quick { 20 } else { 150 })
    }

    pub(crate) fn effort(&self) -> Effort {
        let (repeat, repeat_programs, patience) = if self.quick { (2, 1, 5) } else { (5, 3, 25) };
        let asked = self.repeat.map(usize::from);
        Effort {
            repeat: asked.unwrap_or(repeat),
            repeat_programs: asked.unwrap_or(repeat_programs),
            patience: Duration::from_secs(patience),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_selected_by_id() {
        let ids = |arguments: &[&str]| -> Vec<String> {
            let cli = Cli::parse_from([&["bench"], arguments].concat());
            cli.selected_rows().map(|rows| rows.into_iter().map(|row| row.id).collect()).unwrap_or_default()
        };
        assert_eq!(ids(&["--rows", "^getppid"]), ["getppid", "getppid/1cpu"]);
        assert_eq!(ids(&["--rows", "^p.*te$|^xz"]), ["pwrite", "xz"]);
        assert!(ids(&[]).len() > 50);
        assert!(ids(&["--rows", "no such row"]).is_empty());
    }

    #[test]
    fn quick_is_less() {
        let effort = |arguments: &[&str]| Cli::parse_from([&["bench"], arguments].concat()).effort().repeat;
        assert_eq!((effort(&[]), effort(&["--quick"]), effort(&["--quick", "--repeat", "9"])), (5, 2, 9));
        assert!(Cli::try_parse_from(["bench", "--repeat", "0"]).is_err());
        assert!(Cli::try_parse_from(["bench", "--rows", "("]).is_err());
    }
}
