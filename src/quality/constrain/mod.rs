//! Answers of a given form: at every step only tokens that can still lead to one may be taken.
//!
//! [`Labels`] holds an answer to a few texts, [`Schema`] to the JSON of a schema. The form is certain then; whether the
//! answer is right is not, and is scored as ever.

mod labels;
mod schema;

use super::QualityError;

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

/// The likeliest token that may come next, ties to the lowest id, given the `favourite` of all tokens; `None` if the answer
/// should stop here, or if the logits are too few. NaN is never likeliest.
#[must_use]
pub fn likeliest(next: &Next, logits: &[f32], favourite: u32) -> Option<u32> {
    let mut found: Option<(u32, f32)> = None;
    let mut offer = |id: u32| {
        let Some(&logit) = logits.get(id as usize) else { return };
        if found.is_none_or(|(known, most)| logit > most || (logit == most && id < known)) {
            found = Some((id, logit));
        }
    };
    match next {
        Next::Optional(ids) => return ids.contains(&favourite).then_some(favourite),
        Next::Mask(words) if is_set(words, favourite) => return Some(favourite),
        Next::Tokens(ids) => ids.iter().copied().for_each(offer),
        // Most masks allow a few ids of a large vocabulary: word by word, only what is set is looked at.
        Next::Mask(words) => {
            for (&word, first) in words.iter().zip((0u32..).step_by(32)) {
                let mut left = word;
                while left != 0 {
                    offer(first + left.trailing_zeros());
                    left &= left - 1;
                }
            }
        }
    }
    found.map(|(id, _)| id)
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
        let likeliest = |next: &Next| super::likeliest(next, &logits, 4);
        assert_eq!(likeliest(&Next::Tokens(vec![3, 2, 0])), Some(2));
        assert_eq!(likeliest(&Next::Mask(vec![0b01101])), Some(2));
        assert_eq!(likeliest(&Next::Mask(vec![0b10000])), Some(4));
        assert_eq!(likeliest(&Next::Optional(vec![1, 2])), None);
        assert_eq!(likeliest(&Next::Optional(vec![1, 4])), Some(4));
        assert_eq!(likeliest(&Next::Mask(vec![])), None);
        assert_eq!(likeliest(&Next::Tokens(vec![9])), None);
    }

    #[test]
    fn a_mask_of_many_words_is_searched_to_its_end() {
        let mut logits = vec![0.0; 100];
        (logits[3], logits[64], logits[70], logits[99]) = (9.0, 1.0, 2.0, 2.0);
        assert_eq!(likeliest(&Next::Mask(vec![0, 0, 0b0100_0001, 1 << 3]), &logits, 3), Some(70));
        // Bits beyond the logits are nobody's.
        assert_eq!(likeliest(&Next::Mask(vec![0, 0, 1, 1 << 31]), &logits, 3), Some(64));
    }
}
