//! A scenario with one point: a bar for each system, its number beside it, its goal as a mark.

use plotters::{
    element::Rectangle,
    style::{Color, text_anchor::HPos},
};

use super::{
    canvas::{Area, Drawn, GRAY, INK, WIDTH, cannot_draw, colours, grid, label, line, write},
    scale::Scale,
};
use crate::{
    record::{Point, ScenarioRecord},
    units::count,
};

const ROW: i32 = 30;
const TOP: i32 = 62;
const BELOW: i32 = 40;
/// Where bars begin and end; what is right of it is room for their numbers.
const LEFT: i32 = 200;
const RIGHT: i32 = WIDTH - 130;

/// The one point that has results.
fn point(scenario: &ScenarioRecord) -> Option<&Point> {
    scenario.points.iter().find(|point| point.rows.iter().any(|row| row.median().is_some()))
}

pub(super) fn height(scenario: &ScenarioRecord) -> i32 {
    let rows = point(scenario).map_or(0, |point| point.rows.len());
    TOP + BELOW + ROW * i32::try_from(rows).unwrap_or(0)
}

pub(super) fn draw(area: &Area<'_>, scenario: &ScenarioRecord, height: i32) -> Drawn {
    let Some(point) = point(scenario) else { return Ok(()) };
    let goals = point.rows.iter().filter_map(|row| row.goal);
    let values: Vec<f64> = point.rows.iter().filter_map(|row| row.median()).chain(goals).collect();
    let scale = Scale::new(&values, LEFT, RIGHT);
    write(area, &subtitle(scenario, point, scale), (20, 46), &label(13, GRAY, HPos::Left))?;
    let bottom = height - BELOW + 4;
    for tick in scale.ticks() {
        let x = scale.at(tick);
        line(area, (x, TOP - 2), (x, bottom), grid())?;
        write(area, &scenario.unit.show_round(tick), (x, bottom + 14), &label(12, GRAY, HPos::Center))?;
    }
    let colours = colours(scenario);
    for (index, row) in point.rows.iter().enumerate() {
        let top = TOP + ROW * i32::try_from(index).unwrap_or(0);
        let middle = top + ROW / 2;
        write(area, &row.system, (LEFT - 10, middle), &label(14, INK, HPos::Right))?;
        let Some(median) = row.median() else {
            let reason = short(row.problem.as_deref().unwrap_or("nothing was measured"));
            write(area, &reason, (LEFT + 6, middle), &label(12, GRAY, HPos::Left))?;
            continue;
        };
        let colour = colours.iter().find(|(system, kind, _)| (system, kind) == (&row.system, &row.kind));
        let colour = colour.map_or(GRAY, |(_, _, colour)| *colour);
        let corners = [(LEFT, top + 5), (scale.at(median).max(LEFT + 1), top + ROW - 5)];
        area.draw(&Rectangle::new(corners, colour.filled())).map_err(cannot_draw)?;
        let mut end = scale.at(median);
        if let Some(goal) = row.goal {
            let x = scale.at(goal);
            line(area, (x, top + 1), (x, top + ROW - 1), INK.stroke_width(3))?;
            // The number is not written over the mark.
            if (end..end + 90).contains(&x) {
                end = x;
            }
        }
        write(area, &scenario.unit.show(median), (end + 8, middle), &label(13, INK, HPos::Left))?;
    }
    Ok(())
}

fn subtitle(scenario: &ScenarioRecord, point: &Point, scale: Scale) -> String {
    let mut parts = Vec::new();
    if let (Some(axis), Some(at)) = (&scenario.axis, point.at) {
        parts.push(format!("{axis}: {}", count(at)));
    }
    let better = if scenario.unit.more_is_better() { "longer is better" } else { "shorter is better" };
    parts.push(format!("median, {better}"));
    if scale.is_log {
        parts.push("log scale".to_owned());
    }
    if point.rows.iter().any(|row| row.goal.is_some()) {
        parts.push("black mark: goal".to_owned());
    }
    parts.join("; ")
}

/// A reason in the room of a bar.
fn short(reason: &str) -> String {
    const FITS: usize = 90;
    match reason.char_indices().nth(FITS) {
        Some((end, _)) => format!("{} ...", &reason[..end]),
        None => reason.to_owned(),
    }
}
