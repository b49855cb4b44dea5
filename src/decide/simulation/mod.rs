//! Seeded simulation of every rule: how often each verdict is wrong, and after how many items it falls.
//!
//! Each table of `docs/VERDICTS.md` is computed here and compared with what is published there, to the letter, and each of
//! its rows is held to the rule's own promise: a wrong verdict at most as often as α or β says, with 95 % of Monte Carlo's
//! error on top, and mean items within 10 % of the exact value that was computed independently (`tests/fixtures/vectors`).

mod ladder;
mod paired;
mod tier;

use std::sync::{Mutex, PoisonError};

use crate::stats::binomial;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/VERDICTS.md");
/// Set to 1, the tables are written into the document instead of compared with it.
const RENEW: &str = "TIERBENCH_RENEW_DOCS";

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    hits: u64,
    runs: u64,
}

impl Share {
    fn count(&mut self, hit: bool) {
        self.hits += u64::from(hit);
        self.runs += 1;
    }

    fn value(self) -> f64 {
        self.hits as f64 / self.runs as f64
    }

    /// The share of wrong verdicts for a table, with Monte Carlo's 95 % interval, once it is within its bound.
    fn wrong(self, bound: f64, what: &str) -> String {
        let interval = binomial::clopper_pearson(self.hits, self.runs, 0.95).unwrap();
        assert!(interval.hi <= bound, "{what}: wrong in {self:?}, {interval:?}: more than {bound}");
        format!("{:.2} % [{:.2}, {:.2}]", 100.0 * self.value(), 100.0 * interval.lo, 100.0 * interval.hi)
    }
}

/// Mean items (or cost) beside the reference's, for a table, once it is within 10 % of it: ours, reference, ratio.
fn beside(mean: f64, reference: f64, digits: usize, what: &str) -> [String; 3] {
    let ratio = mean / reference;
    assert!((ratio - 1.0).abs() < 0.10, "{what}: {mean:.1} on average, the reference has {reference:.1}");
    [format!("{mean:.digits$}"), format!("{reference:.digits$}"), format!("{ratio:.3}")]
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Holds the table called `name` in the document to these rows.
fn publish(name: &str, header: &[&str], rows: &[Vec<String>]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let mut table = line(header.to_vec());
    table += &line(header.iter().enumerate().map(|(i, _)| if i == 0 { "---" } else { "---:" }).collect());
    table.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));

    // One table that fails says nothing about the others.
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let begin = format!("<!-- simulated: {name} -->\n\n");
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no `{}` in the document", begin.trim()));
    let (published, after) = rest.split_once("\n<!-- end -->").unwrap();
    if std::env::var_os(RENEW).is_some_and(|value| value == "1") {
        std::fs::write(DOCUMENT, format!("{before}{begin}{table}\n<!-- end -->{after}")).unwrap();
    } else {
        assert_eq!(published, table, "docs/VERDICTS.md is out of date: {RENEW}=1 writes it");
    }
}
