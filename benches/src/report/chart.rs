//! Lines over an axis, as SVG that stands by itself: letters in it keep a readable size on a phone,
//! for the picture is small and grows with the page. What the lines mean stands beside it in HTML.

use std::fmt::Write;

use super::axis::Axis;
use super::page::escape;

/// What is drawn.
pub struct Chart {
    pub title: String,
    /// What runs along the bottom, and up the side, with units.
    pub x_label: String,
    pub y_label: &'static str,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    /// Whether the points themselves are worth a dot.
    pub dots: bool,
}

/// One line and what it is.
pub struct Line {
    pub name: String,
    /// `x` never falls.
    pub points: Vec<(f64, f64)>,
}

/// The picture's size in its own units; at the page's usual width a unit is about a pixel.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 270.0;
/// The field in it; numbers and units stand outside.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 404.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 228.0;
/// Between two numbers below the field there is at least so much, and half a letter is so wide.
const X_APART: f64 = 6.0;
const LETTER_HALF: f64 = 3.6;
/// Numbers beside the field that stand closer would touch.
const Y_APART: f64 = 15.0;
/// Lines of more points are thinned: nobody can see them.
const POINTS_MAX: usize = 400;

impl Chart {
    /// A figure with the picture and its legend.
    pub fn figure(&self) -> String {
        let mut text = format!("<figure><figcaption>{}</figcaption>", escape(&self.title));
        text.push_str(&self.svg());
        if self.lines.len() > 1 || !self.lines.iter().all(|line| line.name.is_empty()) {
            text.push_str("<ul class=\"legend\">");
            for (index, line) in self.lines.iter().enumerate() {
                let _ = write!(
                    text,
                    "<li><i class=\"f{}\"></i>{}</li>",
                    index % SERIES,
                    escape(&line.name)
                );
            }
            text.push_str("</ul>");
        }
        text + "</figure>\n"
    }

    fn svg(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.title)
        );
        self.grid(&mut svg);
        for (index, line) in self.lines.iter().enumerate() {
            self.line(&mut svg, index % SERIES, line);
        }
        svg + "</svg>"
    }

    fn grid(&self, svg: &mut String) {
        let mut free = f64::NEG_INFINITY;
        for (at, label) in &self.x.ticks {
            let x = self.px(*at);
            let _ = write!(svg, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>");
            let half = label.chars().count() as f64 * LETTER_HALF;
            if x - half >= free {
                let y = BOTTOM + 16.0;
                let _ = write!(svg, "<text class=\"mid\" x=\"{x:.1}\" y=\"{y}\">{label}</text>");
                free = x + half + X_APART;
            }
        }
        let mut free = f64::INFINITY;
        for (at, label) in &self.y.ticks {
            let y = self.py(*at);
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
            if y <= free {
                let (x, base) = (LEFT - 6.0, y + 4.0);
                let _ = write!(svg, "<text class=\"end\" x=\"{x}\" y=\"{base:.1}\">{label}</text>");
                free = y - Y_APART;
            }
        }
        let _ = write!(
            svg,
            "<text class=\"unit\" x=\"4\" y=\"13\">{}</text>\
             <text class=\"unit end\" x=\"{RIGHT}\" y=\"{}\">{}</text>",
            escape(self.y_label),
            BOTTOM + 34.0,
            escape(&self.x_label)
        );
    }

    fn line(&self, svg: &mut String, series: usize, line: &Line) {
        let every = line.points.len().div_ceil(POINTS_MAX).max(1);
        let last = line.points.len().saturating_sub(1);
        let mut path = String::new();
        for (index, (x, y)) in line.points.iter().enumerate() {
            if index % every == 0 || index == last {
                let letter = if path.is_empty() { 'M' } else { 'L' };
                let _ = write!(path, "{letter}{:.1} {:.1}", self.px(*x), self.py(*y));
            }
        }
        let _ = write!(svg, "<path class=\"line s{series}\" d=\"{path}\"/>");
        if !self.dots {
            return;
        }
        for (x, y) in &line.points {
            let _ = write!(
                svg,
                "<circle class=\"f{series}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}: {} at \
                 {}</title></circle>",
                self.px(*x),
                self.py(*y),
                escape(&line.name),
                super::axis::short(*y),
                super::axis::short(*x)
            );
        }
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.x.at(x)
    }

    fn py(&self, y: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * self.y.at(y)
    }
}

/// Colours that are told apart.
pub const SERIES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(lines: Vec<Line>) -> Chart {
        Chart {
            title: "a <b> & \"c\"".into(),
            x_label: "seconds".into(),
            y_label: "MB",
            x: Axis::linear(10.0),
            y: Axis::linear(100.0),
            lines,
            dots: false,
        }
    }

    #[test]
    fn points_lie_within_the_field() {
        let points = vec![(-5.0, -5.0), (0.0, 0.0), (10.0, 100.0), (50.0, 500.0)];
        let svg = chart(vec![Line { name: "one".into(), points }]).svg();
        assert!(svg.contains("d=\"M46.0 228.0L46.0 228.0L404.0 26.0L404.0 26.0\""), "{svg}");
    }

    #[test]
    fn long_lines_are_thinned_and_keep_their_end() {
        let points = (0..10_000).map(|x| (f64::from(x) / 1_000.0, 50.0)).collect();
        let svg = chart(vec![Line { name: String::new(), points }]).svg();
        let path = svg.split("class=\"line s0\"").nth(1).expect("there is a line");
        assert!(path.matches('L').count() <= POINTS_MAX + 1, "{}", path.matches('L').count());
        assert!(path.contains("L404.0"), "the last point is there");
    }

    #[test]
    fn letters_that_mean_something_in_html_are_escaped() {
        let figure = chart(Vec::new()).figure();
        assert!(figure.contains("a &lt;b&gt; &amp; &quot;c&quot;"), "{figure}");
        assert!(!figure.contains("<b>"));
    }
}
