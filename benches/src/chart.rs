//! One chart for each scenario: bars, or lines over its axis.

mod bars;
mod lines;
mod scale;

use std::fs;

use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    style::{
        Color, FontFamily, FontStyle, IntoTextStyle, RGBColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::record::{Kind, Places, Record, ScenarioRecord};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What a drawing can fail with is of no use to anybody but as text.
type Drawn<T = ()> = Result<T, String>;

const WIDTH: i32 = 900;
const INK: RGBColor = RGBColor(31, 35, 40);
const GRAY: RGBColor = RGBColor(110, 118, 129);
const GRID: RGBColor = RGBColor(225, 228, 232);
const PAPER: RGBColor = RGBColor(255, 255, 255);
/// Ours, each its own; peers and floors take theirs in turn. All are told apart by the colour-blind (Okabe and Ito).
const OURS: &[RGBColor] = &[
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(86, 180, 233),
    RGBColor(0, 60, 110),
    RGBColor(70, 70, 160),
];
const PEERS: &[RGBColor] =
    &[RGBColor(213, 94, 0), RGBColor(230, 159, 0), RGBColor(204, 121, 167), RGBColor(150, 60, 20)];
const FLOORS: &[RGBColor] = &[RGBColor(150, 156, 163), RGBColor(100, 105, 112), RGBColor(190, 195, 200)];

/// Draws the charts of a run, and copies them to where BENCHMARKS.md shows them if `keep` says so.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn draw(places: &Places, record: &Record, keep: bool) -> Result<(), String> {
    for scenario in &record.scenarios {
        let Some(svg) = svg(scenario)? else { continue };
        let name = format!("{}.svg", scenario.name);
        crate::record::write(&places.charts().join(&name), &svg)?;
        if keep {
            crate::record::write(&places.kept_charts().join(&name), &svg)?;
        }
    }
    if keep {
        remove_others(places, record);
    }
    Ok(())
}

/// Charts of scenarios that are no more would be shown by nothing.
fn remove_others(places: &Places, record: &Record) {
    for path in fs::read_dir(places.kept_charts()).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let is_chart = path.extension().is_some_and(|extension| extension == "svg");
        if is_chart && !record.scenarios.iter().any(|scenario| scenario.name == stem) {
            // One that stays does no harm.
            let _ = fs::remove_file(path);
        }
    }
}

/// `None` if nothing was measured.
fn svg(scenario: &ScenarioRecord) -> Drawn<Option<String>> {
    let measured = |point: &&crate::record::Point| point.rows.iter().any(|row| row.median().is_some());
    let points = scenario.points.iter().filter(measured).count();
    let height = match points {
        0 => return Ok(None),
        1 => bars::height(scenario),
        _ => lines::height(scenario),
    };
    let mut text = String::new();
    {
        let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&PAPER).map_err(shown)?;
        write(&area, &scenario.title, (20, 24), &label(18, INK, HPos::Left).bold())?;
        if points == 1 { bars::draw(&area, scenario, height) } else { lines::draw(&area, scenario, height) }?;
        area.present().map_err(shown)?;
    }
    Ok(Some(text))
}

/// The colour of each subject of a scenario: the same at all points.
fn colours(scenario: &ScenarioRecord) -> Vec<(String, Kind, RGBColor)> {
    let mut found: Vec<(String, Kind, RGBColor)> = Vec::new();
    for row in scenario.points.iter().flat_map(|point| &point.rows) {
        if found.iter().any(|(subject, kind, _)| (subject, kind) == (&row.subject, &row.kind)) {
            continue;
        }
        let palette = match row.kind {
            Kind::Backend | Kind::Loop => OURS,
            Kind::Peer => PEERS,
            Kind::Floor => FLOORS,
        };
        let taken = found
            .iter()
            .filter(|(_, kind, _)| {
                kind.is_ours() == row.kind.is_ours() && (row.kind.is_ours() || *kind == row.kind)
            })
            .count();
        // Backends keep their colour from chart to chart, whoever else takes part.
        let place = crate::subjects::BACKENDS.iter().position(|name| *name == row.subject).unwrap_or(taken);
        found.push((row.subject.clone(), row.kind, palette[place % palette.len()]));
    }
    found
}

struct Label {
    size: i32,
    colour: RGBColor,
    side: HPos,
    bold: bool,
}

impl Label {
    fn bold(mut self) -> Self {
        self.bold = true;
        self
    }
}

fn label(size: i32, colour: RGBColor, side: HPos) -> Label {
    Label { size, colour, side, bold: false }
}

/// Writes text whose vertical middle is at `at`.
fn write(area: &Area<'_>, text: &str, at: (i32, i32), label: &Label) -> Drawn {
    let weight = if label.bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = (FontFamily::SansSerif, label.size, weight);
    let style: TextStyle<'_> =
        font.into_text_style(area).color(&label.colour).pos(Pos::new(label.side, VPos::Center));
    area.draw_text(text, &style, at).map_err(shown)
}

fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), style: impl Into<ShapeStyle>) -> Drawn {
    area.draw(&plotters::element::PathElement::new(vec![from, to], style)).map_err(shown)
}

fn shown(error: impl std::fmt::Display) -> String {
    format!("cannot draw a chart: {error}")
}

/// A line of the grid.
fn grid() -> ShapeStyle {
    GRID.stroke_width(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{
            Point,
            tests::{record, row, scenario},
        },
        scenario::Unit,
    };

    fn one() -> ScenarioRecord {
        let mut wasm = row("wasm", Kind::Backend, &[0.000_016, 0.000_018]);
        wasm.goal = Some(0.000_025);
        let mut docker = row("docker", Kind::Backend, &[]);
        docker.problem = Some("the engine went away <in the middle> of everything".into());
        let rest = [row("subprocess", Kind::Backend, &[0.000_050]), row("dspy-deno", Kind::Peer, &[0.0016])];
        let mut rows = vec![wasm, docker, row("pipe", Kind::Floor, &[0.000_006])];
        rows.extend(rest);
        scenario(Unit::Seconds, vec![Point { at: None, rows }])
    }

    fn many() -> ScenarioRecord {
        let points = [1, 10, 100, 1000].map(|at| {
            let value = at as f64 * 0.000_5;
            let mut wasm = row("wasm", Kind::Backend, &[value]);
            wasm.goal = (at == 100).then_some(0.04);
            let mut deno = row("dspy-deno", Kind::Peer, &[value * 90.0]);
            if at > 100 {
                deno.problem = Some("fails above 128 MB".into());
            }
            Point { at: Some(at), rows: vec![wasm, deno, row("memcpy", Kind::Floor, &[value * 0.2])] }
        });
        let mut scenario = scenario(Unit::Seconds, points.into());
        scenario.name = "text-in".into();
        scenario.title = "text in".into();
        scenario
    }

    #[test]
    fn bars_have_names_numbers_and_reasons() {
        let svg = svg(&one()).unwrap().unwrap();
        for part in
            ["cell round trip", "wasm", "17.0 µs", "1.60 ms", "the engine went away", "&lt;in the", "goal"]
        {
            assert!(svg.contains(part), "{part} is not in\n{svg}");
        }
        // 1.6 ms and 6 µs do not fit on one linear scale.
        assert!(svg.contains("log scale"), "{svg}");
    }

    #[test]
    fn lines_have_an_axis_with_its_name() {
        let svg = svg(&many()).unwrap().unwrap();
        for part in ["text in", "megabytes", "1 000", "dspy-deno", "memcpy", "log scale"] {
            assert!(svg.contains(part), "{part} is not in\n{svg}");
        }
    }

    #[test]
    fn zero_and_nothing_are_drawn_too() {
        let zero = row("wasm", Kind::Backend, &[0.0]);
        let share = scenario(Unit::Share, vec![Point { at: None, rows: vec![zero] }]);
        assert!(svg(&share).unwrap().unwrap().contains("wasm"));
        assert!(svg(&scenario(Unit::Share, Vec::new())).unwrap().is_none());
    }

    #[test]
    fn files_are_kept_by_a_full_run_only() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::at(dir.path());
        let run = record(vec![one(), many()]);
        draw(&places, &run, false).unwrap();
        assert!(places.charts().join("cell.svg").exists() && !places.kept_charts().exists());
        fs::create_dir_all(places.kept_charts()).unwrap();
        fs::write(places.kept_charts().join("gone.svg"), "").unwrap();
        draw(&places, &run, true).unwrap();
        assert!(places.kept_charts().join("text-in.svg").exists());
        assert!(!places.kept_charts().join("gone.svg").exists());
        if let Ok(shown) = std::env::var("ABYME_SHOW_CHARTS") {
            draw(&Places::at(shown.as_ref()), &run, false).unwrap();
        }
    }
}
