//! Measures one cell of the table once.

use crate::columns::{Column, Kind};
use crate::host;
use crate::job::{self, Job};
use crate::programs::{BEGIN, END, Program};
use crate::rows::{Measure, Row};
use crate::work::{self, READY, RESULT, THREADS, WORK};
use anyhow::{Context, Result};
use serde_json::json;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// What one measurement may take at most, be it ever so slow.
const CALL_LIMIT: Duration = Duration::from_secs(30);
const PROGRAM_LIMIT: Duration = Duration::from_secs(150);

/// How long a sandbox gets until it counts as idle.
const SETTLE: Duration = Duration::from_secs(1);

/// How often an operation is made by two sandboxes, whose difference in exits is that of the operations between.
const FEW: u32 = 20;
const MANY: u32 = 220;

/// What stands before the count of exits in what a sandbox says at its end.
const EXITS: &str = " exits=";

/// The time that idle CPU use is given for.
const IDLE: Duration = Duration::from_secs(10);

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// In the unit of the row.
    pub(crate) value: f64,
    /// Seconds of CPU that all processes used meanwhile, where that tells something.
    pub(crate) cpu: Option<f64>,
}

impl Sample {
    fn of(value: f64) -> Self {
        Self { value, cpu: None }
    }
}

/// Where measurements take place.
pub(crate) struct Bench {
    /// Removed at the end, with all that is in it.
    scratch: PathBuf,
    /// This program, in the root of the bundle, where anybody may execute it.
    guest: PathBuf,
    quick: bool,
    /// What a call is measured for.
    budget: Duration,
    /// The CPU of rows on one CPU.
    cpu: usize,
    /// Number of the next container.
    next: u32,
}

impl Bench {
    /// Makes the bundle in `scratch`, with this program in it.
    pub(crate) fn new(scratch: &Path, quick: bool, budget: Duration) -> Result<Self> {
        let root = scratch.join("bundle/rootfs");
        for directory in ["dev", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(directory))?;
        }
        let guest = root.join("bench");
        fs::copy(std::env::current_exe()?, &guest)?;
        fs::write(scratch.join("bundle/config.json"), bundle_config().to_string())?;
        let cpu = *job::cpus()?.first().context("no CPU")?;
        Ok(Self { scratch: scratch.to_owned(), guest, quick, budget, cpu, next: 0 })
    }

    /// Makes what a program works on, once.
    pub(crate) fn prepare(&self, program: &Program) -> Result<()> {
        let directory = self.directory(program);
        fs::create_dir_all(&directory)?;
        program.prepare(&directory, self.quick)
    }

    fn directory(&self, program: &Program) -> PathBuf {
        self.scratch.join("programs").join(program.name)
    }

    /// Measures a row in a column; none where the column has no such thing.
    pub(crate) fn measure(&mut self, row: &Row, column: &Column) -> Result<Option<Sample>> {
        match row.measure {
            Measure::HandOff if column.kind != Kind::Native => Ok(None),
            Measure::HandOff => self.work(&row.id, column, true),
            Measure::Work { pinned } => {
                let name = row.id.split('/').next().unwrap_or_default();
                self.work(name, column, pinned)
            }
            Measure::Do => do_true(column),
            Measure::FirstOutput => self.first_output(column).map(Some),
            Measure::IdleMemory(count) => self.idle_memory(column, count),
            Measure::IdleCpu => self.idle_cpu(column),
            Measure::Program(program) => self.program(program, column),
        }
    }

    /// The command line of a piece of the guest's work.
    fn guest(&self, arguments: &[&str]) -> Vec<OsString> {
        let mut argv: Vec<OsString> = vec![self.guest.clone().into(), WORK.into()];
        argv.extend(arguments.iter().map(OsString::from));
        argv
    }

    fn work(&self, name: &str, column: &Column, pinned: bool) -> Result<Option<Sample>> {
        let milliseconds = self.budget.as_millis().to_string();
        let Some(argv) = column.run_over_host(&self.guest(&[name, &milliseconds])) else { return Ok(None) };
        let mut job = Job::start(&argv, pinned.then_some(self.cpu), CALL_LIMIT)?;
        let value = result(&mut job)?;
        job.finish()?;
        Ok(Some(Sample::of(value)))
    }

    /// Exits of virtual processors that one operation takes; none where there are no such processors, or for rows that are no
    /// single call.
    pub(crate) fn exits(&self, row: &Row, column: &Column) -> Result<Option<f64>> {
        if !matches!(row.measure, Measure::Work { pinned: false }) || row.id.starts_with(THREADS) {
            return Ok(None);
        }
        let (Some(few), Some(many)) = (self.count(&row.id, column, FEW)?, self.count(&row.id, column, MANY)?)
        else {
            return Ok(None);
        };
        let operations = f64::from(MANY - FEW) * f64::from(work::operations(&row.id));
        Ok(Some((many - few).max(0.0) / operations))
    }

    /// Exits of a sandbox that makes an operation so often.
    fn count(&self, name: &str, column: &Column, times: u32) -> Result<Option<f64>> {
        let command = self.guest(&["count", name, &times.to_string()]);
        let Some(argv) = column.count_over_host(&command) else { return Ok(None) };
        let said = Job::start(&argv, None, CALL_LIMIT)?.finish_with_errors()?;
        let digits = said.rsplit_once(EXITS).map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
        let digits = digits.context("the sandbox does not tell its exits")?;
        Ok(Some(digits.parse().with_context(|| format!("expected a count of exits, found {digits}"))?))
    }

    fn first_output(&mut self, column: &Column) -> Result<Sample> {
        self.next += 1;
        let id = format!("bench-{}-{}", std::process::id(), self.next);
        let argv = column.run_bundle(&self.scratch.join("bundle"), &id, &self.guest(&["hello"]));
        let mut job = Job::start(&argv, None, CALL_LIMIT)?;
        job.expect_line(READY)?;
        let elapsed = job.elapsed();
        job.finish()?;
        Ok(Sample::of(elapsed.as_secs_f64()))
    }

    /// Sandboxes that do nothing, once they have settled; none where there is no such verb.
    fn idle(&self, column: &Column, count: u8) -> Result<Option<Vec<Job>>> {
        let Some(argv) = column.run_over_host(&self.guest(&["idle"])) else { return Ok(None) };
        let mut jobs = Vec::new();
        for _ in 0..count {
            let mut job = Job::start(&argv, None, CALL_LIMIT + IDLE)?;
            job.expect_line(READY)?;
            jobs.push(job);
        }
        thread::sleep(SETTLE);
        Ok(Some(jobs))
    }

    fn idle_memory(&self, column: &Column, count: u8) -> Result<Option<Sample>> {
        let Some(_jobs) = self.idle(column, count)? else { return Ok(None) };
        Ok(Some(Sample::of(host::proportional_bytes()? / f64::from(count))))
    }

    fn idle_cpu(&self, column: &Column) -> Result<Option<Sample>> {
        let Some(_jobs) = self.idle(column, 1)? else { return Ok(None) };
        let parts = if self.quick { 5 } else { 1 };
        let before = host::exact_cpu_seconds()?;
        thread::sleep(IDLE / parts);
        // A thread that ended meanwhile took its account with it.
        let used = (host::exact_cpu_seconds()? - before).max(0.0);
        Ok(Some(Sample::of(used * f64::from(parts))))
    }

    fn program(&self, program: &Program, column: &Column) -> Result<Option<Sample>> {
        let directory = self.directory(program);
        let directory = directory.to_str().context("a scratch directory that is not UTF-8")?;
        let command = self.guest(&["program", program.name, program.amount(self.quick), directory]);
        let Some(argv) = column.run_over_host(&command) else { return Ok(None) };
        let mut job = Job::start(&argv, None, PROGRAM_LIMIT)?;
        job.expect_line(BEGIN)?;
        let before = host::cpu_seconds()?;
        job.answer()?;
        job.expect_line(END)?;
        let used = host::cpu_seconds()? - before;
        job.answer()?;
        let value = result(&mut job)?;
        job.finish()?;
        Ok(Some(Sample { value, cpu: (used > 0.0).then_some(used) }))
    }
}

fn do_true(column: &Column) -> Result<Option<Sample>> {
    let Some(argv) = column.run_over_host(&["/bin/true".into()]) else { return Ok(None) };
    let wall = Job::start(&argv, None, CALL_LIMIT)?.finish()?;
    Ok(Some(Sample::of(wall.as_secs_f64())))
}

/// What the guest measured.
fn result(job: &mut Job) -> Result<f64> {
    while let Some(line) = job.line()? {
        if let Some(number) = line.strip_prefix(RESULT) {
            let value: f64 = number.parse().with_context(|| format!("expected a number, found {number}"))?;
            anyhow::ensure!(value.is_finite() && value > 0.0, "expected a time, found {number}");
            return Ok(value);
        }
    }
    Err(job.why())
}

/// A bundle that prints a line, in namespaces of its own.
fn bundle_config() -> serde_json::Value {
    let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": true },
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bench", WORK, "hello"],
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
        ],
        "linux": { "namespaces": namespaces },
    })
}
