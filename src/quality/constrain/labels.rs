//! One of a few texts: greedy decoding along the tree of their tokens.

use super::{Constraint, Next};
use crate::quality::QualityError;

/// The answer is one of these token sequences. Where one is the beginning of another, the longer one is written only if
/// the model's favourite of all tokens goes on with it.
#[derive(Clone, Debug)]
pub struct Labels {
    sequences: Vec<Vec<u32>>,
    taken: Vec<u32>,
}

impl Labels {
    /// Tokens of each text, none of them empty.
    #[must_use]
    pub fn new(sequences: Vec<Vec<u32>>) -> Self {
        Self { sequences, taken: Vec::new() }
    }

    /// Tokens that continue what has been taken towards some text, and whether it already is one.
    fn open(&self) -> (Vec<u32>, bool) {
        let behind = self.sequences.iter().filter_map(|tokens| tokens.strip_prefix(self.taken.as_slice()));
        let (mut next, mut complete) = (Vec::new(), false);
        for rest in behind {
            match rest.first() {
                Some(&token) if !next.contains(&token) => next.push(token),
                Some(_) => {}
                None => complete = true,
            }
        }
        (next, complete)
    }
}

impl Constraint for Labels {
    fn next(&mut self) -> Result<Next, QualityError> {
        match self.open() {
            (next, true) => Ok(Next::Optional(next)),
            (next, false) if !next.is_empty() => Ok(Next::Tokens(next)),
            _ => Err(QualityError::Constraint("no label is left".into())),
        }
    }

    fn take(&mut self, token: u32) -> Result<bool, QualityError> {
        self.taken.push(token);
        match self.open() {
            (next, complete) if complete || !next.is_empty() => Ok(next.is_empty()),
            _ => Err(QualityError::Constraint(format!("token {token} belongs to no label"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_labels_is_walked_to_its_leaves() {
        let mut labels = Labels::new(vec![vec![1, 2], vec![1, 3, 4], vec![5]]);
        assert_eq!(labels.next().unwrap(), Next::Tokens(vec![1, 5]));
        assert!(!labels.take(1).unwrap());
        assert_eq!(labels.next().unwrap(), Next::Tokens(vec![2, 3]));
        assert!(!labels.take(3).unwrap());
        assert!(labels.take(4).unwrap());
        assert!(Labels::new(vec![vec![5]]).take(5).unwrap());
        assert!(Labels::new(vec![vec![5]]).take(6).is_err());
    }

    #[test]
    fn a_label_that_begins_another_may_end_or_go_on() {
        let mut labels = Labels::new(vec![vec![1], vec![1, 2]]);
        assert!(!labels.take(1).unwrap());
        assert_eq!(labels.next().unwrap(), Next::Optional(vec![2]));
        assert!(labels.take(2).unwrap());
    }
}
