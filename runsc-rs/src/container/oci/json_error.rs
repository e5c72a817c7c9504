//! What serde says about a malformed configuration, in words for the person who wrote it.

use anyhow::{Error, anyhow};
use serde_json::error::Category;

/// Rewords a deserialisation error: `process.user.uid: expected an unsigned 32-bit number, found "root"`.
pub(super) fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let inner = error.inner();
    if matches!(inner.classify(), Category::Syntax | Category::Eof) {
        return explain_syntax(inner);
    }
    let what = reword(without_position(&inner.to_string()));
    match error.path().to_string() {
        path if path == "." => anyhow!("{what}"),
        path => anyhow!("{path}: {what}"),
    }
}

/// Rewords an error about the JSON itself.
pub(super) fn explain_syntax(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    anyhow!("line {}, column {}: {}", error.line(), error.column(), without_position(&text))
}

fn without_position(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(text, _)| text)
}

/// serde's messages are `invalid type: FOUND, expected WANTED` and the like.
fn reword(text: &str) -> String {
    if let Some(field) = text.strip_prefix("missing field ") {
        return format!("{field} is missing");
    }
    if let Some((found, wanted)) =
        text.strip_prefix("unknown variant `").and_then(|t| t.split_once("`, expected "))
    {
        return format!("expected {}, found {found:?}", wanted.replace('`', ""));
    }
    let body = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "));
    match body.and_then(|body| body.rsplit_once(", expected ")) {
        Some((found, wanted)) => format!("expected {}, found {}", expected(wanted), found_as_written(found)),
        None => text.to_owned(),
    }
}

fn expected(wanted: &str) -> &str {
    match wanted {
        "u8" => "an unsigned 8-bit number",
        "u16" => "an unsigned 16-bit number",
        "u32" => "an unsigned 32-bit number",
        "u64" | "usize" => "an unsigned number",
        "i32" => "a 32-bit number",
        "i64" => "a number",
        "a sequence" => "an array",
        "a map" => "an object",
        "path string" => "a path",
        struct_name if struct_name.starts_with("struct ") => "an object",
        other => other,
    }
}

fn found_as_written(found: &str) -> String {
    match found {
        "map" => "an object".to_owned(),
        "sequence" => "an array".to_owned(),
        _ => {
            let written = ["string ", "integer ", "boolean ", "floating point "];
            let found = written.iter().find_map(|kind| found.strip_prefix(kind)).unwrap_or(found);
            found.replace('`', "")
        }
    }
}
