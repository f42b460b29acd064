//! Bars that lie: a name, the bar with its smallest and largest, the number. Names and numbers are
//! HTML, so that they wrap and keep their size; only the bar itself is a picture.

use std::fmt::Write;

use super::axis::{Axis, short};
use super::chart::SERIES;
use super::page::{Link, escape};
use crate::stats::Spread;

/// One line of a diagram.
pub struct Bar {
    pub name: String,
    /// The file that the number is from.
    pub from: Link,
    pub spread: Spread,
    /// The colour, by what is alike.
    pub series: usize,
}

/// A bar of parts.
pub struct Stack {
    pub name: String,
    pub from: Link,
    /// In the order of the names of the diagram.
    pub parts: Vec<f64>,
}

/// A diagram of bars with one axis; `unit` stands below it.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let finite = |number: f64| if number.is_finite() { number } else { 0.0 };
    let max = bars.iter().map(|bar| finite(bar.spread.max)).fold(0.0, f64::max);
    let axis = Axis::linear(max);
    let mut text = open(title);
    for Bar { name, from, spread, series } in bars {
        let Spread { median, min, max } = *spread;
        let (low, high) = (1e3 * axis.at(finite(min)), 1e3 * axis.at(finite(max)));
        let mut track = grid(&axis);
        let _ = write!(
            track,
            "<rect class=\"f{}\" x=\"0\" y=\"4\" width=\"{:.1}\" height=\"12\"/>\
             <path class=\"whisker\" d=\"M{low:.1} 10H{high:.1}M{low:.1} 5V15M{high:.1} 5V15\"/>",
            series % SERIES,
            1e3 * axis.at(finite(median))
        );
        let value = match median.is_finite() {
            true => format!("{} <small>{}–{}</small>", short(median), short(min), short(max)),
            false => "—".to_owned(),
        };
        row(&mut text, name, from, &track, &value);
    }
    close(text, &axis, unit)
}

/// A diagram of bars that are made of parts, with the parts' names.
pub fn stacks(title: &str, unit: &str, names: &[String], stacks: &[Stack]) -> String {
    let sum = |stack: &Stack| stack.parts.iter().sum::<f64>();
    let axis = Axis::linear(stacks.iter().map(sum).fold(0.0, f64::max));
    let mut text = open(title);
    for stack in stacks {
        let (mut track, mut from) = (grid(&axis), 0.0);
        for (index, part) in stack.parts.iter().enumerate() {
            let (start, end) = (1e3 * axis.at(from), 1e3 * axis.at(from + part));
            let _ = write!(
                track,
                "<rect class=\"f{}\" x=\"{start:.1}\" y=\"4\" width=\"{:.1}\" height=\"12\"/>",
                index % SERIES,
                end - start
            );
            from += part;
        }
        let parts: Vec<String> = stack.parts.iter().map(|part| short(*part)).collect();
        // More of them would leave no room for the bar.
        let parts = if parts.len() <= 3 { parts.join(" + ") } else { String::new() };
        let value = format!("{} <small>{parts}</small>", short(sum(stack)));
        row(&mut text, &stack.name, &stack.from, &track, &value);
    }
    let mut text = close(text, &axis, unit);
    text.truncate(text.len() - "</figure>\n".len());
    text.push_str("<ul class=\"legend\">");
    for (index, name) in names.iter().enumerate() {
        let _ = write!(text, "<li><i class=\"f{}\"></i>{}</li>", index % SERIES, escape(name));
    }
    text + "</ul></figure>\n"
}

fn open(title: &str) -> String {
    format!("<figure class=\"wide\"><figcaption>{}</figcaption><div class=\"bars\">", escape(title))
}

fn row(text: &mut String, name: &str, from: &Link, track: &str, value: &str) {
    let _ = write!(
        text,
        "<div class=\"name\">{}</div><svg class=\"track\" viewBox=\"0 0 1000 20\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{track}</svg>\
         <div class=\"value\">{value}</div>",
        from.around(name),
        escape(name),
    );
}

fn grid(axis: &Axis) -> String {
    let line = |(at, _): &(f64, String)| {
        format!("<path class=\"grid\" d=\"M{:.1} 0V20\"/>", 1e3 * axis.at(*at))
    };
    axis.ticks.iter().map(line).collect()
}

fn close(mut text: String, axis: &Axis, unit: &str) -> String {
    text.push_str("<div class=\"ticks\">");
    for (at, label) in &axis.ticks {
        let _ = write!(text, "<span style=\"left:{:.1}%\">{label}</span>", 1e2 * axis.at(*at));
    }
    let unit = escape(unit);
    let _ = writeln!(text, "</div><div class=\"value unit\">{unit}</div></div></figure>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_its_length_and_its_reach() {
        let bar = Bar {
            name: "x & y".into(),
            from: Link::to("f.json", 3),
            spread: Spread { median: 50.0, min: 25.0, max: 100.0 },
            series: 1,
        };
        let text = bars("speed", "rows/s", &[bar]);
        assert!(text.contains("width=\"500.0\""), "{text}");
        assert!(text.contains("M250.0 10H1000.0"), "{text}");
        assert!(text.contains("<a href=\"#file-3\" title=\"f.json\">x &amp; y</a>"), "{text}");
        assert!(text.contains("50 <small>25–100</small>"), "{text}");
    }

    #[test]
    fn no_number_is_no_bar() {
        let spread = Spread { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        let bar = Bar { name: "x".into(), from: Link::to("f", 0), spread, series: 0 };
        let text = bars("speed", "rows/s", &[bar]);
        assert!(text.contains("width=\"0.0\"") && text.contains('—') && !text.contains("NaN"));
    }

    #[test]
    fn parts_follow_one_another() {
        let stack = Stack {
            name: "run".into(),
            from: Link::to("f.json", 0),
            parts: vec![25.0, 50.0, 25.0],
        };
        let names = ["a", "b", "c"].map(str::to_owned);
        let text = stacks("cpu", "s", &names, &[stack]);
        for rect in ["x=\"0.0\" y=\"4\" width=\"250.0\"", "x=\"250.0\" y=\"4\" width=\"500.0\""] {
            assert!(text.contains(rect), "{rect} in {text}");
        }
        assert!(text.contains("100 <small>25 + 50 + 25</small>") && text.ends_with("</figure>\n"));
    }
}
