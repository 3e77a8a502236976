//! Charts as SVG, drawn by hand: a line or points over a logarithmic or plain axis. No scripts, no fonts of its own; the
//! colours are readable on white and on dark.

use std::fmt::Write as _;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 40.0;
const TOP: f64 = 30.0;
const RIGHT: f64 = 16.0;

/// How an axis runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps are equal sums.
    Plain,
    /// Equal steps are equal factors.
    Log,
}

/// What is drawn as one line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
    /// Dashed: it was calculated, not simulated.
    pub dashed: bool,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: &'static str,
    /// What stands below.
    pub x: &'static str,
    /// How the axis below runs.
    pub scale: Scale,
    /// Its lines.
    pub lines: Vec<Line>,
}

const COLOURS: [&str; 4] = ["#2a78c2", "#c2532a", "#3c8f4f", "#8a5fb0"];

/// Draws charts in two columns.
pub fn draw(charts: &[Chart]) -> String {
    let rows = charts.len().div_ceil(2);
    let (width, height) = (WIDTH * 2.0, HEIGHT * f64::from(u32::try_from(rows).unwrap_or(1)));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (at, chart) in charts.iter().enumerate() {
        let (column, row) =
            (f64::from(u32::try_from(at % 2).unwrap_or(0)), f64::from(u32::try_from(at / 2).unwrap_or(0)));
        let _ = writeln!(out, "<g transform=\"translate({},{})\">", column * WIDTH, row * HEIGHT);
        one(&mut out, chart);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn one(out: &mut String, chart: &Chart) {
    let along = |x: f64| if chart.scale == Scale::Log { x.max(1.0).log10() } else { x };
    let all = || chart.lines.iter().flat_map(|line| line.points.iter().copied());
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut top = 0.0_f64;
    for (x, y) in all() {
        (low, high, top) = (low.min(along(x)), high.max(along(x)), top.max(y));
    }
    if chart.scale == Scale::Plain {
        low = 0.0;
    }
    let top = nice(top);
    let right = |x: f64| LEFT + (along(x) - low) / (high - low).max(1e-9) * (WIDTH - LEFT - RIGHT);
    let up = |y: f64| HEIGHT - BOTTOM - y / top * (HEIGHT - BOTTOM - TOP);
    let text = |out: &mut String, x: f64, y: f64, anchor: &str, fill: &str, text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{text}</text>");
    };
    text(out, LEFT, 18.0, "start", "#222", chart.title);
    text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0, "middle", "#555", chart.x);
    for step in 0..=4 {
        let y = top * f64::from(step) / 4.0;
        let at = up(y);
        let _ = writeln!(out, "<path d=\"M{LEFT},{at:.1}H{}\" stroke=\"#ddd\"/>", WIDTH - RIGHT);
        text(out, LEFT - 5.0, at + 4.0, "end", "#555", &short(y));
    }
    let steps: Vec<f64> = if chart.scale == Scale::Log {
        let mut all: Vec<f64> = all().map(|(x, _)| x).collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        all
    } else {
        (0..=4).map(|step| high * f64::from(step) / 4.0).collect()
    };
    for x in steps {
        text(out, right(x), HEIGHT - BOTTOM + 15.0, "middle", "#555", &short(x));
    }
    for ((line, colour), row) in chart.lines.iter().zip(COLOURS.iter().cycle()).zip(0_u32..) {
        let points: Vec<String> =
            line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", right(*x), up(y.min(top)))).collect();
        let dash = if line.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"{dash}/>",
            points.join(" ")
        );
        if points.len() <= 12 && !line.dashed {
            for point in &points {
                let (x, y) = point.split_once(',').unwrap_or(("0", "0"));
                let _ = writeln!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"2.6\" fill=\"{colour}\"/>");
            }
        }
        text(out, LEFT + 8.0, TOP + 12.0 + 13.0 * f64::from(row), "start", colour, &line.name);
    }
}

/// The next number that is good on an axis.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].into_iter().map(|n| n * power).find(|n| *n >= value).unwrap_or(value)
}

/// A number for an axis.
pub fn short(value: f64) -> String {
    let (number, unit) = match value {
        v if v >= 1e9 => (v / 1e9, " G"),
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e4 => (v / 1e3, " k"),
        v => (v, ""),
    };
    let text = if number >= 100.0 || (number - number.round()).abs() < 0.005 {
        format!("{number:.0}")
    } else if number >= 1.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    };
    text + unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_whole_and_its_numbers_are_short() {
        let line = |name: &str, dashed| Line { name: name.into(), points: vec![(1e4, 3.0), (1e6, 5.5)], dashed };
        let lines = vec![line("a < b", false), line("c", true)];
        let svg = draw(&[Chart { title: "t", x: "nodes", scale: Scale::Log, lines }]);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("a &lt; b") && svg.contains("10 k") && svg.contains("1 M") && svg.contains("dasharray"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!((short(4e6), short(0.25), short(12_500.0)), ("4 M".into(), "0.25".into(), "12.5 k".into()));
        assert!((nice(5.5) - 8.0).abs() < 1e-9 && (nice(0.7) - 0.8).abs() < 1e-9);
    }
}
