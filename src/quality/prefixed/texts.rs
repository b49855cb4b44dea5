//! Greedy text for many items at once, free or held to a form.

use super::{Effort, PrefixedEngine, logprob, position, share};
use crate::engine::{Batch, EngineError, SeqId, argmax, logsumexp};
use crate::quality::constrain::{Constraint, likeliest};
use crate::quality::request::TextRequest;
use crate::quality::task::Generation;
use crate::quality::{Codec, FinishReason, QualityError};

/// Text of a [`TextRequest`].
#[derive(Clone, Debug, PartialEq)]
pub struct TextOutcome {
    /// What was generated, without the stop string.
    pub text: String,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Mean ln p of the tokens; `None` if there are none.
    pub mean_logprob: Option<f64>,
    /// Why it ended.
    pub finish: FinishReason,
    /// Cost.
    pub effort: Effort,
}

impl PrefixedEngine<'_> {
    /// Generates greedily for every request; ties go to the lowest token id. `constraints` hold the answers to a form, one
    /// for each request, or are empty.
    ///
    /// # Errors
    /// What the engine says; [`EngineError::NotANumber`] for logits that are not numbers;
    /// [`QualityError::Constraint`] for an answer its form gives no way on.
    pub fn texts(
        &mut self,
        codec: &dyn Codec,
        requests: &[TextRequest],
        constraints: Vec<Box<dyn Constraint>>,
        limits: &Generation,
    ) -> Result<Vec<TextOutcome>, QualityError> {
        let mut constraints: Vec<_> = constraints.into_iter().map(Some).collect();
        constraints.resize_with(requests.len(), || None);
        if self.forks && requests.len() < self.engine.facts().max_seqs as usize {
            return self.texts_together(codec, requests, constraints, limits);
        }
        let mut outcomes = Vec::new();
        for (request, constraint) in requests.iter().zip(constraints) {
            outcomes.extend(self.texts_together(codec, std::slice::from_ref(request), vec![constraint], limits)?);
        }
        Ok(outcomes)
    }

    fn texts_together(
        &mut self,
        codec: &dyn Codec,
        requests: &[TextRequest],
        constraints: Vec<Option<Box<dyn Constraint>>>,
        limits: &Generation,
    ) -> Result<Vec<TextOutcome>, QualityError> {
        let n_ctx = self.engine.facts().n_ctx as usize;
        let start = self.spent;
        let mut drafts: Vec<Draft> = Vec::with_capacity(requests.len());
        let mut batch = Batch::new();
        let mut active = Vec::new();
        for (i, (request, constraint)) in requests.iter().zip(constraints).enumerate() {
            let effort = Effort {
                n_prompt: position(request.context.len()),
                n_cached: position(self.reusable(&request.context)),
                ..Effort::default()
            };
            let mut draft = Draft { seq: self.base, effort, constraint, ..Draft::default() };
            if request.context.len() >= n_ctx {
                draft.finish = Some(FinishReason::Context);
            } else {
                draft.seq = self.open(&request.context, &mut batch)?;
                active.push(i);
            }
            drafts.push(draft);
        }
        while !active.is_empty() {
            self.forward(&batch, |row, logits| drafts[active[row]].take(logits, codec))?;
            for &i in &active {
                drafts[i].judge(codec, limits, requests[i].context.len(), n_ctx);
            }
            active.retain(|&i| drafts[i].finish.is_none());
            batch.clear();
            for &i in &active {
                let draft = &drafts[i];
                if let Some(&last) = draft.ids.last() {
                    batch.push(last, draft.seq, position(requests[i].context.len() + draft.ids.len() - 1), true);
                }
            }
        }
        self.close_all()?;
        share(self.spent - start, drafts.iter_mut().map(|draft| &mut draft.effort));
        Ok(drafts.into_iter().map(Draft::outcome).collect())
    }
}

/// A text being generated.
#[derive(Debug)]
struct Draft {
    seq: SeqId,
    ids: Vec<u32>,
    text: String,
    logprob: f64,
    /// An end token came, or the form is complete.
    ended: bool,
    finish: Option<FinishReason>,
    effort: Effort,
    constraint: Option<Box<dyn Constraint>>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            seq: SeqId(0),
            ids: Vec::new(),
            text: String::new(),
            logprob: 0.0,
            ended: false,
            finish: None,
            effort: Effort::default(),
            constraint: None,
        }
    }
}

impl Draft {
    /// Takes the most likely token, of those the form allows.
    fn take(&mut self, logits: &[f32], codec: &dyn Codec) -> Result<(), QualityError> {
        let favourite =
            argmax(logits).ok_or_else(|| EngineError::NotANumber { seq: self.seq.0, pos: position(self.ids.len()) })?;
        let token = match &mut self.constraint {
            None => favourite,
            Some(constraint) => match likeliest(&constraint.next()?, logits, favourite) {
                Some(token) => token,
                None => {
                    self.ended = true;
                    return Ok(());
                }
            },
        };
        self.logprob += logprob(logits, logsumexp(logits), token)?;
        self.effort.n_gen += 1;
        self.ended = codec.is_end(token);
        if let Some(constraint) = self.constraint.as_mut().filter(|_| !codec.is_end(token)) {
            self.ended = constraint.take(token)?;
            self.ids.push(token);
            return Ok(());
        }
        if !self.ended {
            self.ids.push(token);
        }
        Ok(())
    }

    /// Decides whether the text ends here.
    fn judge(&mut self, codec: &dyn Codec, limits: &Generation, n_context: usize, n_ctx: usize) {
        self.text = codec.decode(&self.ids);
        let cut = limits.until.iter().filter_map(|stop| self.text.find(stop.as_str())).min();
        self.finish = if let Some(cut) = cut {
            self.text.truncate(cut);
            Some(FinishReason::Stop)
        } else if self.ended {
            Some(FinishReason::Stop)
        } else if self.ids.len() >= limits.max_gen_toks as usize {
            Some(FinishReason::Length)
        } else if n_context + self.ids.len() > n_ctx {
            Some(FinishReason::Context)
        } else {
            None
        };
    }

    fn outcome(self) -> TextOutcome {
        let n = self.effort.n_gen;
        TextOutcome {
            mean_logprob: (n > 0).then(|| self.logprob / f64::from(n)),
            finish: self.finish.unwrap_or(FinishReason::Length),
            text: self.text,
            ids: self.ids,
            effort: self.effort,
        }
    }
}
