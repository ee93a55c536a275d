//! Draws the ratios as bars.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::line::Line;

const ROW: i32 = 34;
const TOP: i32 = 78;
const BOTTOM: i32 = 24;
const WIDTH: i32 = 980;
/// The left end of the bars.
const LEFT: i32 = 170;
/// The right end of the bars.
const RIGHT: i32 = 820;
/// The columns of numbers, to the right of the bars.
const RATIO_COLUMN: i32 = 880;
const GOAL_COLUMN: i32 = 950;
/// The ratio at the right end. Longer bars are cut.
const MAX_RATIO: f64 = 2.5;

const PEER: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const RAW: RGBColor = RGBColor(0xb8, 0x6a, 0x0c);
const INK: RGBColor = RGBColor(0x30, 0x30, 0x30);

/// Returns an SVG with up to two bars per line: our time divided by that of redis-rs, and by that
/// of a raw socket.
pub(crate) fn draw(lines: &[Line]) -> String {
    let mut svg = String::new();
    let height = TOP + ROW * lines.len() as i32 + BOTTOM;
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32));
        let area = area.into_drawing_area();
        paint(&area, lines, height).expect("drawing into a string");
    }
    svg
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn paint<'a>(area: &Area<'a>, lines: &[Line], height: i32) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let title = "Our time divided by theirs: below 1 is faster";
    text(area, title, (LEFT, 22), 17, &INK, HPos::Left)?;
    text(area, "vs redis-rs and r2d2", (LEFT, 44), 13, &PEER, HPos::Left)?;
    text(area, "vs a raw socket", (LEFT + 150, 44), 13, &RAW, HPos::Left)?;
    text(area, "thin mark: the goal", (LEFT + 270, 44), 13, &INK, HPos::Left)?;
    text(area, "ratio", (RATIO_COLUMN, TOP - 14), 12, &INK, HPos::Right)?;
    text(area, "goal", (GOAL_COLUMN, TOP - 14), 12, &INK, HPos::Right)?;
    for ratio in [0.0, 0.5, 1.0, 1.5, 2.0, MAX_RATIO] {
        let shade = if ratio == 1.0 { INK.mix(0.8) } else { INK.mix(0.15) };
        let line = [(x(ratio), TOP - 4), (x(ratio), height - BOTTOM)];
        area.draw(&PathElement::new(line.to_vec(), shade))?;
        text(area, &format!("{ratio}"), (x(ratio), height - 10), 12, &INK, HPos::Center)?;
    }
    for (row, line) in lines.iter().enumerate() {
        let y = TOP + ROW * row as i32;
        let (peer_goal, raw_goal) = line.goals();
        let bars = [(line.vs_peer, peer_goal, PEER), (line.vs_raw, raw_goal, RAW)];
        let bars: Vec<_> =
            bars.iter().filter_map(|&(r, goal, color)| Some((r?, goal, color))).collect();
        // One bar stands in the middle of its row, two share it.
        let top = y + (26 - 13 * bars.len() as i32) / 2;
        text(area, &line.name, (LEFT - 10, y + 12), 13, &INK, HPos::Right)?;
        for (at, (ratio, goal, color)) in bars.into_iter().enumerate() {
            bar(area, top + 13 * at as i32, ratio, goal, &color)?;
        }
    }
    area.present()
}

/// Draws a bar with the mark of its goal. The numbers stand in the columns to the right of all
/// bars, so they cannot overlap a mark.
fn bar<'a>(area: &Area<'a>, y: i32, ratio: f64, goal: Option<f64>, color: &RGBColor) -> Drawn<'a> {
    area.draw(&Rectangle::new([(x(0.0), y), (x(ratio), y + 11)], color.filled()))?;
    text(area, &format!("{ratio:.2}"), (RATIO_COLUMN, y + 6), 12, color, HPos::Right)?;
    if let Some(goal) = goal {
        let mark = [(x(goal), y - 1), (x(goal), y + 12)];
        area.draw(&PathElement::new(mark.to_vec(), INK.stroke_width(2)))?;
        text(area, &format!("{goal:.2}"), (GOAL_COLUMN, y + 6), 12, &INK, HPos::Right)?;
    }
    Ok(())
}

/// Writes text that is vertically centered at `at`.
fn text<'a>(
    area: &Area<'a>,
    text: &str,
    at: (i32, i32),
    size: i32,
    color: &RGBColor,
    align: HPos,
) -> Drawn<'a> {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(color)
        .pos(Pos::new(align, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))
}

fn x(ratio: f64) -> i32 {
    LEFT + (ratio.min(MAX_RATIO) / MAX_RATIO * f64::from(RIGHT - LEFT)) as i32
}
