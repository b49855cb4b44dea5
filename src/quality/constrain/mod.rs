//! Answers of a given form: at every step only tokens that can still lead to one may be taken.
//!
//! [`Labels`] holds an answer to a few texts, [`Schema`] to the JSON of a schema. The form is certain then; whether the
//! answer is right is not, and is scored as ever.

mod labels;
mod schema;

use super::QualityError;
use crate::engine::argmax;

pub use labels::Labels;
pub use schema::{Schema, check_schema};

/// What the next token may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// One of these ids.
    Tokens(Vec<u32>),
    /// One of these if the model likes it best of all tokens; else the answer is complete as it stands.
    Optional(Vec<u32>),
    /// An id whose bit is set: bit `id % 32` of word `id / 32`.
    Mask(Vec<u32>),
}

/// The form of one answer, as far as it has been written.
pub trait Constraint: std::fmt::Debug {
    /// What may come next. Not called on an answer that is complete.
    ///
    /// # Errors
    /// When nothing may come next although the answer is not complete, or the form's own limits are exceeded.
    fn next(&mut self) -> Result<Next, QualityError>;

    /// Notes the token taken; returns whether the answer is complete and nothing can follow.
    ///
    /// # Errors
    /// A token that was not allowed.
    fn take(&mut self, token: u32) -> Result<bool, QualityError>;
}

/// The likeliest token that may come next, ties to the lowest id; `None` if the answer should stop here, or if the logits
/// hold a NaN or are too few.
#[must_use]
pub fn likeliest(next: &Next, logits: &[f32]) -> Option<u32> {
    let best = argmax(logits)?;
    let among = |ids: &mut dyn Iterator<Item = u32>| {
        let mut found: Option<(u32, f32)> = None;
        for id in ids {
            let Some(&logit) = logits.get(id as usize) else { continue };
            if found.is_none_or(|(known, most)| logit > most || (logit == most && id < known)) {
                found = Some((id, logit));
            }
        }
        found.map(|(id, _)| id)
    };
    match next {
        Next::Tokens(ids) => among(&mut ids.iter().copied()),
        Next::Optional(ids) => ids.contains(&best).then_some(best),
        Next::Mask(words) if is_set(words, best) => Some(best),
        Next::Mask(words) => {
            let n = u32::try_from(logits.len()).unwrap_or(u32::MAX);
            among(&mut (0..n).filter(|&id| is_set(words, id)))
        }
    }
}

fn is_set(words: &[u32], id: u32) -> bool {
    words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_allowed_token_wins_and_ties_go_to_the_lowest() {
        let logits = [0.0, 3.0, 2.0, 2.0, 5.0];
        assert_eq!(likeliest(&Next::Tokens(vec![3, 2, 0]), &logits), Some(2));
        assert_eq!(likeliest(&Next::Mask(vec![0b01101]), &logits), Some(2));
        assert_eq!(likeliest(&Next::Mask(vec![0b10000]), &logits), Some(4));
        assert_eq!(likeliest(&Next::Optional(vec![1, 2]), &logits), None);
        assert_eq!(likeliest(&Next::Optional(vec![1, 4]), &logits), Some(4));
        assert_eq!(likeliest(&Next::Mask(vec![]), &logits), None);
        assert_eq!(likeliest(&Next::Tokens(vec![9]), &logits), None);
        assert_eq!(likeliest(&Next::Tokens(vec![0]), &[f32::NAN, 1.0]), None);
    }
}
