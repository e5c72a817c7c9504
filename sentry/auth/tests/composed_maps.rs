//! Id maps of namespaces within namespaces, against a model that looks at every line.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sentry_auth::{Cred, IdKind, Kuid, UserNamespace};
use std::sync::Arc;

/// One line as it is written: first id inside, first id of the parent, count.
type Line = (u32, u32, u32);

/// Ids are small, so that lines meet.
const IDS: u32 = 48;

/// Lines of at most `longest` ids that overlap on neither side, wherever their ids may lead.
fn lines(longest: u32) -> impl Strategy<Value = Vec<Line>> {
    prop::collection::vec((0..IDS, 0..IDS, 1..=longest), 1..4).prop_map(|wanted| {
        let meet = |a: u32, n: u32, b: u32, m: u32| a < b + m && b < a + n;
        let mut lines: Vec<Line> = Vec::new();
        for (first, lower, count) in wanted {
            let free = lines.iter().all(|l| !meet(first, count, l.0, l.2) && !meet(lower, count, l.1, l.2));
            if free {
                lines.push((first, lower, count));
            }
        }
        lines
    })
}

/// The id of the parent that `id` stands for.
fn down(lines: &[Line], id: u32) -> Option<u32> {
    let line = lines.iter().find(|l| (l.0..l.0 + l.2).contains(&id))?;
    Some(line.1 + (id - line.0))
}

/// A child of the namespace of `cred` with this map, if the kernel takes it.
fn child(cred: &Cred, lines: &[Line]) -> Result<Cred, ()> {
    let ns: Arc<UserNamespace> = UserNamespace::create_user_ns(cred, false).unwrap();
    let text: String = lines.iter().map(|l| format!("{} {} {}\n", l.0, l.1, l.2)).collect();
    ns.map_write(IdKind::Uid, text.as_bytes(), cred, cred).map_err(|_| ())?;
    ns.map_write(IdKind::Gid, text.as_bytes(), cred, cred).map_err(|_| ())?;
    let mut inside = cred.in_user_ns(ns);
    // Somebody who has an id there, and may make namespaces in turn.
    let first = lines.first().unwrap().0;
    inside.euid = inside.user_ns.make_kuid(first);
    inside.egid = inside.user_ns.make_kgid(first);
    Ok(inside)
}

/// Whether each line lies within one line of the map above: otherwise it is refused.
fn within(lines: &[Line], above: Option<&[Line]>) -> bool {
    let Some(above) = above else { return true };
    lines.iter().all(|l| above.iter().any(|a| a.0 <= l.1 && l.1 + l.2 <= a.0 + a.2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn three_levels_agree_with_a_naive_model(maps in [lines(40), lines(8), lines(2)]) {
        let mut cred = Cred::root(UserNamespace::new_initial());
        let mut taken: Vec<&[Line]> = Vec::new();
        for lines in &maps {
            let fits = within(lines, taken.last().copied());
            match child(&cred, lines) {
                Ok(inside) => {
                    prop_assert!(fits, "{:?} is not within {:?}", lines, taken.last());
                    cred = inside;
                    taken.push(lines);
                }
                Err(()) => {
                    prop_assert!(!fits, "{:?} is within {:?}", lines, taken.last());
                    break;
                }
            }
        }
        for id in 0..IDS + 40 {
            let kernel = taken.iter().rev().try_fold(id, |id, lines| down(lines, id));
            let seen = cred.user_ns.make_kuid(id);
            prop_assert_eq!(Some(seen).filter(|k| k.is_valid()).map(Kuid::to_global), kernel);
            if let Some(kernel) = kernel {
                prop_assert_eq!(cred.user_ns.from_kuid(Kuid::from_global(kernel)), Some(id));
            }
        }
        // No namespace names an id that the one above does not.
        let mut ns = &cred.user_ns;
        while let Some(above) = ns.parent() {
            for kernel in (0..IDS + 40).map(Kuid::from_global) {
                prop_assert!(ns.from_kuid(kernel).is_none() || above.from_kuid(kernel).is_some());
            }
            ns = above;
        }
    }
}
