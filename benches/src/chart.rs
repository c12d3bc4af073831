//! One chart for each scenario: bars, or lines over its axis.

mod bars;
mod canvas;
mod lines;
mod scale;

use std::fs;

use plotters::{backend::SVGBackend, drawing::IntoDrawingArea, style::text_anchor::HPos};

use self::canvas::{Drawn, INK, PAPER, WIDTH, cannot_draw, label, write};
use crate::record::{Directories, Record, ScenarioRecord};

/// Draws the charts of a run, and copies them to where BENCHMARKS.md shows them if `keep` says so.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn draw(directories: &Directories, record: &Record, keep: bool) -> Result<(), String> {
    for scenario in &record.scenarios {
        let Some(svg) = svg(scenario)? else { continue };
        let name = format!("{}.svg", scenario.name);
        crate::record::write(&directories.charts().join(&name), &svg)?;
        if keep {
            crate::record::write(&directories.kept_charts().join(&name), &svg)?;
        }
    }
    if keep {
        remove_others(directories, record);
    }
    Ok(())
}

/// Removes charts of scenarios that no longer exist.
fn remove_others(directories: &Directories, record: &Record) {
    for path in
        fs::read_dir(directories.kept_charts()).into_iter().flatten().flatten().map(|entry| entry.path())
    {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let is_chart = path.extension().is_some_and(|extension| extension == "svg");
        if is_chart && !record.scenarios.iter().any(|scenario| scenario.name == stem) {
            // A chart that stays does no harm.
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
        area.fill(&PAPER).map_err(cannot_draw)?;
        write(&area, &scenario.title, (20, 24), &label(18, INK, HPos::Left).bold())?;
        if points == 1 { bars::draw(&area, scenario, height) } else { lines::draw(&area, scenario, height) }?;
        area.present().map_err(cannot_draw)?;
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{
            Kind, Point,
            tests::{record, row, scenario},
        },
        units::Unit,
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
        let directories = Directories::at(dir.path());
        let run = record(vec![one(), many()]);
        draw(&directories, &run, false).unwrap();
        assert!(directories.charts().join("cell.svg").exists() && !directories.kept_charts().exists());
        fs::create_dir_all(directories.kept_charts()).unwrap();
        fs::write(directories.kept_charts().join("gone.svg"), "").unwrap();
        draw(&directories, &run, true).unwrap();
        assert!(directories.kept_charts().join("text-in.svg").exists());
        assert!(!directories.kept_charts().join("gone.svg").exists());
        if let Ok(directory) = std::env::var("ABYME_SHOW_CHARTS") {
            draw(&Directories::at(directory.as_ref()), &run, false).unwrap();
        }
    }
}
