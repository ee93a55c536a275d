//! The ratios as bars.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::Line;

const ROW: i32 = 34;
const TOP: i32 = 64;
const LEFT: i32 = 170;
const WIDTH: i32 = 900;
/// The ratio at the right edge; longer bars are cut.
const MOST: f64 = 2.5;

const PEER: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const RAW: RGBColor = RGBColor(0xd9, 0x8c, 0x1f);
const INK: RGBColor = RGBColor(0x30, 0x30, 0x30);

/// An SVG with two bars for each line: our time over that of redis-rs, and over a raw socket's.
pub(crate) fn draw(lines: &[Line]) -> String {
    let mut svg = String::new();
    let height = TOP + ROW * lines.len() as i32 + 24;
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
    text(area, "Our time over theirs: shorter is faster, 1 is as fast", (LEFT, 14), 17, &INK)?;
    text(area, "redis-rs, r2d2", (LEFT, 38), 13, &PEER)?;
    text(area, "raw socket", (LEFT + 120, 38), 13, &RAW)?;
    text(area, "the thin mark is the goal", (LEFT + 220, 38), 13, &INK)?;
    for ratio in [0.0, 0.5, 1.0, 1.5, 2.0, MOST] {
        let shade = if ratio == 1.0 { INK.mix(0.8) } else { INK.mix(0.15) };
        let line = [(x(ratio), TOP - 4), (x(ratio), height - 20)];
        area.draw(&PathElement::new(line.to_vec(), shade))?;
        text(area, &format!("{ratio}"), (x(ratio) - 6, height - 16), 12, &INK)?;
    }
    for (row, line) in lines.iter().enumerate() {
        let y = TOP + ROW * row as i32;
        let style = TextStyle::from(("sans-serif", 13).into_font())
            .color(&INK)
            .pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(line.name.clone(), (LEFT - 10, y + 13), style))?;
        let (peer_goal, raw_goal) = line.goals();
        bar(area, y, line.vs_peer, peer_goal, &PEER)?;
        bar(area, y + 13, line.vs_raw, raw_goal, &RAW)?;
    }
    area.present()
}

fn bar<'a>(
    area: &Area<'a>,
    y: i32,
    ratio: Option<f64>,
    goal: Option<f64>,
    color: &RGBColor,
) -> Drawn<'a> {
    let Some(ratio) = ratio else { return Ok(()) };
    area.draw(&Rectangle::new([(x(0.0), y), (x(ratio), y + 11)], color.filled()))?;
    text(area, &format!("{ratio:.2}"), (x(ratio) + 6, y), 11, &INK)?;
    if let Some(goal) = goal {
        let mark = [(x(goal), y - 1), (x(goal), y + 12)];
        area.draw(&PathElement::new(mark.to_vec(), INK.stroke_width(2)))?;
    }
    Ok(())
}

fn text<'a>(area: &Area<'a>, text: &str, at: (i32, i32), size: i32, color: &RGBColor) -> Drawn<'a> {
    let style = TextStyle::from(("sans-serif", size).into_font()).color(color);
    area.draw(&Text::new(text.to_owned(), at, style))
}

fn x(ratio: f64) -> i32 {
    let width = f64::from(WIDTH - LEFT - 60);
    LEFT + (ratio.min(MOST) / MOST * width) as i32
}
