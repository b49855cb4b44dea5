//! Token-level requests, tokenized as lm-eval tokenizes them.

use super::{Codec, QualityError};

/// Log-likelihoods of several continuations of one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChoiceRequest {
    /// Tokens in front of every continuation; not empty.
    pub context: Vec<u32>,
    /// Each continuation's tokens; none is empty.
    pub continuations: Vec<Vec<u32>>,
}

/// Greedy text after a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRequest {
    /// Prompt tokens; not empty.
    pub context: Vec<u32>,
}

/// What a request needs of the engine.
pub trait Request {
    /// Whether the model writes behind the prompt, token by token.
    const WRITES: bool;

    /// Its prompt; not empty.
    fn context(&self) -> &[u32];

    /// Sequences it needs of its own, at least one.
    fn n_seqs(&self) -> usize;
}

impl Request for ChoiceRequest {
    const WRITES: bool = false;

    fn context(&self) -> &[u32] {
        &self.context
    }

    fn n_seqs(&self) -> usize {
        self.n_long().max(1)
    }
}

impl Request for TextRequest {
    const WRITES: bool = true;

    fn context(&self) -> &[u32] {
        &self.context
    }

    fn n_seqs(&self) -> usize {
        1
    }
}

impl ChoiceRequest {
    /// Tokenizes `context + continuation` whole and splits it behind the tokens of the context alone; trailing white space
    /// of the context moves into the continuation first.
    ///
    /// Source: lm-evaluation-harness `api/model.py::TemplateLM._encode_pair`.
    ///
    /// # Errors
    /// What the tokenizer says, or an empty context or continuation.
    pub fn new(codec: &dyn Codec, context: &str, continuations: &[String]) -> Result<Self, QualityError> {
        let bare = context.trim_end();
        let moved = &context[bare.len()..];
        let ids = codec.encode(bare, true)?;
        let mut split = Vec::with_capacity(continuations.len());
        for continuation in continuations {
            let whole = codec.encode(&format!("{bare}{moved}{continuation}"), true)?;
            split.push(whole.get(ids.len()..).map(<[u32]>::to_vec).unwrap_or_default());
        }
        if ids.is_empty() || split.iter().any(Vec::is_empty) {
            return Err(QualityError::BadKey {
                path: "request".into(),
                key: "doc_to_choice".into(),
                reason: "a prompt or choice has no tokens of its own".into(),
            });
        }
        Ok(Self { context: ids, continuations: split })
    }

    /// Continuations that need a sequence of their own: of a single token the context's last logits tell all.
    pub(super) fn n_long(&self) -> usize {
        self.continuations.iter().filter(|tokens| tokens.len() > 1).count()
    }

    /// Positions the longest continuation reaches.
    pub(super) fn n_positions(&self) -> usize {
        self.context.len() + self.continuations.iter().map(Vec::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::ByteCodec;
    use super::*;

    #[test]
    fn trailing_spaces_of_the_context_belong_to_the_continuation() {
        let request = ChoiceRequest::new(&ByteCodec, "A: ", &["x".into(), "yz".into()]).unwrap();
        assert_eq!(request.context, b"A:".map(u32::from));
        assert_eq!(request.continuations, [b" x".map(u32::from).to_vec(), b" yz".map(u32::from).to_vec()]);
        assert_eq!((request.n_long(), request.n_positions()), (2, 5));
    }

    #[test]
    fn an_empty_choice_is_an_error() {
        assert!(ChoiceRequest::new(&ByteCodec, "A:", &[String::new()]).is_err());
    }
}
