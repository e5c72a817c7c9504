//! How long one of many calls takes.

use crate::stats::median;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Batches that the median is taken of.
const BATCHES: u32 = 9;

/// How often an operation is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Budget {
    /// For about this long.
    Time(Duration),
    /// So often and no more, for whoever counts something else than time.
    Count(u32),
}

/// Seconds that one `operation` takes: the median of batches that take `budget` together.
///
/// The batch is found by doubling, which also warms up what there is to warm up: caches, pages, and a sandbox's idea of how
/// busy its guest is.
pub(super) fn seconds_per(budget: Budget, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    seconds_of(budget, |count| {
        let begin = Instant::now();
        for _ in 0..count {
            operation()?;
        }
        Ok(begin.elapsed())
    })
}

/// The same for something that times `count` operations itself.
pub(super) fn seconds_of(budget: Budget, mut batch: impl FnMut(u32) -> Result<Duration>) -> Result<f64> {
    let enough = match budget {
        Budget::Time(budget) => budget / BATCHES,
        Budget::Count(count) => return Ok(batch(count)?.as_secs_f64() / f64::from(count)),
    };
    let mut count = 1_u32;
    loop {
        let took = batch(count)?;
        if took >= enough || count >= 1 << 30 {
            break;
        }
        // Once it can be foreseen, go there at once instead of doubling past it.
        let foreseen = enough.as_secs_f64() / took.as_secs_f64().max(1e-9);
        count = if foreseen < 2.0 { next(count, foreseen) } else { count * 2 };
    }
    let times = (0..BATCHES).map(|_| Ok(batch(count)?.as_secs_f64() / f64::from(count)));
    median(&times.collect::<Result<Vec<f64>>>()?).context("no batch")
}

/// `count` times `factor`, and at least one more.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, positive")]
fn next(count: u32, factor: f64) -> u32 {
    ((f64::from(count) * factor).ceil() as u32).max(count + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batch_grows_until_it_fills_its_share() {
        let mut counts = Vec::new();
        let each = Duration::from_micros(10);
        let seconds = seconds_of(Budget::Time(Duration::from_micros(9000)), |count| {
            counts.push(count);
            Ok(each * count)
        });
        assert!((seconds.unwrap() - 10e-6).abs() < 1e-12);
        assert_eq!(counts[..8], [1, 2, 4, 8, 16, 32, 64, 100]);
        assert_eq!(counts[8..], [100; 9]);
    }

    #[test]
    fn slow_operations_run_once_a_batch() {
        let mut batches = 0;
        let seconds = seconds_of(Budget::Time(Duration::from_millis(9)), |count| {
            batches += 1;
            Ok(Duration::from_millis(50) * count)
        });
        assert!((seconds.unwrap() - 0.05).abs() < 1e-9);
        assert_eq!(batches, 10);
    }

    #[test]
    fn a_count_is_kept_to() {
        let mut counts = Vec::new();
        let seconds = seconds_of(Budget::Count(7), |count| {
            counts.push(count);
            Ok(Duration::from_millis(14))
        });
        assert!((seconds.unwrap() - 0.002).abs() < 1e-9);
        assert_eq!(counts, [7]);
    }

    #[test]
    fn an_error_ends_it() {
        assert!(seconds_per(Budget::Time(Duration::from_millis(1)), || anyhow::bail!("no")).is_err());
    }
}
