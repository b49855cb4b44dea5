//! Markdown: GitHub's tables.

use super::document::{Document, Table};
use super::spans::{Span, mark_up};
use super::{Format, ReportError};
use crate::store::record::Record;

/// GitHub-flavoured Markdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Markdown;

impl Format for Markdown {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        Ok(layout(&Document::of(record)))
    }
}

/// Lays out a document.
#[must_use]
pub fn layout(document: &Document) -> String {
    let mut blocks: Vec<String> = document.answers.iter().map(|answer| format!("**{}**\n", prose(answer))).collect();
    for table in document.tables.iter().filter(|table| !table.rows.is_empty()) {
        if !table.title.is_empty() {
            blocks.push(format!("### {}\n", escape(&table.title)));
        }
        blocks.push(self::table(table));
    }
    if !document.notes.is_empty() {
        blocks.push(document.notes.iter().map(|note| format!("- {}\n", prose(note))).collect());
    }
    blocks.join("\n")
}

/// One table.
#[must_use]
pub fn table(table: &Table) -> String {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut out = row(table.columns.iter().map(|column| escape(&column.title)).collect());
    out.push_str(&row(table.columns.iter().map(|c| if c.numeric { "---:" } else { "---" }.to_owned()).collect()));
    for cells in &table.rows {
        out.push_str(&row(cells.iter().map(|cell| escape(cell)).collect()));
    }
    out
}

/// A sentence; inside of code nothing else means anything.
fn prose(text: &str) -> String {
    mark_up(text, |span| match span {
        Span::Text(text) => escape(text),
        Span::Code(code) => format!("`{code}`"),
    })
}

/// Text that stays text: names come from files, and a rendered README runs whatever Markdown and HTML it holds.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '\\' | '`' | '*' | '[' | ']' | '!' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Column;

    #[test]
    fn commands_in_sentences_are_code_and_nothing_else_is() {
        for (text, markdown) in [
            ("`tierbench doctor` says *more*", "`tierbench doctor` says \\*more\\*"),
            ("a `b", "a \\`b"),
            ("a `` b ` <c>", "a \\`\\` b \\` &lt;c&gt;"),
            ("`<img>` <img>", "`<img>` &lt;img&gt;"),
        ] {
            assert_eq!(prose(text), markdown);
        }
    }

    #[test]
    fn names_cannot_break_out_of_their_cell() {
        let table = Table {
            title: String::new(),
            columns: vec![Column { title: "tier".into(), numeric: false }, Column { title: "n".into(), numeric: true }],
            rows: vec![vec!["a|b <img src=x> ![x](y) `c`".into(), "1".into()]],
        };
        assert_eq!(
            super::table(&table),
            "| tier | n |\n| --- | ---: |\n| a\\|b &lt;img src=x&gt; \\!\\[x\\](y) \\`c\\` | 1 |\n"
        );
    }
}
