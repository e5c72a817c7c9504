//! Licences of dependencies, for machines without cargo-deny.

use crate::Finding;

/// Packages in the output of `cargo metadata --format-version 1` whose licence `deny.toml` does not allow.
pub fn licences(metadata: &str, deny: &str) -> Vec<Finding> {
    let allowed = allowed(deny);
    let mut found = Vec::new();
    for package in metadata.split("{\"name\":\"").skip(1) {
        let Some((name, rest)) = package.split_once('"') else { continue };
        // Targets and dependencies begin like packages, but tell no licence before the next name.
        let Some((_, licence)) = rest.split_once("\"license\":") else { continue };
        let licence = licence.strip_prefix('"').and_then(|l| l.split_once('"')).map_or("none", |(l, _)| l);
        if !allows(&allowed, licence) {
            found.push(Finding::new(
                "Cargo.lock",
                0,
                format!("{name}: licence {licence} is not in deny.toml"),
            ));
        }
    }
    found
}

/// What stands in `allow = […]` under `[licenses]`.
fn allowed(deny: &str) -> Vec<&str> {
    let section = deny.split("[licenses]").nth(1).unwrap_or_default();
    let list = section.split("allow = [").nth(1).and_then(|l| l.split(']').next()).unwrap_or_default();
    list.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty()).collect()
}

/// Whether one alternative of an SPDX expression is made of allowed licences alone. Parentheses are only ever put around
/// alternatives, so each `AND` part must have one.
fn allows(allowed: &[&str], expression: &str) -> bool {
    let one = |licence: &str| allowed.contains(&licence.trim().trim_matches(['(', ')']));
    let some = |part: &str| part.replace('/', " OR ").split(" OR ").any(one);
    if expression.contains('(') {
        expression.split(" AND ").all(some)
    } else {
        expression.replace('/', " OR ").split(" OR ").any(|all| all.split(" AND ").all(one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\"MIT\", \"Zlib\"]\n";

    #[test]
    fn one_alternative_is_enough_and_all_parts_are_needed() {
        let allows = |expression| allows(&allowed(DENY), expression);
        for good in
            ["MIT", "Apache-2.0 OR MIT", "Apache-2.0/MIT", "MIT AND Zlib", "(MIT OR GPL-3.0) AND Zlib"]
        {
            assert!(allows(good), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND GPL-3.0", "none"] {
            assert!(!allows(bad), "{bad}");
        }
    }

    #[test]
    fn packages_are_found_in_metadata() {
        let metadata = r#"{"packages":[{"name":"a","version":"1","license":"MIT","targets":[{"name":"t"}]},
            {"name":"b","license":"GPL-3.0"},{"name":"c","license":null}]}"#;
        let found = licences(metadata, DENY);
        let names: Vec<&str> = found.iter().map(|f| f.text.split(':').next().unwrap()).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
