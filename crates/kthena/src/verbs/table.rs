//! Columns of text.

use std::fmt::Write as _;

/// Rows under a header; columns are as wide as their widest cell.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self {
            rows: vec![header.iter().map(|cell| (*cell).to_owned()).collect()],
        }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The text, each line behind `indent`.
    pub(super) fn text(&self, indent: &str) -> String {
        let widths = self.widths();
        let lines = self.rows.iter().map(|row| line(indent, row, &widths));
        lines.collect()
    }

    /// One more row under the table, in its columns.
    pub(super) fn one_more(&self, row: &[String]) -> String {
        line("", row, &self.widths())
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count().max(1))
                .max()
                .unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

/// One row. An empty cell is shown as `-`, so that columns stay columns.
fn line(indent: &str, row: &[String], widths: &[usize]) -> String {
    let mut line = indent.to_owned();
    for (cell, width) in row.iter().zip(widths) {
        let cell = if cell.is_empty() { "-" } else { cell };
        // Writing to a String cannot fail.
        let _ = write!(line, "{cell:<width$}   ");
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}
