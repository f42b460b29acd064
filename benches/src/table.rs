//! Tables for people, in Markdown: read on a terminal, and pasted into a document as they are.

/// Renders a heading and rows, columns aligned.
pub fn render(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| {
            let missing = width - cell.chars().count();
            format!(" {cell}{} |", " ".repeat(missing))
        });
        format!("|{}\n", padded.collect::<String>())
    };
    let rule: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
    let mut text = line(&mut heading.iter().copied());
    text.push_str(&format!("|{rule}\n"));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "5–6".to_owned()], vec!["bcd".to_owned(), String::new()]];
        let wanted = "| x   | rate |\n|-----|------|\n| a   | 5–6  |\n| bcd |      |\n";
        assert_eq!(render(&["x", "rate"], &rows), wanted);
    }
}
