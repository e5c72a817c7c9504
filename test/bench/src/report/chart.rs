//! The chart: a dot for each column of each row, on a logarithmic axis of ratios to native.

use super::{Report, RowReport, units};
use crate::columns::Kind;
use svg::Document;
use svg::node::element::{Circle, Group, Line, Rectangle, Text, Title};

const LABELS: f64 = 270.0;
const WIDTH: f64 = 640.0;
const MARGIN: f64 = 20.0;
const LINE: f64 = 17.0;
const HEAD: f64 = 62.0;

/// Colours that stay apart for most eyes: blues are ours, warm ones are peers.
const OURS: [&str; 3] = ["#0b5fa5", "#56a8e0", "#083f5f"];
const PEERS: [&str; 6] = ["#d1495b", "#edae49", "#8f5d9e", "#9c6644", "#777777", "#b5b5b5"];

/// Maps ratios to the horizontal axis.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Whole decades around what is shown, from 0.1 to 10 at least.
    fn around(ratios: impl Iterator<Item = f64>) -> Self {
        let logarithms = ratios.filter(|ratio| *ratio > 0.0).map(f64::log10);
        let (low, high) =
            logarithms.fold((-1.0, 1.0), |(low, high): (f64, f64), l| (low.min(l), high.max(l)));
        Self { low: low.floor(), high: high.ceil() }
    }

    fn x(&self, ratio: f64) -> f64 {
        let part = (ratio.log10() - self.low) / (self.high - self.low);
        (LABELS + part.clamp(0.0, 1.0) * WIDTH).round()
    }

    /// Powers of ten.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (low, high) = (self.low, self.high);
        (-12..=12).map(f64::from).filter(move |l| (low..=high).contains(l)).map(|l| 10.0_f64.powf(l))
    }
}

/// Draws the report.
pub(crate) fn svg(report: &Report) -> String {
    let ratios = report.rows.iter().flat_map(|row| &row.cells).filter_map(|cell| cell.ratio);
    let axis = Axis::around(ratios.flat_map(|ratio| [ratio.low, ratio.high]));
    let mut drawing = Group::new();
    let mut y = HEAD + LINE;
    let mut group = "";
    for row in report.rows.iter().filter(|row| row.cells.iter().any(|cell| cell.ratio.is_some())) {
        if row.group != group {
            group = row.group;
            y += LINE;
            drawing = drawing.add(label(MARGIN, y, group).set("font-weight", "bold"));
            y += LINE;
        }
        drawing = drawing.add(draw_row(report, row, &axis, y));
        y += LINE;
    }
    let height = y + MARGIN;
    let mut document = Document::new()
        .set("viewBox", (0, 0, LABELS + WIDTH + 3.0 * MARGIN, height))
        .set("font-family", "sans-serif")
        .set("font-size", 12)
        .add(Rectangle::new().set("width", "100%").set("height", "100%").set("fill", "white"));
    for tick in axis.ticks() {
        let x = axis.x(tick);
        let colour = if tick == 1.0 { "#333333" } else { "#dddddd" };
        document = document.add(line(x, HEAD, x, height - MARGIN, colour, 1.0));
        document = document.add(label(x, HEAD - 6.0, &format!("{tick}×")).set("text-anchor", "middle"));
    }
    document.add(legend(report)).add(drawing).to_string() + "\n"
}

/// The colour of a column, by its place among its kind.
fn colour(report: &Report, index: usize) -> &'static str {
    let ours = |index: usize| report.columns.get(index).is_some_and(|column| column.kind == Kind::Ours);
    let place = (1..index).filter(|other| ours(*other) == ours(index)).count();
    let palette: &[&str] = if ours(index) { &OURS } else { &PEERS };
    palette.get(place % palette.len()).copied().unwrap_or("black")
}

fn legend(report: &Report) -> Group {
    let mut group = Group::new();
    let mut x = MARGIN;
    let drawn =
        |index: usize| report.rows.iter().any(|row| row.cells.get(index).is_some_and(|c| c.ratio.is_some()));
    for (index, column) in report.columns.iter().enumerate().filter(|(index, _)| drawn(*index)) {
        let dot = Circle::new().set("cx", x).set("cy", 18).set("r", 5).set("fill", colour(report, index));
        group = group.add(dot).add(label(x + 9.0, 22.0, &column.name));
        #[allow(clippy::cast_precision_loss, reason = "short names")]
        let width = column.name.chars().count() as f64 * 7.0;
        x += width + 32.0;
    }
    group = group.add(line(x, 11.0, x, 25.0, "#2a9d4a", 3.0));
    group.add(label(x + 9.0, 22.0, "goal")).add(label(x + 60.0, 22.0, "times native, median and spread"))
}

fn draw_row(report: &Report, row: &RowReport, axis: &Axis, y: f64) -> Group {
    let mut group = Group::new().add(label(LABELS - 10.0, y, &row.title).set("text-anchor", "end"));
    let middle = y - 4.0;
    let native = row.cells.first().and_then(|cell| cell.median).filter(|native| *native > 0.0);
    if let Some((limit, native)) = row.limit.zip(native) {
        let x = axis.x(limit / native);
        group = group.add(line(x, middle - 7.0, x, middle + 7.0, "#2a9d4a", 3.0));
    }
    for (index, cell) in row.cells.iter().enumerate() {
        let (Some(ratio), Some(median), Some(column)) = (cell.ratio, cell.median, report.columns.get(index))
        else {
            continue;
        };
        let colour = colour(report, index);
        let words = format!(
            "{}, {}: {}  {}",
            row.title,
            column.name,
            units::value(median, row.unit),
            units::ratio(ratio)
        );
        let dot = Circle::new().set("cx", axis.x(ratio.median)).set("cy", middle).set("r", 4.5);
        group = group
            .add(line(axis.x(ratio.low), middle, axis.x(ratio.high), middle, colour, 1.5))
            .add(dot.set("fill", colour).set("fill-opacity", 0.85).add(Title::new(words)));
    }
    group
}

fn label(x: f64, y: f64, text: &str) -> Text {
    Text::new(text).set("x", x).set("y", y)
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, width: f64) -> Line {
    let line = Line::new().set("x1", x1).set("y1", y1).set("x2", x2).set("y2", y2);
    line.set("stroke", colour).set("stroke-width", width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_has_whole_decades() {
        let axis = Axis::around([0.7, 350.0].into_iter());
        assert_eq!((axis.low, axis.high), (-1.0, 3.0));
        assert_eq!(axis.ticks().count(), 5);
        assert_eq!(axis.x(0.1), LABELS);
        assert_eq!(axis.x(1000.0), LABELS + WIDTH);
        assert_eq!(axis.x(10.0), LABELS + WIDTH / 2.0);
    }
}
