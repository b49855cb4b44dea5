//! An SVG card for a README: the answer and the ladder's head, readable in light and dark, without script or font.

use super::document::{Document, Table};
use super::html::embed::escape;
use super::{Format, ReportError};
use crate::store::record::Record;

/// An SVG picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Card;

/// Units of the picture: 1 is a CSS pixel.
const WIDTH: usize = 900;
const MARGIN: usize = 24;
const LINE: usize = 22;
/// Width of a character of the answer and of the table in the widest font a system is likely to have.
const ANSWER_CHAR: f64 = 9.2;
const TABLE_CHAR: f64 = 7.1;
/// Tiers shown.
const ROWS: usize = 6;
/// Columns shown, as far as the ladder has them.
const COLUMNS: [&str; 5] = ["tier", "tok/s", "$/1k solved", "pass rate", "verdict"];

const STYLE: &str = "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1b1f27}.soft{fill:#545c69}\
.a{font-size:14px;font-weight:600}.g{fill:#17693a}.b{fill:#b3261e}.o{fill:#7d5400}rect{fill:#fff;stroke:#d9dde4}\
line{stroke:#d9dde4}@media(prefers-color-scheme:dark){text{fill:#e7e9ee}.soft{fill:#a7afbd}.g{fill:#74d394}\
.b{fill:#ff8d84}.o{fill:#f0c064}rect{fill:#13161b;stroke:#363c48}line{stroke:#363c48}}";

impl Format for Card {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        let document = Document::of(record);
        let answer = document.answers.first().map_or("Speed and cost of a ladder of tiers", String::as_str);
        let host = document.notes.first().map(String::as_str).unwrap_or_default();
        let mut y = MARGIN + LINE;
        let mut body = String::new();
        for line in wrap(answer, ANSWER_CHAR, 4) {
            body.push_str(&text(MARGIN as f64, y, "a", "start", &line));
            y += LINE;
        }
        if let Some(table) = document.tables.first() {
            y += LINE / 2;
            y = rows(table, y, &mut body);
        }
        y += LINE / 2;
        for line in wrap(host, TABLE_CHAR, 2) {
            body.push_str(&text(MARGIN as f64, y, "soft", "start", &line));
            y += LINE;
        }
        let height = y;
        let name = escape(answer);
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{name}\">\n<style>{STYLE}</style>\n\
             <rect x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n{body}</svg>\n",
            WIDTH - 1,
            height - 1,
        ))
    }
}

/// Draws the head of the table and returns where it ends.
fn rows(table: &Table, mut y: usize, body: &mut String) -> usize {
    let shown: Vec<usize> = COLUMNS
        .iter()
        .filter_map(|wanted| table.columns.iter().rposition(|column| column.title.ends_with(wanted)))
        .collect();
    // How far an undecided verdict is from one has no room here.
    let shown_cell = |row: &[String], i: usize| row[i].split(" (≈").next().unwrap_or_default().to_owned();
    let width = |&i: &usize| {
        let cells = table.rows.iter().take(ROWS).map(|row| shown_cell(row, i).chars().count());
        cells.chain([table.columns[i].title.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = shown.iter().map(width).collect();
    let room = (WIDTH - 2 * MARGIN) as f64 - widths.iter().sum::<usize>() as f64 * TABLE_CHAR;
    let gap = (room / shown.len().max(1) as f64).max(6.0);
    let mut line = |y: usize, cells: &dyn Fn(usize) -> String, css: &dyn Fn(&str) -> &'static str| {
        let mut x = MARGIN as f64;
        for (&i, &width) in shown.iter().zip(&widths) {
            let span = width as f64 * TABLE_CHAR;
            let cell = cells(i);
            let (at, anchor) = if table.columns[i].numeric { (x + span, "end") } else { (x, "start") };
            body.push_str(&text(at, y, css(&cell), anchor, &cell));
            x += span + gap;
        }
    };
    line(y, &|i| table.columns[i].title.clone(), &|_| "soft");
    for row in table.rows.iter().take(ROWS) {
        y += LINE;
        line(y, &|i| shown_cell(row, i), &verdict_class);
    }
    if table.rows.len() > ROWS {
        y += LINE;
        let more = format!("and {} more tiers", table.rows.len() - ROWS);
        body.push_str(&text(MARGIN as f64, y, "soft", "start", &more));
    }
    y + LINE
}

fn verdict_class(cell: &str) -> &'static str {
    match cell.split(' ').next() {
        Some("CLEARS") => "g",
        Some("FAILS") => "b",
        Some("UNDECIDED") => "o",
        _ => "",
    }
}

fn text(x: f64, y: usize, class: &str, anchor: &str, content: &str) -> String {
    let content = escape(content);
    format!("<text x=\"{x:.1}\" y=\"{y}\" class=\"{class}\" text-anchor=\"{anchor}\">{content}</text>\n")
}

/// At most `most` lines that fit; what is cut off ends with an ellipsis.
fn wrap(content: &str, char_width: f64, most: usize) -> Vec<String> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let fits = ((WIDTH - 2 * MARGIN) as f64 / char_width) as usize;
    let mut lines: Vec<String> = Vec::new();
    for word in content.split(' ') {
        // A name longer than a line is cut where the line ends.
        let word: String = word.chars().take(fits).collect();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= fits => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            last.push('…');
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_are_cut_and_long_names_do_not_leave_the_card() {
        let lines = wrap(&"word ".repeat(200), ANSWER_CHAR, 3);
        assert!(lines.len() == 3 && lines[2].ends_with('…'), "{lines:?}");
        assert!(wrap(&"x".repeat(500), ANSWER_CHAR, 3).iter().all(|line| line.len() <= 93));
    }
}
