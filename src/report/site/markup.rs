//! The leaderboard as markup. A table may hold the rows of a thousand records: its first rows are in the page, the others
//! are kept apart, for the script to draw when they are asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::index::{Index, QualityGroup, Ranked, SpeedGroup};
use super::summary::{QualityRow, SpeedRow, Subject};
use crate::report::counted;
use crate::report::html::embed::escape;
use crate::report::number::{UNKNOWN, maybe, percent, plain, plus_minus, significant, with_ends};

/// Rows of a table that are in the page from the start; the ranked ones come first.
const SHOWN: usize = 100;

/// Markup of the rows that are not in the page, by the name of their table.
pub(super) type Rest = BTreeMap<String, String>;

/// Everything between `<main>` and `</main>`.
pub(super) fn body(index: &Index) -> (String, Rest) {
    let mut rest = Rest::new();
    let named = index.records.iter().map(|record| record.machine.as_str()).filter(|machine| *machine != "unknown");
    let machines: BTreeSet<&str> = named.collect();
    let mut out = format!(
        "<header>\n<h1><b>tierbench</b> leaderboard</h1>\n<p class=\"answer\">{} from {}. Rows are \
         ranked only against rows that hold the same thing; rows of one rank are ties.</p>\n</header>\n\
         <nav aria-label=\"Sections\"><ul>{}{}<li><a href=\"#records\">Records</a></li></ul></nav>\n",
        counted(index.records.len() as u64, "record"),
        counted(machines.len() as u64, "machine"),
        if index.quality.is_empty() { "" } else { "<li><a href=\"#tasks\">Tasks</a></li>" },
        if index.speed.is_empty() { "" } else { "<li><a href=\"#speed\">Speed</a></li>" },
    );
    out.push_str(COMPARISON);
    out.push_str(
        "<div class=\"controls scripted\"><label>Show only rows with (machine, model, level …) \
         <input id=\"filter\" type=\"search\" data-filters=\"ladder\"></label>\
         <span id=\"filter-count\" role=\"status\"></span></div>\n",
    );
    if !index.quality.is_empty() {
        out.push_str("<section id=\"tasks\">\n<h2>Tasks</h2>\n");
        out.extend(index.quality.iter().enumerate().map(|(i, group)| quality(i, group, &mut rest)));
        out.push_str("</section>\n");
    }
    if !index.speed.is_empty() {
        out.push_str(
            "<section id=\"speed\">\n<h2>Speed</h2>\n<p class=\"hint\">One table per test: prompts, generation, other \
             depths and other batch sizes do different work and are never ranked against each other. Joules stand \
             beside the speed with what they cover and are not ranked.</p>\n",
        );
        out.extend(index.speed.iter().enumerate().map(|(i, group)| speed(i, group, &mut rest)));
        out.push_str("</section>\n");
    }
    out.push_str(&records(index, &mut rest));
    (out, rest)
}

/// The first of these rows, the end of their table, and how many there are; the others go into `rest`.
fn close(name: &str, rows: impl ExactSizeIterator<Item = String>, rest: &mut Rest) -> String {
    let all = rows.len();
    let (mut out, mut others) = (String::new(), String::new());
    for (place, row) in rows.enumerate() {
        if place < SHOWN { &mut out } else { &mut others }.push_str(&row);
    }
    out.push_str("</tbody></table></div>\n");
    if all > SHOWN {
        out.push_str(&format!(
            "<p class=\"controls\" id=\"more-{name}\"><span role=\"status\">{SHOWN} of {all} rows are shown.</span> \
             <button type=\"button\" hidden>Show more</button></p>\n"
        ));
        rest.insert(name.to_owned(), others);
    }
    out
}

/// How the script finds the rows of a table that are not in the page.
fn waiting(name: &str, rows: usize) -> String {
    if rows > SHOWN { format!(" data-rest=\"{name}\"") } else { String::new() }
}

/// Filled by the script from the rows that are ticked; its address can be shared.
const COMPARISON: &str = "<section id=\"comparison\" hidden>\n<h2>Comparison</h2>\n\
    <p class=\"controls\"><a id=\"permalink\" href=\"#\">Link to this comparison</a> \
    <button type=\"button\" id=\"clear\">Clear</button></p>\n<p id=\"comparable\" class=\"hint\" role=\"status\"></p>\n\
    <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Comparison\"><table id=\"compared\"><thead></thead>\
    <tbody></tbody></table></div>\n</section>\n";

/// The first names the row and stays in view: model and level, which tell the tiers of a ladder apart.
const WHO: [&str; 4] = ["tier", "rank", "machine", "engine"];

const RANKED: &str = "Ranked by the cost of 1,000 solved items among the tiers that clear the bar. A rank is one more than the \
    number of rows whose whole interval is cheaper: rows of one rank are ties, and ranks may be skipped.";

fn quality(place: usize, group: &QualityGroup, rest: &mut Rest) -> String {
    let class = &group.class;
    let title = format!(
        "{} ({}), {} ≥ {}, {}, {}",
        class.task, class.version, class.metric, class.bar, class.energy, class.prices
    );
    let mut out = format!("<h3>{}</h3>\n", escape(&title));
    let hash = class.task_sha256.get(..12).unwrap_or(&class.task_sha256);
    out.push_str(&format!(
        "<p class=\"hint\">{} Items and prompts: sha256 {}…</p>\n",
        if group.rows.iter().any(|row| row.rank.is_some()) {
            RANKED
        } else {
            "Nothing to rank: no row clears the bar at a known cost."
        },
        escape(hash)
    ));
    for reason in &group.apart {
        out.push_str(&format!("<p class=\"note\">{}</p>\n", escape(reason)));
    }
    out.push_str(&budgets(group));
    out.push_str(&format!(
        "<figure class=\"site-plot\" data-group=\"{place}\"></figure>\n\
         <figure class=\"site-plot\" data-trend=\"{place}\"></figure>\n"
    ));
    let columns = ["$/1k solved", "pass rate", "items", "bar", "s/item", "J/item"];
    let name = format!("q{place}");
    out.push_str(&open(&title, &columns, &["verdict", "compare"], &waiting(&name, group.rows.len())));
    let rows = group.rows.iter().enumerate().map(|(row, ranked)| quality_row(ranked, &format!("{name}.{row}")));
    out.push_str(&close(&name, rows, rest));
    out
}

fn budgets(group: &QualityGroup) -> String {
    if group.budgets.is_empty() {
        return String::new();
    }
    let mut out = String::from("<ul class=\"notes\">\n");
    for budget in &group.budgets {
        let row = &group.rows[budget.row].row;
        let rate = row.rate.map_or(UNKNOWN.into(), |rate| percent(&rate));
        let Subject { model, level, machine, .. } = &row.subject;
        out.push_str(&format!(
            "<li>From ${} per 1,000 solved items the best is <strong>{} {}</strong> on {}: {}.</li>\n",
            significant(budget.usd_per_1k_solved, 3),
            escape(model),
            escape(level),
            escape(machine),
            escape(&rate),
        ));
    }
    out.push_str("</ul>\n");
    out
}

fn quality_row(ranked: &Ranked<QualityRow>, id: &str) -> String {
    let row = &ranked.row;
    let mut out = who(ranked.rank, &row.subject);
    let cost = row.usd_per_1k_solved.map_or(UNKNOWN.into(), |cost| with_ends(&cost, 3));
    let rate = row.rate.map_or(UNKNOWN.into(), |rate| percent(&rate));
    for cell in [
        cost,
        rate,
        row.items.to_string(),
        plain(row.bar),
        maybe(row.seconds_per_item, 3),
        maybe(row.joules_per_item, 3),
    ] {
        out.push_str(&format!("<td class=\"n\">{}</td>", escape(&cell)));
    }
    let (class, verdict) = (escape(&row.verdict.to_lowercase()), escape(&row.verdict));
    out.push_str(&format!("<td class=\"{class}\">{verdict}</td>{}</tr>\n", tick(id, &row.subject)));
    out
}

fn speed(place: usize, group: &SpeedGroup, rest: &mut Rest) -> String {
    let mut out = format!("<h3>{}</h3>\n", escape(&group.test));
    let name = format!("s{place}");
    let waiting = waiting(&name, group.rows.len());
    out.push_str(&open(&group.test, &["tok/s", "J/token"], &["energy", "compare"], &waiting));
    let rows = group.rows.iter().enumerate().map(|(row, ranked)| speed_row(ranked, &format!("{name}.{row}")));
    out.push_str(&close(&name, rows, rest));
    out
}

fn speed_row(ranked: &Ranked<SpeedRow>, id: &str) -> String {
    let row = &ranked.row;
    let mut out = who(ranked.rank, &row.subject);
    let rate = row.rate.map_or(UNKNOWN.into(), |rate| plus_minus(&rate));
    out.push_str(&format!(
        "<td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td>{}</tr>\n",
        escape(&rate),
        escape(&maybe(row.joules_per_token, 3)),
        escape(&row.energy),
        tick(id, &row.subject),
    ));
    out
}

fn open(title: &str, numbers: &[&str], texts: &[&str], waiting: &str) -> String {
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table class=\"sortable ladder\"{waiting}>\
         <caption class=\"sr\">{0}</caption><thead><tr>",
        escape(title)
    );
    for column in WHO {
        let class = if column == "rank" { " class=\"n\"" } else { "" };
        out.push_str(&format!("<th scope=\"col\"{class}>{column}</th>"));
    }
    out.extend(numbers.iter().map(|column| format!("<th scope=\"col\" class=\"n\">{column}</th>")));
    out.extend(texts.iter().map(|column| format!("<th scope=\"col\">{column}</th>")));
    out.push_str("</tr></thead>\n<tbody>\n");
    out
}

fn who(rank: Option<usize>, subject: &Subject) -> String {
    let rank = rank.map_or(UNKNOWN.into(), |rank| rank.to_string());
    let Subject { run, model, level, engine, machine } = subject;
    format!(
        "<tr><th scope=\"row\"><a href=\"records/{}.html\">{} {}</a></th><td class=\"n\">{rank}</td><td>{}</td><td>{}</td>",
        escape(run),
        escape(model),
        escape(level),
        escape(machine),
        escape(engine),
    )
}

fn tick(id: &str, subject: &Subject) -> String {
    let name = escape(&format!("compare {} {} on {}", subject.model, subject.level, subject.machine));
    format!("<td><input type=\"checkbox\" data-row=\"{id}\" aria-label=\"{name}\"></td>")
}

fn records(index: &Index, rest: &mut Rest) -> String {
    let mut out = format!(
        "<section id=\"records\">\n<h2>Records</h2>\n<p class=\"hint\">The same as data: \
         <a href=\"index.json\">index.json</a>. When this site was built, every number of every record was recomputed from \
         its raw samples and its content hash compared: a record in which one differs is listed with that number and not \
         ranked. <code>tierbench verify FILE</code> does the same.</p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Records\"><table class=\"sortable ladder\"{}>\
         <caption class=\"sr\">Records</caption><thead><tr><th scope=\"col\">run</th><th scope=\"col\">machine</th>\
         <th scope=\"col\">costs assume</th><th scope=\"col\">measured by</th><th scope=\"col\">content sha256</th>\
         <th scope=\"col\">record</th><th scope=\"col\">ranked</th></tr></thead>\n<tbody>\n",
        waiting("records", index.records.len())
    );
    let rows = index.records.iter().map(|record| {
        let run = escape(&record.run);
        let ranked = match &record.unranked {
            None => "yes".to_owned(),
            Some(why) => format!("no: {}", escape(why)),
        };
        let signature = record
            .signature
            .as_ref()
            .map_or_else(String::new, |name| format!(", <a href=\"records/{}\">signature</a>", escape(name)));
        format!(
            "<tr><th scope=\"row\"><a href=\"records/{run}.html\">{run}</a></th><td>{}</td><td>{}</td><td>{}</td>\
             <td><code>{}</code></td><td><a href=\"records/{run}.json\">JSON</a>{signature}</td><td>{ranked}</td></tr>\n",
            escape(&record.machine),
            escape(&record.prices),
            escape(&record.build),
            escape(record.content_sha256.get(..16).unwrap_or(&record.content_sha256)),
        )
    });
    out.push_str(&close("records", rows, rest));
    if !index.left_out.is_empty() {
        out.push_str("<h3>Left out</h3>\n<ul class=\"notes\">\n");
        for left in &index.left_out {
            out.push_str(&format!("<li>{}: {}</li>\n", escape(&left.file), escape(&left.why)));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
    out
}
