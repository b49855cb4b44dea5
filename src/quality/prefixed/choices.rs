//! Log-likelihoods of many continuations over one prefix.

use super::{BATCH_ROWS, Effort, PrefixedEngine, logprob, position, share};
use crate::engine::{Batch, SeqId, logsumexp};
use crate::quality::QualityError;
use crate::quality::request::{ChoiceRequest, Request as _};

/// Log-likelihoods of a [`ChoiceRequest`]; `None` if it does not fit the context.
#[derive(Clone, Debug, PartialEq)]
pub struct ChoiceOutcome {
    /// Summed ln p of each continuation, nats.
    pub logprobs: Option<Vec<f64>>,
    /// Cost.
    pub effort: Effort,
}

impl PrefixedEngine<'_> {
    /// Scores every continuation of every request. Run as many at once as
    /// [`PrefixedEngine::admits`] says.
    ///
    /// # Errors
    /// What the engine says; [`crate::engine::EngineError::NotANumber`] for logits that are not numbers.
    pub fn choices(&mut self, requests: &[ChoiceRequest]) -> Result<Vec<ChoiceOutcome>, QualityError> {
        let n_ctx = self.engine.facts().n_ctx as usize;
        let start = self.spent;
        let mut outcomes: Vec<ChoiceOutcome> = requests
            .iter()
            .map(|r| ChoiceOutcome {
                logprobs: (r.n_positions() <= n_ctx).then(|| vec![0.0; r.continuations.len()]),
                effort: Effort {
                    n_prompt: position(r.context.len()),
                    n_cached: position(self.reusable(&r.context)),
                    n_gen: position(r.continuations.iter().map(Vec::len).sum()),
                    elapsed_ns: 0,
                },
            })
            .collect();
        let fitting: Vec<usize> = (0..requests.len()).filter(|&i| outcomes[i].logprobs.is_some()).collect();
        let needed: usize = fitting.iter().map(|&i| requests[i].n_seqs()).sum();
        if self.forks && needed < self.engine.facts().max_seqs as usize {
            self.choices_forked(requests, &fitting, &mut outcomes)?;
        } else {
            for &i in &fitting {
                self.choices_in_turn(&requests[i], &mut outcomes[i])?;
            }
        }
        share(self.spent - start, outcomes.iter_mut().filter(|o| o.logprobs.is_some()).map(|o| &mut o.effort));
        Ok(outcomes)
    }

    fn choices_forked(
        &mut self,
        requests: &[ChoiceRequest],
        fitting: &[usize],
        outcomes: &mut [ChoiceOutcome],
    ) -> Result<(), QualityError> {
        let mut batch = Batch::new();
        let mut seqs = Vec::with_capacity(fitting.len());
        for &i in fitting {
            seqs.push(self.open(&requests[i].context, &mut batch)?);
        }
        self.forward(&batch, |row, logits| {
            let i = fitting[row];
            add_first(&requests[i], logits, outcomes[i].logprobs.as_deref_mut().unwrap_or_default())
        })?;
        // Behind each context, its long continuations: the last one may use the item's own sequence.
        let mut parts = Vec::new();
        for (&i, &seq) in fitting.iter().zip(&seqs) {
            let mut left = requests[i].n_long();
            for (choice, tokens) in requests[i].continuations.iter().enumerate().filter(|(_, t)| t.len() > 1) {
                left -= 1;
                let seq = if left == 0 { seq } else { self.fork(seq)? };
                parts.push(Part { item: i, choice, seq, tokens });
            }
        }
        let mut parts = parts.into_iter().peekable();
        while parts.peek().is_some() {
            batch.clear();
            let mut targets = Vec::new();
            while let Some(part) =
                parts.next_if(|p: &Part| targets.is_empty() || targets.len() + p.rows() <= BATCH_ROWS)
            {
                for (k, pair) in part.tokens.windows(2).enumerate() {
                    batch.push(pair[0], part.seq, position(requests[part.item].context.len() + k), true);
                    targets.push((part.item, part.choice, pair[1]));
                }
            }
            self.forward(&batch, |row, logits| {
                let (i, choice, token) = targets[row];
                if let Some(sums) = &mut outcomes[i].logprobs {
                    sums[choice] += logprob(logits, logsumexp(logits), token)?;
                }
                Ok(())
            })?;
        }
        self.close_all()
    }

    fn choices_in_turn(&mut self, request: &ChoiceRequest, outcome: &mut ChoiceOutcome) -> Result<(), QualityError> {
        let Some(sums) = outcome.logprobs.as_deref_mut() else { return Ok(()) };
        let context = &request.context;
        let keep = self.reusable(context);
        self.rewind(keep)?;
        let mut batch = Batch::new();
        batch.extend(&context[keep..], self.base, position(keep), true);
        self.forward(&batch, |_, logits| add_first(request, logits, sums))?;
        self.cached.extend_from_slice(&context[keep..]);
        for (choice, tokens) in request.continuations.iter().enumerate().filter(|(_, tokens)| tokens.len() > 1) {
            self.rewind(context.len())?;
            batch.clear();
            for (k, pair) in tokens.windows(2).enumerate() {
                batch.push(pair[0], self.base, position(context.len() + k), true);
            }
            self.cached.extend_from_slice(&tokens[..tokens.len() - 1]);
            self.forward(&batch, |row, logits| {
                sums[choice] += logprob(logits, logsumexp(logits), tokens[row + 1])?;
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// A continuation of several tokens behind its item's context.
struct Part<'a> {
    item: usize,
    choice: usize,
    seq: SeqId,
    tokens: &'a [u32],
}

impl Part<'_> {
    fn rows(&self) -> usize {
        self.tokens.len() - 1
    }
}

/// Adds ln p of each continuation's first token, all read from the logits behind the context.
fn add_first(request: &ChoiceRequest, logits: &[f32], sums: &mut [f64]) -> Result<(), QualityError> {
    let total = logsumexp(logits);
    for (sum, tokens) in sums.iter_mut().zip(&request.continuations) {
        if let Some(&first) = tokens.first() {
            *sum += logprob(logits, total, first)?;
        }
    }
    Ok(())
}
