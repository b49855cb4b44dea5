//! Recomputes every derived number of a record and names the first that differs.
//!
//! A record of an older schema lacks the numbers that were added since: those are skipped, every number it has is compared.
//!
//! Numbers count as equal when they are the same double, or within one part in 10^12: the last digits of `ln` and `exp`
//! differ between the mathematical libraries of platforms. Everything else — strings, counts below 2^53, order and
//! presence of fields — must be identical.

use serde_json::Value;

use super::StoreError;
use super::canonical::{self, Dialect, HASH_FIELD, members_hash};
use super::cell::Outcome;
use super::file::RecordFile;
use super::record::{RawRecord, Record, SCHEMA_VERSION};
use crate::energy::Reading;

/// Sentences that versions 1 and 2 stored beside the numbers they were about. They are worded anew where they are shown.
const SENTENCES: [&str; 2] = ["findings", "statement"];

/// Relative (and, below 1, absolute) difference that counts as none.
const TOLERANCE: f64 = 1e-12;

/// The first difference between a record and what its raw samples give.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// JSON path, e.g. `derived.speed[0].median`.
    pub path: String,
    /// What the file says; `None` if the field is missing.
    pub stored: Option<Value>,
    /// What follows from the raw samples; `None` if nothing should be there.
    pub recomputed: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(value) => {
                let text = value.to_string();
                match text.char_indices().nth(120) {
                    Some((cut, _)) => format!("{}…", &text[..cut]),
                    None => text,
                }
            }
        };
        write!(f, "{}: stored {}, recomputed {}", self.path, show(&self.stored), show(&self.recomputed))
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// Derived numbers compared.
    pub numbers: u64,
    /// The first difference, if any.
    pub difference: Option<Difference>,
}

/// Recomputes the record's derived half and its content hash.
///
/// # Errors
/// [`StoreError::Json`] if the recomputed numbers cannot be written as JSON.
pub fn verify(file: &RecordFile) -> Result<Verification, StoreError> {
    let derived = Record::derive(&file.record.raw);
    let older = file.record.schema_version < SCHEMA_VERSION;
    let dialect = Dialect::of(file.record.schema_version);
    let mut comparison = Comparison { numbers: 0, path: "derived".to_owned(), older };
    // The very text of the file, so that a field this build does not know counts as a difference.
    let stored = |field: &str| file.members.get(field).map(|text| serde_json::from_str::<Value>(text)).transpose();
    let mut difference = readings(&file.record.raw, &mut comparison);
    let recomputed = canonical::form_of(&derived, dialect)?;
    if file.members.get("derived") == Some(&recomputed) {
        // Nearly always the very text: then nothing has to be compared number by number.
        comparison.numbers += canonical::count_numbers(&recomputed);
    } else if difference.is_none() {
        difference = comparison.compare(&stored("derived")?.unwrap_or_default(), &serde_json::to_value(derived)?);
    }
    if difference.is_none() {
        let hash = members_hash(&file.members, dialect);
        let stored = stored(HASH_FIELD)?;
        if stored.as_ref().and_then(Value::as_str) != Some(hash.as_str()) {
            difference = Some(Difference { path: HASH_FIELD.to_owned(), stored, recomputed: Some(Value::from(hash)) });
        }
    }
    Ok(Verification { numbers: comparison.numbers, difference })
}

/// Joules of every reading that keeps its edge reads: the sum over its counted domains (F1, F17).
fn readings(raw: &RawRecord, comparison: &mut Comparison) -> Option<Difference> {
    raw.cells.iter().enumerate().find_map(|(i, cell)| {
        let readings: Vec<(String, &Reading)> = match &cell.outcome {
            Outcome::Speed(cell) => {
                let windows = cell.windows.iter().enumerate();
                windows.map(|(j, w)| (format!("speed.windows[{j}].reading"), &w.reading)).collect()
            }
            Outcome::Task(task) => {
                task.energy.iter().enumerate().map(|(j, r)| (format!("task.energy[{j}]"), r)).collect()
            }
            Outcome::Failed { .. } => Vec::new(),
        };
        readings.into_iter().find_map(|(place, reading)| {
            let stored = reading.joules?.0;
            let counted: Vec<_> = reading.raw.iter().filter(|read| read.is_counted()).collect();
            if counted.is_empty() {
                return None;
            }
            let recomputed: Option<f64> = counted.iter().map(|read| read.joules().map(|joules| joules.0)).sum();
            comparison.numbers += 1;
            let same = recomputed.is_some_and(|recomputed| close(stored, recomputed));
            (!same).then(|| Difference {
                path: format!("raw.cells[{i}].outcome.{place}.joules"),
                stored: Some(Value::from(stored)),
                recomputed: recomputed.map(Value::from),
            })
        })
    })
}

struct Comparison {
    numbers: u64,
    path: String,
    /// Whether the record is of an older schema: fields it does not have are no difference.
    older: bool,
}

impl Comparison {
    fn compare(&mut self, stored: &Value, recomputed: &Value) -> Option<Difference> {
        match (stored, recomputed) {
            (Value::Object(a), Value::Object(b)) => {
                let older = self.older;
                for (key, child) in b.iter().filter(|(key, _)| !older || a.contains_key(*key)) {
                    let difference = self.descend(&format!(".{key}"), a.get(key), Some(child));
                    if difference.is_some() {
                        return difference;
                    }
                }
                let is_sentence = |key: &str| older && SENTENCES.contains(&key);
                let extra = a.keys().find(|key| !b.contains_key(*key) && !is_sentence(key))?;
                self.descend(&format!(".{extra}"), a.get(extra), None)
            }
            (Value::Array(a), Value::Array(b)) => {
                (0..a.len().max(b.len())).find_map(|i| self.descend(&format!("[{i}]"), a.get(i), b.get(i)))
            }
            (Value::Number(a), Value::Number(b)) => {
                self.numbers += 1;
                let same = a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| close(a, b));
                (!same).then(|| self.differs(Some(stored), Some(recomputed)))
            }
            (a, b) => (a != b).then(|| self.differs(Some(stored), Some(recomputed))),
        }
    }

    fn descend(&mut self, step: &str, stored: Option<&Value>, recomputed: Option<&Value>) -> Option<Difference> {
        let length = self.path.len();
        self.path.push_str(step);
        let difference = match (stored, recomputed) {
            (Some(a), Some(b)) => self.compare(a, b),
            (a, b) => Some(self.differs(a, b)),
        };
        self.path.truncate(length);
        difference
    }

    fn differs(&self, stored: Option<&Value>, recomputed: Option<&Value>) -> Difference {
        Difference { path: self.path.clone(), stored: stored.cloned(), recomputed: recomputed.cloned() }
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn first(stored: &Value, recomputed: &Value) -> Option<String> {
        Comparison { numbers: 0, path: "derived".into(), older: false }
            .compare(stored, recomputed)
            .map(|d| d.to_string())
    }

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let truth = json!({"speed": [{"median": 2.0, "n": 5}, {"median": 3.0, "n": 5}], "note": null});
        assert_eq!(first(&truth, &truth), None);
        let mut stored = truth.clone();
        stored["speed"][1]["median"] = json!(3.1);
        assert_eq!(first(&stored, &truth).unwrap(), "derived.speed[1].median: stored 3.1, recomputed 3.0");
        stored["speed"].as_array_mut().unwrap().pop();
        assert!(first(&stored, &truth).unwrap().starts_with("derived.speed[1]: stored nothing"));
        let mut extra = truth.clone();
        extra["more"] = json!(1);
        assert_eq!(first(&extra, &truth).unwrap(), "derived.more: stored 1, recomputed nothing");
        let mut typed = truth.clone();
        typed["note"] = json!(0);
        assert_eq!(first(&typed, &truth).unwrap(), "derived.note: stored 0, recomputed null");
    }

    #[test]
    fn only_the_last_digits_of_a_double_may_differ() {
        assert_eq!(first(&json!(1.0), &json!(1.0 + 1e-14)), None);
        assert!(first(&json!(1.0), &json!(1.0 + 1e-9)).is_some());
        assert!(first(&json!(1e9), &json!(1e9 + 1.0)).is_some());
        assert_eq!(first(&json!(5), &json!(5.0)), None);
    }
}
