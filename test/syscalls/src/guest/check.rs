//! Asserts that say what was expected and what was seen.

use std::fmt::Debug;

/// `expect_eq!(got, want)`: fails as `got: expected want, got …`.
macro_rules! expect_eq {
    ($got:expr, $want:expr $(,)?) => {
        match (&$got, &$want) {
            (got, want) => {
                assert!(
                    *got == *want,
                    "{}: expected {}, got {}",
                    stringify!($got),
                    $crate::guest::show(want),
                    $crate::guest::show(got)
                );
            }
        }
    };
}

/// `check!(condition)` or `check!(condition, "what was seen {value}")`.
macro_rules! check {
    ($condition:expr $(,)?) => {
        assert!($condition, "expected {}, which does not hold", stringify!($condition))
    };
    ($condition:expr, $($seen:tt)+) => {
        assert!($condition, "expected {}, got {}", stringify!($condition), format_args!($($seen)+))
    };
}

pub(crate) use {check, expect_eq};

/// A value as a report shows it.
pub fn show(value: &(impl Debug + ?Sized)) -> String {
    format!("{value:?}")
}
