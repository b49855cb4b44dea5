//! The sections of a record's page as markup.

use super::Raw;
use super::embed::escape;
use crate::plan::TierKey;
use crate::report::answer::is_cheapest;
use crate::report::document::{Document, Names, Table};
use crate::report::one_line;
use crate::report::spans::{Span, mark_up};
use crate::store::record::Record;

/// Everything between `<main>` and `</main>`.
pub(super) fn body(record: &Record, document: &Document, raw: Raw<'_>, has_plots: bool) -> String {
    let has_items = !record.derived.tasks.is_empty();
    let mut body = header(record, document, has_plots, has_items);
    body.push_str(&tables(record, document));
    if has_plots {
        body.push_str(PLOTS);
    }
    if has_items {
        body.push_str(ITEMS);
    }
    body.push_str(&notes(document));
    body.push_str(&provenance(record, raw));
    body
}

fn header(record: &Record, document: &Document, has_plots: bool, has_items: bool) -> String {
    let run = &record.raw.run;
    let cpu = record.raw.host.cpu.as_deref().unwrap_or(&record.raw.host.arch);
    let day = run.started_at.get(..10).unwrap_or(&run.started_at);
    let mut out =
        format!("<header>\n<h1><b>tierbench</b> · {} · {} · run {}</h1>\n", escape(cpu), escape(day), escape(&run.id),);
    for answer in &document.answers {
        out.push_str(&format!("<p class=\"answer\">{}</p>\n", escape(answer)));
    }
    if document.answers.is_empty() {
        out.push_str("<p class=\"answer\">Speed and cost only: this run judged no task.</p>\n");
    }
    let plots = if has_plots { "<li><a href=\"#plots-section\">Plots</a></li>" } else { "" };
    let items = if has_items { "<li><a href=\"#items-section\">Items</a></li>" } else { "" };
    out.push_str(&format!(
        "</header>\n<nav aria-label=\"Sections\"><ul><li><a href=\"#ladder\">Ladder</a></li>\
         {plots}{items}<li><a href=\"#method\">Method and assumptions</a></li>\
         <li><a href=\"#provenance\">Provenance and data</a></li></ul></nav>\n",
    ));
    out
}

fn tables(record: &Record, document: &Document) -> String {
    let names = Names::of(record);
    let cheapest = |key: &TierKey| record.derived.answers.iter().any(|answer| is_cheapest(record, answer, key));
    let best: Vec<String> =
        record.raw.tiers.iter().filter(|facts| cheapest(&facts.key)).map(|facts| names.label(facts)).collect();
    let mut out = String::from(
        "<section id=\"ladder\">\n<h2>Ladder</h2>\n<div class=\"controls scripted\"><label>Show only rows with \
         <input id=\"filter\" type=\"search\" data-filters=\"ladder\"></label>\
         <span id=\"filter-count\" role=\"status\"></span></div>\n",
    );
    for table in document.tables.iter().filter(|table| !table.rows.is_empty()) {
        out.push_str(&self::table(table, &best));
    }
    out.push_str("</section>\n");
    out
}

/// What a page shows beside the tier: a window shows few columns of a wide table.
const FIRST: [&str; 3] = ["verdict", "pass rate", "$/1k solved"];

/// Places of the columns in the order of the page: the first, the answer, the rest.
fn page_order(table: &Table) -> Vec<usize> {
    let rank = |i: usize| match FIRST.iter().position(|title| *title == table.columns[i].title) {
        _ if i == 0 => 0,
        Some(place) => 1 + place,
        None => 1 + FIRST.len(),
    };
    let mut order: Vec<usize> = (0..table.columns.len()).collect();
    order.sort_by_key(|&i| rank(i));
    order
}

/// A table that can be sorted and filtered; rows that begin with one of `best` are marked.
pub(crate) fn table(table: &Table, best: &[String]) -> String {
    let title = if table.title.is_empty() { "Tiers" } else { &table.title };
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table class=\"sortable ladder\">\
         <caption>{0}</caption>\n<thead><tr>",
        escape(title)
    );
    let order = page_order(table);
    for column in order.iter().map(|&i| &table.columns[i]) {
        let class = if column.numeric { " class=\"n\"" } else { "" };
        out.push_str(&format!("<th scope=\"col\"{class}>{}</th>", escape(&column.title)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        let is_best = row.first().is_some_and(|name| best.contains(name));
        out.push_str(if is_best { "<tr class=\"best\">" } else { "<tr>" });
        for (i, column, cell) in order.iter().filter_map(|&i| Some((i, table.columns.get(i)?, row.get(i)?))) {
            let class = cell_class(column.numeric, cell);
            let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
            let (tag, scope) = if i == 0 { ("th", " scope=\"row\"") } else { ("td", "") };
            out.push_str(&format!("<{tag}{scope}{class}>{}</{tag}>", escape(cell)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

fn cell_class(numeric: bool, cell: &str) -> &'static str {
    match cell.split(' ').next() {
        _ if numeric => "n",
        Some("CLEARS") => "clears",
        Some("FAILS" | "failed") => "fails",
        Some("UNDECIDED") => "undecided",
        _ => "",
    }
}

/// The plots are drawn by the script.
const PLOTS: &str = "<section id=\"plots-section\">\n<h2>Plots</h2>\n<noscript><p class=\"hint\">The plots need \
    JavaScript; the tables hold the same numbers.</p></noscript>\n<div class=\"plots\" id=\"plots\"></div>\n</section>\n";

/// The explorer is filled by the script from the packed record.
const ITEMS: &str = "<section id=\"items-section\">\n<h2>Items</h2>\n\
    <noscript><p class=\"hint\">The items need JavaScript; the record holds them.</p></noscript>\n<div class=\"scripted\">\n\
    <p class=\"hint\">What each tier made of each item. Open one for its prompt and every answer.</p>\n\
    <div class=\"controls\"><label>Task <select id=\"item-task\"></select></label>\
    <label>Show <select id=\"item-outcome\"><option value=\"all\">all items</option>\
    <option value=\"disagree\">where tiers disagree</option><option value=\"failed\">some tier failed</option>\
    <option value=\"none\">no tier solved</option><option value=\"solved\">some tier solved</option></select></label>\
    <label>Containing <input id=\"item-text\" type=\"search\"></label>\
    <span id=\"item-count\" role=\"status\"></span></div>\n\
    <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Items\"><table id=\"items\">\
    <thead><tr><th scope=\"col\">item</th></tr></thead><tbody></tbody></table></div>\n\
    <p class=\"controls\"><button type=\"button\" id=\"item-more\" hidden>Show more</button></p>\n</div>\n</section>\n";

fn notes(document: &Document) -> String {
    let lines: String = document
        .notes
        .iter()
        .map(|note| {
            let class = if note.starts_with("Finding:") { " class=\"finding\"" } else { "" };
            format!("<li{class}>{}</li>\n", with_code(note))
        })
        .collect();
    format!(
        "<section id=\"method\">\n<h2>Method, assumptions, caveats</h2>\n<ul class=\"notes\">\n{lines}</ul>\n</section>\n"
    )
}

/// A sentence, escaped.
fn with_code(text: &str) -> String {
    mark_up(text, |span| match span {
        Span::Text(text) => escape(text),
        Span::Code(code) => format!("<code>{}</code>", escape(code)),
    })
}

/// Where a model's file is from, as a clause.
fn origin(source: Option<&str>) -> String {
    match source {
        Some(made) if made.starts_with("made from ") => made.to_owned(),
        source => format!("from {}", source.unwrap_or("—")),
    }
}

fn provenance(record: &Record, raw: Raw<'_>) -> String {
    let (run, build, host) = (&record.raw.run, &record.raw.build, &record.raw.host);
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "—".into());
    let mut rows = vec![
        ("content sha256".to_owned(), record.content_sha256.clone()),
        ("record".to_owned(), format!("{} version {}", record.schema, record.schema_version)),
        ("command".to_owned(), run.command.clone()),
        ("started, finished".to_owned(), format!("{}, {}", run.started_at, known(&run.finished_at))),
        (
            "build".to_owned(),
            format!(
                "tierbench {}, revision {}, {}, rustc {}, {}",
                build.version,
                known(&build.revision),
                build.profile,
                build.rustc.as_deref().map_or("—", |said| said.trim_start_matches("rustc ")),
                build.target
            ),
        ),
        ("machine".to_owned(), format!("{}, {}, kernel {}", known(&host.cpu), known(&host.os), known(&host.kernel))),
        (
            "seeds".to_owned(),
            format!("interleaving {}, bootstrap {}", record.raw.plan.interleave_seed, record.raw.plan.bootstrap_seed),
        ),
    ];
    for facts in &record.raw.tiers {
        let licence = facts.model.licence.as_deref().unwrap_or("licence unknown");
        let file =
            format!("sha256 {}, {licence}, {}", known(&facts.model.sha256), origin(facts.model.source.as_deref()));
        rows.push((facts.key.0.clone(), file));
    }
    for task in &record.raw.tasks {
        let version = task.version.as_deref().unwrap_or("unversioned");
        let seed = task.rule.order_seed;
        rows.push((format!("task {}", task.name), format!("{version}, sha256 {}, order seed {seed}", task.sha256)));
    }
    let rows: String = rows
        .iter()
        .map(|(name, value)| {
            let (name, value) = (escape(&one_line(name)), escape(&one_line(value)));
            format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>\n")
        })
        .collect();
    let name = escape(&format!("tierbench-{}.json", run.id));
    let save = match raw {
        Raw::Inside(_) => {
            format!(
                "<button type=\"button\" class=\"scripted\" id=\"download\" data-name=\"{name}\">Save the record (JSON)\
                 </button>"
            )
        }
        Raw::Beside(file) => {
            format!("<a href=\"{}\" download=\"{name}\">The record as it was submitted (JSON)</a>", escape(file))
        }
    };
    format!(
        "<section id=\"provenance\">\n<h2>Provenance and data</h2>\n\
         <p class=\"controls\">{save}</p>\n<p class=\"hint\">Every number above follows from the raw samples in the record: \
         <code>tierbench verify FILE</code> recomputes them.</p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Provenance\"><table class=\"provenance\"><tbody>\n\
         {rows}</tbody></table></div>\n</section>\n",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Column;

    #[test]
    fn backticks_make_code_of_escaped_text() {
        for (text, markup) in [
            ("see `tierbench doctor`.", "see <code>tierbench doctor</code>."),
            ("`a` and `<b>`", "<code>a</code> and <code>&lt;b&gt;</code>"),
            ("one ` alone", "one ` alone"),
            ("`a` ` <i>", "<code>a</code> ` &lt;i&gt;"),
        ] {
            assert_eq!(with_code(text), markup);
        }
    }

    #[test]
    fn the_answer_stands_beside_the_tier() {
        let titles = ["tier", "size MiB", "$/1k solved", "pass rate", "items", "verdict"];
        let columns =
            titles.map(|title| Column { title: title.into(), numeric: title != "tier" && title != "verdict" });
        let row = ["q4_0", "10.0", "0.1", "60 %", "50", "CLEARS"].map(String::from).to_vec();
        let table = Table { title: String::new(), columns: columns.into(), rows: vec![row] };
        assert_eq!(page_order(&table), [0, 5, 3, 2, 1, 4]);
        let markup = self::table(&table, &[]);
        let cells = "<th scope=\"row\">q4_0</th><td class=\"clears\">CLEARS</td><td class=\"n\">60 %</td>\
                     <td class=\"n\">0.1</td><td class=\"n\">10.0</td><td class=\"n\">50</td></tr>";
        assert!(markup.contains(cells), "{markup}");
    }

    #[test]
    fn a_model_made_from_another_is_not_from_made_from() {
        assert_eq!(origin(Some("made from q4_k_m (pip a==1)")), "made from q4_k_m (pip a==1)");
        assert_eq!(origin(Some("pip a==1")), "from pip a==1");
        assert_eq!(origin(None), "from —");
    }
}
