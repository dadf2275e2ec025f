//! Finds byte and character positions of sqlparser's (line, column) locations in a query string.

use datafusion::sql::sqlparser::tokenizer::Location;

/// A query string with its line starts.
pub(super) struct Text<'a> {
    pub(super) sql: &'a str,
    /// (byte, character) at which each line starts.
    lines: Vec<(usize, usize)>,
    ascii: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(sql: &'a str) -> Self {
        let ascii = sql.is_ascii();
        let mut lines = vec![(0, 0)];
        let mut characters = 0;
        for (byte, c) in sql.char_indices() {
            characters += 1;
            if c == '\n' {
                lines.push((byte + 1, characters));
            }
        }
        Text { sql, lines, ascii }
    }

    /// The byte at which a location is.
    pub(super) fn byte(&self, location: Location) -> usize {
        let Some((start, _)) = self.line(location) else { return self.sql.len() };
        let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(0);
        if self.ascii {
            return (start + column).min(self.sql.len());
        }
        self.sql[start..].char_indices().nth(column).map_or(self.sql.len(), |(byte, _)| start + byte)
    }

    /// The 1-based character at which a location is.
    pub(super) fn character(&self, location: Location) -> u32 {
        let Some((_, start)) = self.line(location) else { return self.end() };
        let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(0);
        u32::try_from(start + column + 1).unwrap_or(u32::MAX)
    }

    /// The 1-based character after the last.
    pub(super) fn end(&self) -> u32 {
        let count = if self.ascii { self.sql.len() } else { self.sql.chars().count() };
        u32::try_from(count + 1).unwrap_or(u32::MAX)
    }

    fn line(&self, location: Location) -> Option<(usize, usize)> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        self.lines.get(line).copied()
    }
}
