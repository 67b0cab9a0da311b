//! How time and memory grow with the fleet, as a picture.

use std::fmt::Write as _;

/// What was measured at one size.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    pub clusters: usize,
    /// From the push to the last cluster's convergence.
    pub seconds: f64,
    /// Of the daemon at rest, in bytes.
    pub resident: u64,
    /// Seconds of the daemon's CPU for one change.
    pub cpu: f64,
}

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
/// From the left edge of one panel to that of the next.
const PANEL: f64 = LEFT + WIDTH + 40.0;

/// Two panels, each with a line through the largest fleet and the origin: what is on it grows as the fleet does.
pub fn svg(points: &[Point]) -> String {
    let (width, height) = (2.0 * PANEL + 20.0, TOP + HEIGHT + 60.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let of = |value: fn(&Point) -> f64| -> Vec<(f64, f64)> {
        points.iter().map(|point| (point.clusters as f64, value(point))).collect()
    };
    panel(&mut out, 0.0, "one change, push to all converged (s)", &of(|point| point.seconds));
    panel(&mut out, PANEL, "the daemon's memory at rest (MB)", &of(|point| point.resident as f64 / 1e6));
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, at: f64, title: &str, points: &[(f64, f64)]) {
    let most = |of: fn(&(f64, f64)) -> f64| round_up(points.iter().map(of).fold(0.0, f64::max));
    let (most_x, most_y) = (most(|point| point.0), most(|point| point.1));
    let x = |value: f64| at + LEFT + WIDTH * value / most_x;
    let y = |value: f64| TOP + HEIGHT - HEIGHT * value / most_y;
    let _ = writeln!(out, "<text x=\"{:.0}\" y=\"24\" font-weight=\"bold\">{title}</text>", at + LEFT);
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let (down, along) = (y(most_y * part), x(most_x * part));
        let (left, right, bottom) = (x(0.0), x(most_x), y(0.0));
        let _ = writeln!(
            out,
            "<path d=\"M{left:.1} {down:.1}H{right:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n<text x=\"{along:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            left - 6.0,
            down + 4.0,
            most_y * part,
            bottom + 18.0,
            most_x * part,
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">clusters</text>",
        x(most_x / 2.0),
        y(0.0) + 38.0
    );
    if let Some(last) = points.last() {
        let (from, to) = ((x(0.0), y(0.0)), (x(last.0), y(last.1)));
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>",
            from.0, from.1, to.0, to.1
        );
    }
    let line: Vec<String> =
        points.iter().map(|point| format!("{:.1} {:.1}", x(point.0), y(point.1))).collect();
    let _ =
        writeln!(out, "<path d=\"M{}\" fill=\"none\" stroke=\"#0b6\" stroke-width=\"2\"/>", line.join("L"));
    for (clusters, value) in points {
        let (x, y) = (x(*clusters), y(*value));
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#0b6\"><title>{clusters} clusters: {value:.2}</title></circle>"
        );
    }
}

/// To 1, 2, 4, 5, 6 or 8 times a power of ten: quarters of it are short numbers.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    power * steps.into_iter().find(|step| step * power >= value).unwrap_or(10.0)
}
