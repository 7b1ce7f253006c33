//! Bar charts as SVG.

use std::fmt::Write;

use super::Spread;

const LABELS: f64 = 230.0;
const BARS: f64 = 420.0;
const VALUES: f64 = 90.0;
const ROW: f64 = 26.0;
const TOP: f64 = 40.0;

/// One bar for each of `rows`, with a line from the lowest to the highest value.
pub fn bars(title: &str, unit: &str, rows: &[(&str, Spread)]) -> String {
    let most = rows
        .iter()
        .map(|(_, spread)| spread.most)
        .fold(0.0, f64::max);
    let scale = if most > 0.0 { BARS / most } else { 0.0 };
    let (width, height) = (LABELS + BARS + VALUES, TOP + ROW * rows.len() as f64 + 10.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    for (at, (name, spread)) in rows.iter().enumerate() {
        let top = TOP + ROW * at as f64;
        let middle = top + ROW / 2.0;
        let text = middle + 4.5;
        let bar = spread.mean * scale;
        let fill = if *name == "adaptive" {
            "#1b7f5c"
        } else {
            "#5b84b1"
        };
        let (least, most) = (LABELS + spread.least * scale, LABELS + spread.most * scale);
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            "<text x=\"{x}\" y=\"{text:.1}\" text-anchor=\"end\">{name}</text>\n\
             <rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{bar:.1}\" height=\"{h}\" fill=\"{fill}\"/>\n\
             <line x1=\"{least:.1}\" y1=\"{middle:.1}\" x2=\"{most:.1}\" y2=\"{middle:.1}\" stroke=\"#222222\"/>\n\
             <text x=\"{after:.1}\" y=\"{text:.1}\">{value:.2} {unit}</text>\n",
            x = LABELS - 8.0,
            y = top + 4.0,
            h = ROW - 8.0,
            after = most.max(LABELS + bar) + 6.0,
            value = spread.mean,
            name = escaped(name),
            unit = escaped(unit),
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
