//! The page itself: one file with everything in it, no script, nothing from elsewhere.

use std::fmt::Write;

/// A link to a result file's line in the list of files.
#[derive(Clone, Debug)]
pub struct Link {
    file: String,
    index: usize,
}

impl Link {
    pub fn to(file: &str, index: usize) -> Link {
        Link { file: file.to_owned(), index }
    }

    /// The link with a text of its own.
    pub fn around(&self, text: &str) -> String {
        let (file, text) = (escape(&self.file), escape(text));
        format!("<a href=\"#file-{}\" title=\"{file}\">{text}</a>", self.index)
    }
}

/// Text as HTML has it, in attributes too.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A table; cells are HTML already. Columns from the second on are numbers unless `text` has them.
pub fn table(heading: &[&str], text: &[usize], rows: &[Vec<String>]) -> String {
    let class = |column: usize| match column == 0 || text.contains(&column) {
        true => "",
        false => " class=\"number\"",
    };
    let mut out = "<div class=\"scroll\"><table><thead><tr>".to_owned();
    for (column, name) in heading.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(column), escape(name));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{cell}</td>", class(column));
        }
        out.push_str("</tr>\n");
    }
    out + "</tbody></table></div>\n"
}

/// A part of the page with its heading; nothing where there is nothing to show.
pub fn section(heading: &str, said: &str, body: &str) -> String {
    match body.is_empty() {
        true => String::new(),
        false => format!("<section><h2>{}</h2><p>{said}</p>{body}</section>\n", escape(heading)),
    }
}

/// Pictures side by side, as the width allows.
pub fn side_by_side(figures: &str) -> String {
    match figures.is_empty() {
        true => String::new(),
        false => format!("<div class=\"figures\">{figures}</div>"),
    }
}

/// The whole page.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title>\
         <style>\n{STYLE}</style></head>\n<body><main>\n{body}</main></body></html>\n",
        title = escape(title)
    )
}

const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page("a & b", "<p>c</p>");
        assert!(page.contains("<title>a &amp; b</title>"));
        for outside in ["http:", "https:", "src=", "@import", "url(", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn an_empty_section_is_none() {
        assert_eq!(section("Heading", "said", ""), "");
        assert_eq!(side_by_side(""), "");
    }
}
