//! A mistake in the configuration, and how it is shown: message, place, the line itself with the
//! wrong part underlined, and what would be right.

use std::fmt;
use std::ops::Range;

use super::hush::hushed;

/// What is wrong, where, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Dotted path of the key, such as `pipeline.readings.table.timestamp`.
    pub path: String,
    /// Bytes of the file that it is about, where known.
    pub span: Option<Range<usize>>,
    /// Lower case, no full stop.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// Others that were found beside it.
    pub also: Vec<Mistake>,
}

impl Mistake {
    /// A mistake at a path.
    pub fn new(
        path: impl Into<String>,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Mistake {
        Mistake { path: path.into(), span, message: message.into(), help: None, also: Vec::new() }
    }

    /// The same with what would be right.
    pub fn help(mut self, help: impl Into<String>) -> Mistake {
        self.help = Some(help.into());
        self
    }

    /// Itself and the others beside it, one by one.
    pub fn flatten(mut self) -> Vec<Mistake> {
        let also = std::mem::take(&mut self.also);
        let mut all = vec![self];
        all.extend(also.into_iter().flat_map(Mistake::flatten));
        all
    }
}

/// All mistakes of one file, with what is needed to show them.
#[derive(Clone, Debug)]
pub struct Mistakes {
    /// The file's name as it was given.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The mistakes, in the order of the file.
    pub list: Vec<Mistake>,
}

impl Mistakes {
    /// Those of a file; sorts them by place and leaves out what was found twice.
    pub fn new(file: &str, text: &str, list: Vec<Mistake>) -> Mistakes {
        let mut list: Vec<Mistake> = list.into_iter().flat_map(Mistake::flatten).collect();
        list.sort_by_key(|mistake| mistake.span.as_ref().map_or(usize::MAX, |span| span.start));
        list.dedup();
        Mistakes { file: file.to_owned(), text: text.to_owned(), list }
    }

    /// Line and column of the beginning of a span, from 1, in characters.
    pub fn line_and_column(&self, span: &Range<usize>) -> (usize, usize) {
        let place = Place::of(&self.text, span);
        (place.line, place.column)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, mistake: &Mistake) -> fmt::Result {
        if mistake.path.is_empty() || mistake.message.contains(&mistake.path) {
            writeln!(f, "error: {}", mistake.message)?;
        } else {
            writeln!(f, "error: {}: {}", mistake.path, mistake.message)?;
        }
        let Some(span) = &mistake.span else {
            writeln!(f, " --> {}", self.file)?;
            return show_help(f, " ", mistake.help.as_deref());
        };
        let place = Place::of(&self.text, span);
        let margin = " ".repeat(place.line.to_string().len());
        writeln!(f, "{margin}--> {}:{}:{}", self.file, place.line, place.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{} | {}", place.line, place.shown)?;
        let under = format!("{margin} | {}{}", " ".repeat(place.before), "^".repeat(place.width));
        match mistake.help.as_deref() {
            Some(help) if help.len() + under.len() < 100 && !help.contains('\n') => {
                writeln!(f, "{under} {help}")
            }
            help => {
                writeln!(f, "{under}")?;
                show_help(f, &margin, help)
            }
        }
    }
}

fn show_help(f: &mut fmt::Formatter<'_>, margin: &str, help: Option<&str>) -> fmt::Result {
    for line in help.unwrap_or_default().lines() {
        writeln!(f, "{margin} = help: {line}")?;
    }
    Ok(())
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.show(f, mistake)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// Where a span is for a person: line and column from 1, in characters.
struct Place {
    line: usize,
    column: usize,
    /// The line without its end and its secrets, tabs as single spaces so that the carets stand
    /// right.
    shown: String,
    before: usize,
    width: usize,
}

impl Place {
    fn of(text: &str, span: &Range<usize>) -> Place {
        let start = floor_boundary(text, span.start);
        let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let until = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_boundary(text, span.end).clamp(start, until);
        let before = text[from..start].chars().count();
        let shown = hushed(text[from..until].trim_end()).replace('\t', " ");
        Place {
            line: text[..start].matches('\n').count() + 1,
            column: before + 1,
            shown,
            before,
            width: text[start..end].chars().count().max(1),
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let text = "a = 1\nä = \"ü\" # end\n";
        let span = text.find("\"ü").expect("there")..text.find(" #").expect("there");
        let mistake = Mistake::new("x", Some(span), "wrong").help("write it right");
        let shown = Mistakes::new("f.toml", text, vec![mistake]).to_string();
        let expected = "error: x: wrong\n --> f.toml:2:5\n  |\n2 | ä = \"ü\" # end\n  |     \
                        ^^^ write it right\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn any_span_can_be_shown() {
        let text = "ä = 1";
        for start in 0..10 {
            for end in 0..10 {
                let mistake = Mistake::new("x", Some(start..end), "wrong");
                assert!(!Mistakes::new("f", text, vec![mistake]).to_string().is_empty());
            }
        }
    }
}
