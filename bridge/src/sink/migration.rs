//! How a table that the file declares differs from the one that is there, in the words of the
//! sink's own database: what `bridge tables` shows and makes.

/// One table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Migration {
    /// Its name.
    pub table: String,
    /// Whether it is not there at all.
    pub is_missing: bool,
    /// What makes it as declared, in this order.
    pub statements: Vec<String>,
    /// What no statement can make so.
    pub obstacles: Vec<Obstacle>,
    /// Columns that are there and not declared; no difference unless the table is `strict`.
    pub beside: Vec<String>,
}

/// What no statement can make as declared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Obstacle {
    /// What differs, and why it stays so.
    pub what: String,
    /// What a person can do.
    pub way: String,
}

impl Migration {
    /// Whether the table is as it is declared.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.obstacles.is_empty()
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        let counted = |count: usize, one: &str, more: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {more}")),
        };
        let parts = [
            self.is_missing.then(|| "missing".to_owned()),
            counted(self.statements.len(), "statement", "statements"),
            counted(
                self.obstacles.len(),
                "thing that cannot be done",
                "things that cannot be done",
            ),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "as declared".to_owned() } else { parts.join(", ") }
    }
}
