//! Medians, ratios and their spread.

use serde::Serialize;

/// The middle of the values, or the mean of the two in the middle; none of no values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted.get(half - 1).copied()?, upper))
}

/// How many times the base a column takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// The column's median over the base's.
    pub(crate) median: f64,
    /// The lowest ratio within one repetition.
    pub(crate) low: f64,
    /// The highest.
    pub(crate) high: f64,
}

impl Ratio {
    /// Compares repetitions, of which the `n`th of both were measured one after the other.
    ///
    /// The ratio is that of the medians. Its spread is that of the ratios within each repetition: what disturbs the machine
    /// for longer than a repetition disturbs both sides alike and cancels out. None without a value, or with a base of zero.
    pub(crate) fn of(values: &[f64], base: &[f64]) -> Option<Self> {
        let base_median = median(base).filter(|b| *b > 0.0)?;
        let ratio = median(values)? / base_median;
        let paired = values.iter().zip(base).filter(|(_, b)| **b > 0.0).map(|(v, b)| v / b);
        let (low, high) = paired.fold((ratio, ratio), |(low, high), r| (low.min(r), high.max(r)));
        Some(Self { median: ratio, low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 100.0, 2.0]), Some(3.0));
    }

    #[test]
    fn the_spread_pairs_repetitions() {
        // The machine was twice as slow in the second repetition, for both.
        let ratio = Ratio::of(&[3.0, 6.0, 3.3], &[1.0, 2.0, 1.1]).unwrap();
        assert!((ratio.low - 3.0).abs() < 1e-9 && (ratio.high - 3.0).abs() < 1e-9, "{ratio:?}");
        let ratio = Ratio::of(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0]).unwrap();
        assert_eq!(ratio, Ratio { median: 2.0, low: 1.0, high: 3.0 });
    }

    #[test]
    fn fewer_repetitions_of_one_side_still_compare() {
        let ratio = Ratio::of(&[4.0], &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(ratio, Ratio { median: 2.0, low: 2.0, high: 4.0 });
        assert_eq!(Ratio::of(&[1.0], &[]), None);
        assert_eq!(Ratio::of(&[1.0], &[0.0]), None);
    }
}
