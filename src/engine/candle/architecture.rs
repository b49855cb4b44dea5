//! The architectures candle-transformers reads from GGUF, one variant each, and what is known to be wrong with them.

use std::io::{Read, Seek};

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_gemma3, quantized_llama, quantized_qwen2, quantized_qwen3};

use super::NAME;
use crate::engine::EngineError;
use crate::model::gguf::Gguf;

/// Architectures with a loader that takes llama.cpp's files as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
}

/// A loaded model with its cache inside.
pub(super) enum Decoder {
    Llama(Box<quantized_llama::ModelWeights>),
    Qwen2(Box<quantized_qwen2::ModelWeights>),
    Qwen3(Box<quantized_qwen3::ModelWeights>),
    Gemma3(Box<quantized_gemma3::ModelWeights>),
}

impl Decoder {
    /// Appends `input: [1, n] u32` at position `offset`; logits `[1, n_vocab]` of the last position.
    pub(super) fn forward(&mut self, input: &Tensor, offset: usize) -> candle_core::Result<Tensor> {
        match self {
            Self::Llama(model) => model.forward(input, offset),
            Self::Qwen2(model) => model.forward(input, offset),
            Self::Qwen3(model) => {
                // This one appends wherever it is told the offset is: an empty start has to be made by hand.
                if offset == 0 {
                    model.clear_kv_cache();
                }
                model.forward(input, offset)
            }
            Self::Gemma3(model) => model.forward(input, offset),
        }
    }

    /// A copy that shares weights and cached tensors; `None` for the model that cannot be cloned.
    pub(super) fn try_clone(&self) -> Option<Self> {
        match self {
            Self::Llama(model) => Some(Self::Llama(model.clone())),
            Self::Qwen2(_) => None,
            Self::Qwen3(model) => Some(Self::Qwen3(model.clone())),
            Self::Gemma3(model) => Some(Self::Gemma3(model.clone())),
        }
    }
}

impl Architecture {
    pub(super) fn of(arch: &str) -> Result<Self, EngineError> {
        match arch {
            "llama" => Ok(Self::Llama),
            "qwen2" => Ok(Self::Qwen2),
            "qwen3" => Ok(Self::Qwen3),
            "gemma3" => Ok(Self::Gemma3),
            _ => Err(EngineError::UnsupportedArch { engine: NAME, arch: arch.to_owned() }),
        }
    }

    pub(super) fn load<R: Read + Seek>(
        self,
        content: Content,
        reader: &mut R,
        device: &Device,
    ) -> Result<Decoder, EngineError> {
        Ok(match self {
            Self::Llama => Decoder::Llama(Box::new(quantized_llama::ModelWeights::from_gguf(content, reader, device)?)),
            Self::Qwen2 => Decoder::Qwen2(Box::new(quantized_qwen2::ModelWeights::from_gguf(content, reader, device)?)),
            Self::Qwen3 => Decoder::Qwen3(Box::new(quantized_qwen3::ModelWeights::from_gguf(content, reader, device)?)),
            Self::Gemma3 => {
                Decoder::Gemma3(Box::new(quantized_gemma3::ModelWeights::from_gguf(content, reader, device)?))
            }
        })
    }

    /// Positions the implementation has rotary tables for.
    pub(super) fn max_ctx(self, n_ctx_train: u32) -> u32 {
        let tables = match self {
            Self::Llama => u32::try_from(quantized_llama::MAX_SEQ_LEN).unwrap_or(4096),
            Self::Gemma3 => u32::try_from(quantized_gemma3::MAX_SEQ_LEN).unwrap_or(u32::MAX),
            Self::Qwen2 | Self::Qwen3 => u32::MAX,
        };
        tables.min(n_ctx_train.max(1))
    }

    /// How to cut `tokens` that follow `offset` cached positions. A prompt behind a prefix goes wrong in two of the models
    /// (see [`Self::caveats`]): there it is fed one token at a time.
    pub(super) fn chunks(self, tokens: &[u32], offset: usize) -> std::slice::Chunks<'_, u32> {
        let whole = offset == 0 || matches!(self, Self::Llama | Self::Qwen2);
        tokens.chunks(if whole { tokens.len().max(1) } else { 1 })
    }

    /// What is known to differ from llama.cpp on this file.
    pub(super) fn caveats(self, gguf: &Gguf, n_ctx: u32) -> Vec<String> {
        let mut caveats = Vec::new();
        match self {
            Self::Llama => {
                if gguf.tensor("rope_freqs.weight").is_some() {
                    caveats.push(
                        "candle ignores rope_freqs.weight: Llama 3.1 and 3.2 are wrong beyond their first positions"
                            .into(),
                    );
                }
            }
            Self::Qwen2 => {
                caveats.push("candle's qwen2 cannot share a prefix: every change of sequence feeds it again".into())
            }
            Self::Qwen3 => {
                caveats.push(
                    "candle's qwen3 makes its rotary tables in f16: angles are off by up to 0.4 rad near position 1000"
                        .into(),
                );
                caveats.push("candle's qwen3 mishandles a prompt behind a prefix: it is fed token by token".into());
            }
            Self::Gemma3 => {
                caveats.push(
                    "candle's gemma3 uses SiLU where the model has GELU-tanh: its answers are not the model's".into(),
                );
                caveats.push("candle's gemma3 mishandles a prompt behind a prefix: it is fed token by token".into());
                if gguf.u32("gemma3.attention.sliding_window").is_some_and(|window| n_ctx > window) {
                    caveats.push("candle's gemma3 does not apply its window when decoding beyond it".into());
                }
            }
        }
        caveats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_architecture_is_named() {
        let message = Architecture::of("rwkv7").unwrap_err().to_string();
        assert_eq!(message, "engine `candle` does not support architecture `rwkv7`");
    }

    #[test]
    fn a_prompt_behind_a_prefix_is_cut_only_where_candle_gets_it_wrong() {
        let tokens = [1, 2, 3];
        assert_eq!(Architecture::Llama.chunks(&tokens, 5).count(), 1);
        assert_eq!(Architecture::Gemma3.chunks(&tokens, 5).count(), 3);
        assert_eq!(Architecture::Gemma3.chunks(&tokens, 0).count(), 1);
        assert_eq!(Architecture::Gemma3.chunks(&[], 0).count(), 0);
    }
}
