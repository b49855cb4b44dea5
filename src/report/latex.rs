//! LaTeX: tables with booktabs rules, for papers, shrunk where they are wider than the page. Needs the packages booktabs and
//! adjustbox; everything else is plain LaTeX.

use super::document::{Document, Table};
use super::spans::{Span, mark_up};
use super::{Format, ReportError};
use crate::store::record::Record;

/// LaTeX with booktabs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latex;

impl Format for Latex {
    fn render(&self, record: &Record) -> Result<String, ReportError> {
        Ok(layout(&Document::of(record)))
    }
}

/// Lays out a document: one float per table, the answers as caption of the first, the notes beneath it.
#[must_use]
pub fn layout(document: &Document) -> String {
    let mut out = String::from("% Made by tierbench; needs \\usepackage{booktabs,adjustbox}.\n");
    for (i, table) in document.tables.iter().filter(|table| !table.rows.is_empty()).enumerate() {
        let mut caption: Vec<String> = Vec::new();
        if i == 0 {
            caption.extend(document.answers.iter().map(|answer| prose(answer)));
        }
        if !table.title.is_empty() {
            caption.push(format!("{}.", escape(&table.title)));
        }
        out.push_str("\\begin{table}[t]\n\\centering\\small\n");
        if !caption.is_empty() {
            out.push_str(&format!("\\caption{{{}}}\n", caption.join(" ")));
        }
        out.push_str("\\begin{adjustbox}{max width=\\textwidth}\n");
        out.push_str(&self::table(table));
        out.push_str("\\end{adjustbox}\n");
        if i == 0 && !document.notes.is_empty() {
            out.push_str("\n\\begin{flushleft}\\footnotesize\n");
            out.extend(document.notes.iter().map(|note| format!("{}\\par\n", prose(note))));
            out.push_str("\\end{flushleft}\n");
        }
        out.push_str("\\end{table}\n");
    }
    out
}

/// One tabular.
#[must_use]
pub fn table(table: &Table) -> String {
    let align: String = table.columns.iter().map(|column| if column.numeric { 'r' } else { 'l' }).collect();
    let row = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
    let mut out = format!("\\begin{{tabular}}{{@{{}}{align}@{{}}}}\n\\toprule\n");
    out.push_str(&row(table.columns.iter().map(|column| escape(&column.title)).collect()));
    out.push_str("\\midrule\n");
    for cells in &table.rows {
        out.push_str(&row(cells.iter().map(|cell| escape(cell)).collect()));
    }
    out.push_str("\\bottomrule\n\\end{tabular}\n");
    out
}

/// A sentence.
fn prose(text: &str) -> String {
    mark_up(text, |span| match span {
        Span::Text(text) => escape(text),
        Span::Code(code) => format!("\\texttt{{{}}}", escape(code)),
    })
}

/// Text that stays text; the signs tables use become LaTeX's. Two hyphens would become a dash. A bracket is hidden from the
/// `\\` before it, which would take it for its argument.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '{' | '}' | '$' | '&' | '#' | '_' | '%' => {
                out.push('\\');
                out.push(c);
            }
            '`' => out.push_str("\\textasciigrave{}"),
            '-' if out.ends_with('-') => out.push_str("{}-"),
            '[' => out.push_str("{[}"),
            ']' => out.push_str("{]}"),
            '—' => out.push_str("---"),
            '–' => out.push_str("--"),
            '±' => out.push_str("$\\pm$"),
            '≥' => out.push_str("$\\geq$"),
            '≤' => out.push_str("$\\leq$"),
            '≈' => out.push_str("$\\approx$"),
            '×' => out.push_str("$\\times$"),
            '←' => out.push_str("$\\leftarrow$"),
            '→' => out.push_str("$\\rightarrow$"),
            'α' => out.push_str("$\\alpha$"),
            'β' => out.push_str("$\\beta$"),
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
    fn commands_in_sentences_are_set_as_code() {
        assert_eq!(
            prose("run `a --b_c` <d> `e"),
            "run \\texttt{a -{}-b\\_c} \\textless{}d\\textgreater{} \\textasciigrave{}e"
        );
    }

    #[test]
    fn tables_have_booktabs_rules_and_names_stay_text() {
        let table = Table {
            title: String::new(),
            columns: vec![
                Column { title: "tier".into(), numeric: false },
                Column { title: "$/1k".into(), numeric: true },
            ],
            rows: vec![vec!["q4_0 \\input{x}".into(), "12.3 ± 0.4".into()], vec!["[a] & 50 %".into(), "—".into()]],
        };
        insta::assert_snapshot!(super::table(&table), @r"
        \begin{tabular}{@{}lr@{}}
        \toprule
        tier & \$/1k \\
        \midrule
        q4\_0 \textbackslash{}input\{x\} & 12.3 $\pm$ 0.4 \\
        {[}a{]} \& 50 \% & --- \\
        \bottomrule
        \end{tabular}
        ");
    }
}
