use super::*;
use crate::measure::Sample;
use crate::rows;

fn cell(values: &[f64]) -> Cell {
    let samples = values.iter().map(|value| Sample { value: *value, cpu: Some(0.5) }).collect();
    Cell { samples, ..Cell::default() }
}

fn columns() -> Vec<Column> {
    [("native", Kind::Native), ("systrap", Kind::Ours), ("runsc:systrap", Kind::Runsc)]
        .map(|(name, kind)| Column::named(name, kind))
        .into()
}

fn report() -> Report {
    let ids = ["getppid", "hand-off", "getppid/1cpu", "xz"];
    let rows: Vec<Row> =
        ids.iter().flat_map(|id| rows::all(true).into_iter().filter(|row| row.id == *id)).collect();
    let failed = Cell { failure: Some("exit status: 1: no".into()), ..Cell::default() };
    let measured = vec![
        vec![cell(&[1e-7, 1e-7]), cell(&[1.2e-7, 1.4e-7]), cell(&[2.6e-6, 2.6e-6])],
        vec![cell(&[1e-5]), Cell::default(), Cell::default()],
        vec![cell(&[1e-7]), cell(&[1.3e-5]), cell(&[2e-5])],
        vec![cell(&[1.0]), failed.clone(), failed],
    ];
    Report::new("a machine".into(), "quick", &columns(), &rows, &measured, vec!["kvm: left out".into()])
}

#[test]
fn cells_are_judged_by_their_rows_goals() {
    let report = report();
    let [spare, hand_off, pinned, program] = &report.rows[..] else { panic!("four rows") };
    assert_eq!(spare.cells[1].met, Some(true));
    assert_eq!(spare.cells[2].met, None, "peers have no goals");
    assert_eq!(hand_off.cells[1].median, None);
    assert!((pinned.limit.unwrap() - 1.2e-5).abs() < 1e-12);
    assert_eq!(pinned.cells[1].met, Some(false));
    assert_eq!(program.cells[1].met, None);
    assert!((spare.against_peers.unwrap() - 0.05).abs() < 1e-9);
    assert_eq!(
        report.summary(),
        ["systrap: 1 of 2 goals met; ahead of the best peer in 2 of 2 rows; 1 without a number"]
    );
}

#[test]
fn tables_show_numbers_and_reasons() {
    let text = tables(&report(), Style::Terminal);
    let line = text.lines().find(|line| line.contains("getppid")).unwrap();
    let words = ["100 ns", "130 ns  1.30× (1.20–1.40) ✓", "2.60 µs  26.0×", "≤ 1.5×", "0.05×"];
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    assert!(text.contains("xz, systrap, runsc:systrap: exit status: 1: no\n"), "{text}");
    assert!(text.contains("kvm: left out"));
    let markdown = tables(&report(), Style::Markdown);
    assert!(markdown.contains("### Calls, a CPU to spare\n\n|"), "{markdown}");
}

#[test]
fn exits_have_a_table_where_there_are_any() {
    assert!(!tables(&report(), Style::Terminal).contains("exits"));
    let mut report = report();
    report.rows[0].cells[1].exits = Some(1.004);
    let text = tables(&report, Style::Terminal);
    let table: Vec<&str> =
        text.split("== exits").nth(1).unwrap().lines().skip(4).take(2).map(str::trim).collect();
    assert_eq!(table, ["getppid      1.00", ""], "{text}");
}

#[test]
fn json_has_every_repetition() {
    let value: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
    assert_eq!(value["rows"][0]["cells"][1]["values"][1], 1.4e-7);
    assert_eq!(value["rows"][0]["goal"]["ratio"], 1.5);
    assert_eq!(value["rows"][3]["cells"][1]["failure"], "exit status: 1: no");
}

#[test]
fn the_chart_has_a_dot_for_each_ratio() {
    let text = svg(&report());
    // Two rows with two ratios each, and two in the legend.
    assert_eq!(text.matches("<circle").count(), 6, "{text}");
    assert!(text.contains("getppid, systrap: 130 ns"));
}

#[test]
fn markdown_replaces_what_is_between_the_marks() {
    let old = "# Title\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nrest\n";
    assert_eq!(between_marks(old, "new"), "# Title\n<!-- bench: begin -->\nnew\n<!-- bench: end -->\nrest\n");
    assert_eq!(between_marks("no marks", "new"), "new\n");
}
