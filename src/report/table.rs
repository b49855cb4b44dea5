//! Tables for a terminal, laid out to its width.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table as Grid, presets};

use super::document::{Document, Table};
use super::{Format, ReportError};
use crate::store::record::Record;

/// The terminal's format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Columns of the terminal; `None` if the output is not one and lines may be as long as they are.
    pub width: Option<u16>,
    /// Whether the answer may be set in bold.
    pub colour: bool,
}

impl Format for Terminal {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        Ok(self.layout(&Document::of(record)))
    }
}

impl Terminal {
    /// Lays out a document.
    #[must_use]
    pub fn layout(&self, document: &Document) -> String {
        let mut out = String::new();
        let (on, off) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        for answer in &document.answers {
            out.push_str(&format!("{on}{}{off}\n", self.wrap(answer, "")));
        }
        for table in document.tables.iter().filter(|table| !table.rows.is_empty()) {
            if !out.is_empty() {
                out.push('\n');
            }
            if !table.title.is_empty() {
                out.push_str(&format!("{on}{}{off}\n", table.title));
            }
            out.push_str(&self.table(table));
        }
        if !document.notes.is_empty() {
            out.push('\n');
        }
        for note in &document.notes {
            out.push_str(&self.wrap(note, "  "));
            out.push('\n');
        }
        out
    }

    /// One table. Where it is too wide its columns are dealt out to several tables below each other, each beginning with
    /// the first column; where even that leaves no room for two columns each, every row becomes a block of lines.
    #[must_use]
    pub fn table(&self, table: &Table) -> String {
        let Some(width) = self.width.map(usize::from) else { return grid(table) };
        match pieces(table, width) {
            Some(pieces) => pieces.iter().map(grid).collect::<Vec<_>>().join("\n"),
            None => self.blocks(table),
        }
    }

    fn blocks(&self, table: &Table) -> String {
        let label = table.columns.iter().skip(1).map(|column| column.title.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for row in &table.rows {
            let mut cells = table.columns.iter().zip(row);
            if let Some((_, name)) = cells.next() {
                out.push_str(&self.wrap(name, "    "));
                out.push('\n');
            }
            for (column, cell) in cells {
                out.push_str(&format!("  {:label$}  {cell}\n", column.title));
            }
        }
        out
    }

    /// Breaks a line at spaces; following lines begin with `indent`. Words longer than the width stay whole.
    fn wrap(&self, text: &str, indent: &str) -> String {
        let Some(width) = self.width.map(usize::from) else { return text.to_owned() };
        let mut out = String::new();
        let mut column = 0;
        for word in text.split(' ') {
            let length = word.chars().count();
            if column > 0 && column + 1 + length > width {
                out.push('\n');
                out.push_str(indent);
                column = indent.len();
            } else if column > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        out
    }
}

/// Width of a column as [`grid`] draws it.
fn column_width(table: &Table, index: usize) -> usize {
    let cells = table.rows.iter().filter_map(|row| row.get(index)).map(String::as_str);
    let widest = cells.chain([table.columns[index].title.as_str()]).map(|text| text.chars().count()).max();
    widest.unwrap_or(0) + 3
}

/// The table as tables no wider than `width`; `None` if some piece would hold fewer than two columns besides the first.
fn pieces(table: &Table, width: usize) -> Option<Vec<Table>> {
    let mut groups: Vec<Vec<usize>> = vec![vec![]];
    let mut used = column_width(table, 0);
    for index in 1..table.columns.len() {
        let more = column_width(table, index);
        if used + more > width && groups.last().is_some_and(|group| !group.is_empty()) {
            groups.push(vec![]);
            used = column_width(table, 0);
        }
        used += more;
        if used > width {
            return None;
        }
        groups.last_mut()?.push(index);
    }
    let short = groups.len() > 1 && groups[..groups.len() - 1].iter().any(|group| group.len() < 2);
    let piece = |group: &Vec<usize>| {
        let indices = || std::iter::once(0).chain(group.iter().copied());
        Table {
            title: table.title.clone(),
            columns: indices().map(|i| table.columns[i].clone()).collect(),
            rows: table.rows.iter().map(|row| indices().map(|i| row[i].clone()).collect()).collect(),
        }
    };
    (!short).then(|| groups.iter().map(piece).collect())
}

fn grid(table: &Table) -> String {
    let mut grid = Grid::new();
    grid.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    grid.style_mut().row_separator = LineStyle::none();
    let align = |numeric| if numeric { CellAlignment::Right } else { CellAlignment::Left };
    grid.set_header(table.columns.iter().map(|c| Cell::new(&c.title).set_alignment(align(c.numeric))));
    for row in &table.rows {
        grid.add_row(table.columns.iter().zip(row).map(|(c, text)| Cell::new(text).set_alignment(align(c.numeric))));
    }
    grid.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Column;

    fn document() -> Document {
        let column = |title: &str, numeric| Column { title: title.into(), numeric };
        Document {
            answers: vec!["The cheapest tier that clears is a.".into()],
            tables: vec![Table {
                title: String::new(),
                columns: vec![column("tier", false), column("tg128 tok/s", true)],
                rows: vec![vec!["a".into(), "12.3 ± 0.4".into()], vec!["b".into(), "—".into()]],
            }],
            notes: vec!["Cost excludes electricity: no tariff given.".into()],
        }
    }

    #[test]
    fn a_wide_terminal_gets_a_grid() {
        insta::assert_snapshot!(Terminal { width: Some(80), colour: false }.layout(&document()), @r"
        The cheapest tier that clears is a.

        ────────────────────
         tier   tg128 tok/s
        ════════════════════
         a       12.3 ± 0.4
         b                —
        ────────────────────

        Cost excludes electricity: no tariff given.
        ");
    }

    #[test]
    fn a_narrow_terminal_gets_blocks_and_no_line_is_too_long() {
        let text = Terminal { width: Some(22), colour: false }.layout(&document());
        assert!(text.lines().all(|line| line.chars().count() <= 26), "{text}");
        insta::assert_snapshot!(text, @r"
        The cheapest tier that
        clears is a.

        ────────────────────
         tier   tg128 tok/s
        ════════════════════
         a       12.3 ± 0.4
         b                —
        ────────────────────

        Cost excludes
          electricity: no
          tariff given.
        ");
    }

    #[test]
    fn colour_is_only_used_where_allowed() {
        assert!(Terminal { width: None, colour: true }.layout(&document()).contains("\x1b[1m"));
        assert!(!Terminal { width: None, colour: false }.layout(&document()).contains('\x1b'));
    }
}
