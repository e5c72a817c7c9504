//! Measures the whole table, with repetitions of all columns interleaved.

use crate::columns::Column;
use crate::host;
use crate::job::which;
use crate::measure::{Bench, Sample};
use crate::rows::{Measure, Row};
use std::io::{Write, stderr};
use std::time::{Duration, Instant};

/// How often and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Repetitions of a row.
    pub(crate) repeat: usize,
    /// Of a whole program, and of what has to settle first.
    pub(crate) repeat_programs: usize,
    /// What a column may spend on a row before it is not repeated any more.
    pub(crate) patience: Duration,
}

impl Effort {
    /// Repetitions of a row of this kind.
    fn of(self, measure: &Measure) -> usize {
        match measure {
            Measure::Work { .. } | Measure::HandOff => self.repeat,
            // Over soon, and the most scattered.
            Measure::Do | Measure::FirstOutput => 2 * self.repeat,
            Measure::IdleMemory(1) | Measure::Program(_) => self.repeat_programs,
            Measure::IdleMemory(_) | Measure::IdleCpu => 1,
        }
    }
}

/// What was measured of a row in a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    /// One for each repetition, in their order.
    pub(crate) samples: Vec<Sample>,
    /// Exits of virtual processors for each operation, where there are such.
    pub(crate) exits: Option<f64>,
    /// Why there is no number.
    pub(crate) failure: Option<String>,
}

impl Cell {
    fn failed(reason: &str) -> Self {
        Self { failure: Some(reason.to_owned()), ..Self::default() }
    }
}

/// Measures all rows: a line of cells for each, in the order of the columns.
pub(crate) fn measure(bench: &mut Bench, rows: &[Row], columns: &[Column], effort: Effort) -> Vec<Vec<Cell>> {
    let begin = Instant::now();
    rows.iter()
        .enumerate()
        .map(|(index, row)| {
            let cells = measure_row(bench, row, columns, effort);
            say(&format!("{:4} s  {}/{}  {}", begin.elapsed().as_secs(), index + 1, rows.len(), row.id));
            cells
        })
        .collect()
}

fn measure_row(bench: &mut Bench, row: &Row, columns: &[Column], effort: Effort) -> Vec<Cell> {
    if let Measure::Program(program) = row.measure {
        let missing = program.needs.iter().find(|(program, _)| which(program).is_none());
        if let Some((program, package)) = missing {
            let reason = format!("skipped: no {program} (package {package})");
            return vec![Cell::failed(&reason); columns.len()];
        }
        if let Err(error) = bench.prepare(program) {
            return vec![Cell::failed(&format!("not prepared: {error:#}")); columns.len()];
        }
    }
    let mut cells = vec![Cell::default(); columns.len()];
    let mut spent = vec![Duration::ZERO; columns.len()];
    for repetition in 0..effort.of(&row.measure) {
        for turn in 0..columns.len() {
            // Another column begins each time, so that none always follows the same.
            let index = (turn + repetition) % columns.len();
            let (Some(column), Some(cell), Some(spent)) =
                (columns.get(index), cells.get_mut(index), spent.get_mut(index))
            else {
                continue;
            };
            if cell.failure.is_some() || *spent > effort.patience {
                continue;
            }
            let begin = Instant::now();
            match bench.measure(row, column) {
                Ok(sample) => cell.samples.extend(sample),
                Err(error) => *cell = Cell::failed(&format!("{error:#}")),
            }
            *spent += begin.elapsed();
            if let Err(error) = host::kill_descendants() {
                *cell = Cell::failed(&format!("{error:#}"));
            }
        }
    }
    for (column, cell) in columns.iter().zip(&mut cells).filter(|(_, cell)| cell.failure.is_none()) {
        match bench.exits(row, column) {
            Ok(exits) => cell.exits = exits,
            Err(error) => *cell = Cell::failed(&format!("exits: {error:#}")),
        }
    }
    cells
}

/// Tells whoever waits.
pub(crate) fn say(line: &str) {
    // The table comes all the same if nobody listens.
    let _ = writeln!(stderr(), "{line}");
}
