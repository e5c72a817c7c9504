//! Numbers for people.

use crate::rows::{Goal, HAND_OFF_MARGIN, Unit};
use crate::stats::Ratio;

/// A value with its unit, to three digits.
pub(super) fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{} MB", digits(value / 1e6)),
        Unit::Seconds => {
            let scales = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
            let scale = scales.into_iter().find(|(scale, _)| value >= *scale * 0.9995);
            match scale {
                Some((scale, name)) => format!("{} {name}", digits(value / scale)),
                None => "0 s".to_owned(),
            }
        }
    }
}

/// A ratio and its spread.
pub(super) fn ratio(ratio: Ratio) -> String {
    let (low, high) = (digits(ratio.low), digits(ratio.high));
    if low == high {
        return format!("{}×", digits(ratio.median));
    }
    format!("{}× ({low}–{high})", digits(ratio.median))
}

/// A goal.
pub(super) fn goal(goal: Goal, unit: Unit) -> String {
    match goal {
        Goal::Ratio(times) => format!("≤ {times}×"),
        Goal::HandOffs(1) => format!("≤ {HAND_OFF_MARGIN}× hand-off"),
        Goal::HandOffs(count) => format!("≤ {HAND_OFF_MARGIN}× {count} hand-offs"),
        Goal::AtMost(limit) => format!("≤ {}", value(limit, unit)),
        Goal::None => String::new(),
    }
}

/// A positive number to three digits, or to as many as it has before the point.
pub(super) fn digits(number: f64) -> String {
    let places = match number {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_unit() {
        let seconds = |s| value(s, Unit::Seconds);
        assert_eq!(seconds(0.22e-6), "220 ns");
        assert_eq!(seconds(13.14e-6), "13.1 µs");
        assert_eq!(seconds(0.999_99), "1.00 s");
        assert_eq!(seconds(0.0402), "40.2 ms");
        assert_eq!(seconds(177.4), "177 s");
        assert_eq!(seconds(0.0), "0 s");
        assert_eq!(value(47_123_456.0, Unit::Bytes), "47.1 MB");
    }

    #[test]
    fn ratios_show_their_spread_if_there_is_one() {
        assert_eq!(ratio(Ratio { median: 27.5, low: 25.0, high: 130.2 }), "27.5× (25.0–130)");
        assert_eq!(ratio(Ratio { median: 1.0, low: 1.0, high: 1.0 }), "1.00×");
    }

    #[test]
    fn goals_read_as_they_were_set() {
        assert_eq!(goal(Goal::Ratio(1.5), Unit::Seconds), "≤ 1.5×");
        assert_eq!(goal(Goal::HandOffs(2), Unit::Seconds), "≤ 1.2× 2 hand-offs");
        assert_eq!(goal(Goal::AtMost(0.015), Unit::Seconds), "≤ 15.0 ms");
        assert_eq!(goal(Goal::AtMost(5e6), Unit::Bytes), "≤ 5.00 MB");
    }
}
