//! Random changes against a plain map of paths.

use super::Fixture;
use fs_vfs::{NodeKind, RenameFlags};
use proptest::prelude::*;
use sentry_uapi::Errno;
use sentry_uapi::errno::EXDEV;
use std::collections::BTreeMap;

/// Path to contents; none for a directory.
type Model = BTreeMap<String, Option<String>>;

const MIDDLE: &[&str] = &["a/", "a/p=mp", "b!", "c=mc"];
const BOTTOM: &[&str] = &["a/", "a/p=bp", "a/q=bq", "a/c/", "a/c/p=bcp", "b/", "b/q=bbq", "c/", "c/q=bcq"];

fn start() -> Model {
    [
        ("a", None),
        ("a/p", Some("mp")),
        ("a/q", Some("bq")),
        ("a/c", None),
        ("a/c/p", Some("bcp")),
        ("c", Some("mc")),
    ]
    .into_iter()
    .map(|(path, data)| (path.to_owned(), data.map(str::to_owned)))
    .collect()
}

#[derive(Clone, Debug)]
enum Op {
    Create(String),
    Mkdir(String),
    Write(String, String),
    Remove(String),
    Rename(String, String),
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "p", "q"]), 1..4).prop_map(|p| p.join("/"))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => path().prop_map(Op::Create),
        2 => path().prop_map(Op::Mkdir),
        2 => (path(), "[a-z]{1,4}").prop_map(|(p, d)| Op::Write(p, d)),
        4 => path().prop_map(Op::Remove),
        4 => (path(), path()).prop_map(|(a, b)| Op::Rename(a, b)),
    ]
}

fn children<'a>(model: &'a Model, dir: &str) -> Vec<&'a str> {
    let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
    let below = model.keys().filter_map(|p| p.strip_prefix(prefix.as_str()));
    below.filter(|rest| !rest.contains('/')).collect()
}

fn is_dir(model: &Model, path: &str) -> bool {
    path.is_empty() || matches!(model.get(path), Some(None))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Whether the model lets a rename happen; the VFS's own checks included.
fn may_rename(model: &Model, old: &str, new: &str) -> bool {
    let (from, to) = (model.get(old), model.get(new));
    let types_fit = match (from, to) {
        (Some(None), Some(None)) => children(model, new).is_empty(),
        (Some(None), Some(Some(_))) | (Some(Some(_)), Some(None)) | (None, _) => false,
        _ => true,
    };
    let inside = new == old || new.starts_with(&format!("{old}/")) || old.starts_with(&format!("{new}/"));
    types_fit && !inside && is_dir(model, parent(new))
}

fn apply(fs: &Fixture, model: &mut Model, op: &Op) -> Result<(), Errno> {
    match op {
        Op::Create(path) | Op::Mkdir(path) => {
            let dir = matches!(op, Op::Mkdir(_));
            let kind = if dir { NodeKind::Directory } else { NodeKind::Regular };
            let may = is_dir(model, parent(path)) && !model.contains_key(path);
            assert_eq!(fs.make(path, kind).is_ok(), may, "{op:?}");
            if may {
                model.insert(path.clone(), (!dir).then(String::new));
            }
        }
        Op::Write(path, data) => {
            if let Some(Some(old)) = model.get_mut(path) {
                fs.put(path, data)?;
                let kept = old.get(data.len()..).unwrap_or("").to_owned();
                *old = data.clone() + &kept;
            }
        }
        Op::Remove(path) => {
            let may = model.contains_key(path) && children(model, path).is_empty();
            assert_eq!(fs.remove(path).is_ok(), may, "{op:?}");
            if may {
                model.remove(path);
            }
        }
        Op::Rename(old, new) if may_rename(model, old, new) => {
            match fs.rename(old, new, RenameFlags::empty()) {
                Err(EXDEV) => assert!(is_dir(model, old)),
                result => {
                    assert_eq!(result, Ok(()), "{op:?}");
                    let moved: Vec<String> = model
                        .keys()
                        .filter(|p| *p == old || p.starts_with(&format!("{old}/")))
                        .cloned()
                        .collect();
                    model.remove(new);
                    for path in moved {
                        if let Some(node) = model.remove(&path) {
                            model.insert(format!("{new}{}", &path[old.len()..]), node);
                        }
                    }
                }
            }
        }
        Op::Rename(..) => {}
    }
    Ok(())
}

fn check(fs: &Fixture, model: &Model) -> Result<(), Errno> {
    let dirs = model.iter().filter(|(_, data)| data.is_none()).map(|(path, _)| path.as_str());
    for dir in dirs.chain([""]) {
        assert_eq!(fs.list(dir)?, children(model, dir), "in {dir:?}");
    }
    for (path, data) in model {
        if let Some(data) = data {
            assert_eq!(&fs.get(path)?, data, "{path}");
        }
    }
    Ok(())
}

fn run(ops: &[Op]) -> Result<(), Errno> {
    let fs = Fixture::new(&[MIDDLE, BOTTOM], Some(&[]))?;
    let mut model = start();
    check(&fs, &model)?;
    for op in ops {
        apply(&fs, &mut model, op)?;
        check(&fs, &model)?;
    }
    // What is seen does not rest on inodes that happened to be in use.
    let upper = fs.upper.clone();
    let again = crate::new_super(crate::OverlayParams {
        vfs: fs.ctx.vfs.clone(),
        cred: fs.ctx.cred.clone(),
        user_ns: fs.ctx.cred.user_ns.clone(),
        lower: fs.lower.clone(),
        upper,
        source: Vec::new(),
        options: String::new(),
    })?;
    check(&Fixture { root: again, ..fs }, &model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_overlay_agrees_with_a_map(ops in prop::collection::vec(op(), 1..30)) {
        prop_assert_eq!(run(&ops), Ok(()));
    }
}
