//! SQL by its results: the rows of the answer are those of a gold query on every random instance of the database.
//!
//! Rows are compared as multisets, in order only if the gold query itself has ORDER BY; numbers within 1e-6; columns may
//! come in another order while there are at most four. Where a question may be read in two ways (names once, or once for
//! each row) an item lists a gold query for each, and an answer has to follow one of them on all instances. Several instances keep wrong queries from being right by chance ("test
//! suite accuracy", Zhong et al., arXiv 2010.02840). SQL that does not run is wrong, not an error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Score;
use crate::quality::sandbox::{Database, Rows, Value};

/// Columns that may be permuted.
const MAX_PERMUTED: usize = 4;

/// The databases of a task: name → instances. Nothing can change them, so every answer runs on the same ones.
#[derive(Clone, Debug)]
pub struct Sql {
    databases: Arc<Mutex<BTreeMap<String, Vec<Database>>>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDatabase {
    name: String,
    instances: Vec<String>,
}

impl Sql {
    /// Reads `databases`, JSON lines with `name` and `instances`, and runs every script.
    ///
    /// # Errors
    /// A line that is no database, a name that comes twice, or a script SQLite refuses.
    pub(crate) fn new(databases: &str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for (line, text) in databases.lines().enumerate() {
            let line = line + 1;
            let wire: WireDatabase = serde_json::from_str(text).map_err(|error| format!("line {line}: {error}"))?;
            if wire.instances.is_empty() {
                return Err(format!("line {line}: `{}` has no instances", wire.name));
            }
            let open = |(i, script): (usize, &String)| {
                Database::new(script).map_err(|error| format!("line {line}, instance {}: {error}", i + 1))
            };
            let instances = wire.instances.iter().enumerate().map(open).collect::<Result<Vec<_>, _>>()?;
            if all.insert(wire.name.clone(), instances).is_some() {
                return Err(format!("line {line}: `{}` comes twice", wire.name));
            }
        }
        if all.is_empty() {
            return Err("no database".into());
        }
        Ok(Self { databases: Arc::new(Mutex::new(all)) })
    }

    /// Whether the answer's rows are those of one of the gold queries `right` on every instance of `database`. A database
    /// that does not exist proves nothing, and neither does a gold query that does not run or has no rows on any instance.
    pub(super) fn score(&self, database: &str, right: &[String], answer: &str) -> Score {
        let answer = answer.trim().trim_end_matches(';');
        // A query that panics inside the lock would have to be a bug of SQLite's; the others still can be judged.
        let mut databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(instances) = databases.get_mut(database) else { return Score::binary(false) };
        let mut same = |right: &String| {
            let ordered = is_ordered(right);
            let mut rows = 0;
            let equal = instances.iter_mut().all(|db| match (db.query(answer), db.query(right)) {
                (Ok(answer), Ok(right)) => {
                    rows += right.len();
                    equal(&right, &answer, ordered)
                }
                _ => false,
            });
            equal && rows > 0
        };
        Score::binary(right.iter().any(&mut same))
    }
}

/// Whether the query's own rows have an order: ORDER BY outside of parentheses and texts.
fn is_ordered(sql: &str) -> bool {
    let (mut depth, mut quoted, mut outside) = (0usize, false, String::new());
    for c in sql.chars() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if !quoted && depth == 0 => outside.push(c.to_ascii_uppercase()),
            _ => {}
        }
    }
    outside.split_whitespace().collect::<Vec<_>>().windows(2).any(|pair| pair == ["ORDER", "BY"])
}

fn equal(right: &Rows, answer: &Rows, ordered: bool) -> bool {
    let columns = right.first().map_or(0, Vec::len);
    if right.len() != answer.len() || answer.first().map_or(0, Vec::len) != columns {
        return false;
    }
    let forms = if columns <= MAX_PERMUTED { permutations(columns) } else { vec![(0..columns).collect()] };
    forms.iter().any(|form| {
        let picked: Rows = answer.iter().map(|row| form.iter().map(|&i| row[i].clone()).collect()).collect();
        if ordered { pairwise(right, &picked) } else { pairwise(&sorted(right), &sorted(&picked)) }
    })
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(n - 1) {
        for place in 0..n {
            let mut form = shorter.clone();
            form.insert(place, n - 1);
            all.push(form);
        }
    }
    all
}

fn pairwise(a: &Rows, b: &Rows) -> bool {
    a.iter().zip(b).all(|(a, b)| a.iter().zip(b).all(|(a, b)| near(a, b)))
}

fn near(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0),
        _ => a == b,
    }
}

fn sorted(rows: &Rows) -> Rows {
    let mut rows = rows.clone();
    rows.sort_by(|a, b| {
        a.iter().zip(b).map(|(a, b)| order(a, b)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    rows
}

fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    let class = |value: &Value| match value {
        Value::Null => 0,
        Value::Number(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.total_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
        _ => class(a).cmp(&class(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(right: &str, answer: &str) -> bool {
        let line = |a: &str, b: &str| {
            format!(
                r#"{{"name":"d","instances":["CREATE TABLE t(a INTEGER, b TEXT); INSERT INTO t VALUES {a};","CREATE TABLE t(a INTEGER, b TEXT); INSERT INTO t VALUES {b};"]}}"#
            )
        };
        let sql = Sql::new(&line("(1,'x'),(2,'y'),(2,'z')", "(5,'x'),(4,'x')")).unwrap();
        sql.score("d", &[right.to_owned()], answer).pass
    }

    #[test]
    fn results_decide_not_wording() {
        assert!(judge("SELECT b FROM t WHERE a > 1", " select b from t where not a <= 1;"));
        assert!(judge("SELECT a, b FROM t", "SELECT b, a FROM t ORDER BY b DESC"));
        assert!(judge("SELECT AVG(a) FROM t", "SELECT SUM(a) * 1.0 / COUNT(*) FROM t"));
        assert!(!judge("SELECT b FROM t", "SELECT DISTINCT b FROM t"), "the second instance tells them apart");
    }

    #[test]
    fn order_counts_only_where_the_question_asks_for_it() {
        assert!(!judge("SELECT b FROM t ORDER BY a", "SELECT b FROM t ORDER BY a DESC"));
        assert!(judge("SELECT b FROM t", "SELECT b FROM t ORDER BY a DESC"));
        let inner = "SELECT b FROM t WHERE a >= (SELECT a FROM t ORDER BY a LIMIT 1)";
        assert!(judge(inner, "SELECT b FROM t ORDER BY a DESC"), "the order of a subquery is not the rows' order");
        assert!(
            !is_ordered("SELECT a FROM t WHERE b = 'order by' AND (1) ") && is_ordered("select a from t order  by a")
        );
    }

    #[test]
    fn one_of_several_readings_is_enough_but_it_must_hold_everywhere() {
        let sql = Sql::new(
            r#"{"name":"d","instances":["CREATE TABLE t(a); INSERT INTO t VALUES(1),(1);","CREATE TABLE t(a); INSERT INTO t VALUES(2);"]}"#,
        );
        let right = ["SELECT a FROM t", "SELECT DISTINCT a FROM t"].map(String::from);
        let pass = |answer| sql.as_ref().unwrap().score("d", &right, answer).pass;
        assert!(pass("SELECT a FROM t") && pass("SELECT a FROM t GROUP BY a"));
        assert!(!pass("SELECT a FROM t LIMIT 0") && !pass("SELECT a, a FROM t"));
    }

    #[test]
    fn columns_may_change_places_but_not_their_number() {
        assert!(judge("SELECT a, b FROM t WHERE a > 1", "SELECT b, a FROM t WHERE a > 1"));
        assert!(!judge("SELECT a, b FROM t", "SELECT a, b, a FROM t"));
        assert!(!judge("SELECT a FROM t WHERE a > 9", "SELECT a, b FROM t WHERE a > 9"), "no rows is no agreement");
    }

    #[test]
    fn sql_that_does_not_run_is_wrong() {
        for answer in ["", "SELEC b FROM t", "DROP TABLE t", "SELECT c FROM t", "SELECT 1; SELECT 2"] {
            assert!(!judge("SELECT b FROM t WHERE a > 9", answer), "{answer}");
        }
        assert!(Sql::new("{\"name\":\"d\",\"instances\":[\"CREATE\"]}").unwrap_err().contains("line 1, instance 1"));
        let empty = r#"{"name":"d","instances":[""]}"#;
        let one = ["SELECT 1".to_owned()];
        assert!(Sql::new(empty).unwrap().score("d", &one, "SELECT 1").pass);
        assert!(!Sql::new(empty).unwrap().score("other", &one, "SELECT 1").pass);
        assert!(Sql::new(&format!("{empty}\n{empty}")).unwrap_err().contains("line 2: `d` comes twice"));
        assert!(Sql::new(r#"{"name":"d","instances":[]}"#).unwrap_err().contains("no instances"));
        assert!(Sql::new("").unwrap_err().contains("no database"));
    }
}
