//! A scenario with an axis: a line for each system, its name at the end, its goals as rings.

use plotters::{
    element::{Circle, PathElement},
    style::{Color, text_anchor::HPos},
};

use super::{
    canvas::{Area, Drawn, GRAY, INK, WIDTH, cannot_draw, colours, grid, label, line, write},
    scale::Scale,
};
use crate::{
    record::{Kind, ScenarioRecord},
    units::count,
};

const HEIGHT: i32 = 440;
const TOP: i32 = 70;
const BOTTOM: i32 = HEIGHT - 60;
const LEFT: i32 = 90;
/// What is right of it is room for names.
const RIGHT: i32 = WIDTH - 290;
/// Names are not written over each other.
const NAME: i32 = 17;

pub(super) fn height(_: &ScenarioRecord) -> i32 {
    HEIGHT
}

pub(super) fn draw(area: &Area<'_>, scenario: &ScenarioRecord, _: i32) -> Drawn {
    let at: Vec<u64> = scenario.points.iter().filter_map(|point| point.at).collect();
    let values_across: Vec<f64> = at.iter().map(|&at| at as f64).collect();
    let rows = || scenario.points.iter().flat_map(|point| &point.rows);
    let values: Vec<f64> = rows().flat_map(|row| [row.median(), row.goal]).flatten().collect();
    let (across, up) = (Scale::new(&values_across, LEFT, RIGHT), Scale::new(&values, BOTTOM, TOP));
    frame(area, scenario, &at, across, up)?;
    let mut names = Vec::new();
    for (system, kind, colour) in colours(scenario) {
        let mut path = Vec::new();
        for point in &scenario.points {
            let own = point.rows.iter().find(|row| row.system == system && row.kind == kind);
            let (Some(at), Some(row)) = (point.at, own) else { continue };
            if let Some(goal) = row.goal {
                let ring = Circle::new((across.at(at as f64), up.at(goal)), 7, colour.stroke_width(2));
                area.draw(&ring).map_err(cannot_draw)?;
            }
            path.extend(row.median().map(|median| (across.at(at as f64), up.at(median), median, at)));
        }
        let Some(&(_, y, median, last)) = path.last() else { continue };
        let ends = if at.last() == Some(&last) { String::new() } else { format!(" (at {})", count(last)) };
        names.push((y, format!("{system}: {}{ends}", scenario.unit.show(median)), colour));
        let points: Vec<(i32, i32)> = path.iter().map(|(x, y, ..)| (*x, *y)).collect();
        let width = if kind == Kind::Floor { 1 } else { 2 };
        area.draw(&PathElement::new(points.clone(), colour.stroke_width(width))).map_err(cannot_draw)?;
        for point in points {
            area.draw(&Circle::new(point, 3, colour.filled())).map_err(cannot_draw)?;
        }
    }
    names.sort_by_key(|(y, _, _)| *y);
    for (y, (_, name, colour)) in
        apart(&names.iter().map(|(y, _, _)| *y).collect::<Vec<_>>()).into_iter().zip(names)
    {
        write(area, &name, (RIGHT + 12, y), &label(13, colour, HPos::Left).bold())?;
    }
    Ok(())
}

fn frame(area: &Area<'_>, scenario: &ScenarioRecord, at: &[u64], across: Scale, up: Scale) -> Drawn {
    let better = if scenario.unit.more_is_better() { "higher is better" } else { "lower is better" };
    let mut parts = vec![format!("median, {better}")];
    match (across.is_log, up.is_log) {
        (true, true) => parts.push("log scale on both axes".to_owned()),
        (true, false) => parts.push("log scale across".to_owned()),
        (false, true) => parts.push("log scale upwards".to_owned()),
        (false, false) => {}
    }
    if scenario.points.iter().any(|point| point.rows.iter().any(|row| row.goal.is_some())) {
        parts.push("ring: goal of that colour".to_owned());
    }
    write(area, &parts.join("; "), (20, 46), &label(13, GRAY, HPos::Left))?;
    for tick in up.ticks() {
        let y = up.at(tick);
        line(area, (LEFT, y), (RIGHT, y), grid())?;
        write(area, &scenario.unit.show_round(tick), (LEFT - 8, y), &label(12, GRAY, HPos::Right))?;
    }
    // What was measured is labelled, and not what is round.
    for &value in at {
        let x = across.at(value as f64);
        line(area, (x, TOP), (x, BOTTOM), grid())?;
        write(area, &count(value), (x, BOTTOM + 16), &label(12, GRAY, HPos::Center))?;
    }
    let axis = scenario.axis.as_deref().unwrap_or_default();
    write(area, axis, ((LEFT + RIGHT) / 2, BOTTOM + 40), &label(13, INK, HPos::Center))
}

/// Moves places down, and where there is no room left up, until names fit between them.
fn apart(places: &[i32]) -> Vec<i32> {
    let mut moved = places.to_vec();
    for place in 1..moved.len() {
        moved[place] = moved[place].max(moved[place - 1] + NAME);
    }
    let mut limit = BOTTOM;
    for place in moved.iter_mut().rev() {
        *place = (*place).min(limit);
        limit = *place - NAME;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_overlap() {
        assert_eq!(apart(&[100, 101, 200]), [100, 117, 200]);
        assert_eq!(apart(&[BOTTOM - 1, BOTTOM]), [BOTTOM - NAME, BOTTOM]);
        assert_eq!(apart(&[]), [0; 0]);
    }
}
