//! What all charts are drawn with: sizes, colours, text and lines.

use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::DrawingArea,
    style::{
        Color, FontFamily, FontStyle, IntoTextStyle, RGBColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::{
    record::{Kind, ScenarioRecord},
    systems::BACKENDS,
};

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// The result of drawing: its errors are only ever shown, so they are texts.
pub(super) type Drawn<T = ()> = Result<T, String>;

pub(super) const WIDTH: i32 = 900;
pub(super) const INK: RGBColor = RGBColor(31, 35, 40);
pub(super) const GRAY: RGBColor = RGBColor(110, 118, 129);
const GRID: RGBColor = RGBColor(225, 228, 232);
pub(super) const PAPER: RGBColor = RGBColor(255, 255, 255);
/// The colours of our backends, one each. Peers and floors take theirs in turn. The colour-blind can tell
/// them all apart (Okabe and Ito).
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

/// The colour of each system of a scenario: the same at all points.
pub(super) fn colours(scenario: &ScenarioRecord) -> Vec<(String, Kind, RGBColor)> {
    let mut found: Vec<(String, Kind, RGBColor)> = Vec::new();
    for row in scenario.points.iter().flat_map(|point| &point.rows) {
        if found.iter().any(|(system, kind, _)| (system, kind) == (&row.system, &row.kind)) {
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
        // Backends keep their colour from chart to chart, whatever else takes part.
        let index = BACKENDS.iter().position(|name| *name == row.system).unwrap_or(taken);
        found.push((row.system.clone(), row.kind, palette[index % palette.len()]));
    }
    found
}

pub(super) struct Label {
    size: i32,
    colour: RGBColor,
    side: HPos,
    bold: bool,
}

impl Label {
    pub(super) fn bold(mut self) -> Self {
        self.bold = true;
        self
    }
}

pub(super) fn label(size: i32, colour: RGBColor, side: HPos) -> Label {
    Label { size, colour, side, bold: false }
}

/// Writes text whose vertical middle is at `at`.
pub(super) fn write(area: &Area<'_>, text: &str, at: (i32, i32), label: &Label) -> Drawn {
    let weight = if label.bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = (FontFamily::SansSerif, label.size, weight);
    let style: TextStyle<'_> =
        font.into_text_style(area).color(&label.colour).pos(Pos::new(label.side, VPos::Center));
    area.draw_text(text, &style, at).map_err(cannot_draw)
}

pub(super) fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), style: impl Into<ShapeStyle>) -> Drawn {
    area.draw(&plotters::element::PathElement::new(vec![from, to], style)).map_err(cannot_draw)
}

pub(super) fn cannot_draw(error: impl std::fmt::Display) -> String {
    format!("cannot draw a chart: {error}")
}

/// A line of the grid.
pub(super) fn grid() -> ShapeStyle {
    GRID.stroke_width(1)
}
