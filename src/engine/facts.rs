//! Model facts from a GGUF header.

use super::{EngineError, ModelFacts};
use crate::model::gguf::Gguf;

impl ModelFacts {
    /// Reads the facts. The key/value size assumes an f16 cache; engines with another format scale it.
    ///
    /// # Errors
    /// A header without the keys every decoder has, or with values no decoder can have.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, EngineError> {
        let arch = gguf.arch()?.to_owned();
        let key = |name: &str| format!("{arch}.{name}");
        let n_layer = gguf.need_u32(&key("block_count"))?;
        let n_embd = gguf.need_u32(&key("embedding_length"))?;
        let n_head = gguf.need_u32(&key("attention.head_count"))?;
        let n_ctx_train = gguf.need_u32(&key("context_length"))?;
        if [n_layer, n_embd, n_head, n_ctx_train].contains(&0) {
            return Err(EngineError::BadModel(format!(
                "{}: block_count, embedding_length, attention.head_count and context_length of {arch} must not be 0",
                gguf.path().display()
            )));
        }
        let embedding = gguf.need_tensor("token_embd.weight")?;
        let n_vocab = u32::try_from(embedding.n_rows())
            .map_err(|_too_large| EngineError::BadModel(format!("a vocabulary of {} rows", embedding.n_rows())))?;
        let n_kv_head = gguf.u32(&key("attention.head_count_kv")).unwrap_or(n_head);
        let key_dim = gguf.u32(&key("attention.key_length")).unwrap_or(n_embd / n_head);
        let value_dim = gguf.u32(&key("attention.value_length")).unwrap_or(key_dim);
        let kv_width = u64::from(n_kv_head) * (u64::from(key_dim) + u64::from(value_dim));

        let tensor_bytes = gguf.tensor_bytes();
        // The embedding is looked up row by row unless it also serves as the output matrix.
        let tied = gguf.tensor("output.weight").is_none();
        let row_bytes = embedding.bytes / embedding.n_rows().max(1);
        let decode_weight_bytes = if tied { tensor_bytes } else { tensor_bytes - embedding.bytes + row_bytes };
        let n_params = gguf.n_params();
        Ok(Self {
            label: label(&arch, n_params, gguf),
            n_layer,
            n_embd,
            n_vocab,
            n_ctx_train,
            n_params,
            tensor_bytes,
            decode_weight_bytes,
            kv_bytes_per_pos: u64::from(n_layer).saturating_mul(kv_width).saturating_mul(2),
            arch,
        })
    }
}

/// `llama 135M Q4_1`: architecture, parameters, file type, as llama-bench's `model_type` reads.
#[expect(clippy::cast_precision_loss, reason = "printed with a few digits")]
fn label(arch: &str, n_params: u64, gguf: &Gguf) -> String {
    let size = match n_params as f64 {
        n if n >= 1e9 => format!("{:.2}B", n / 1e9),
        n if n >= 1e6 => format!("{:.0}M", n / 1e6),
        n => format!("{n:.0}"),
    };
    let level = gguf.level().map_or_else(|| "unknown type".to_owned(), |level| level.name().to_uppercase());
    format!("{arch} {size} {level}")
}
