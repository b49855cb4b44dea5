//! What kind of decoder a file holds: architecture and sizes, checked before anything is allocated.
//!
//! Sources: the GGUF specification for the keys; llama.cpp's `src/llama-model.cpp` for defaults that files leave out.

use super::{NAME, attention::MAX_HEAD};
use crate::{engine::EngineError, model::gguf::Gguf};

/// The gate of the feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// `x · σ(x)`.
    Silu,
    /// GELU in its tanh form.
    GeluTanh,
}

/// A decoder family. They differ in norms, biases, gates and rotation, not in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    /// Llama 1 to 3, Mistral, TinyLlama, SmolLM2.
    Llama,
    /// Qwen2, Qwen2.5 and what was distilled onto them: biases on queries, keys and values.
    Qwen2,
    /// Qwen3: norms on queries and keys.
    Qwen3,
    /// Gemma 3, text: norms after attention and feed-forward too, windowed layers.
    Gemma3,
}

impl Arch {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "llama" => Some(Self::Llama),
            "qwen2" => Some(Self::Qwen2),
            "qwen3" => Some(Self::Qwen3),
            "gemma3" => Some(Self::Gemma3),
            _ => None,
        }
    }

    /// Whether rotation pairs neighbouring dimensions (`NORM` in llama.cpp) and not dimensions half a head apart.
    pub(super) fn rotates_neighbours(self) -> bool {
        self == Self::Llama
    }

    /// Whether queries and keys are normed per head.
    pub(super) fn norms_heads(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    /// Whether attention and feed-forward outputs are normed before they are added.
    pub(super) fn norms_outputs(self) -> bool {
        self == Self::Gemma3
    }
}

/// Layers that see a window of positions only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    /// Positions seen, the query's own included.
    pub(super) size: usize,
    /// Every `pattern`-th layer sees everything.
    pub(super) pattern: usize,
    /// Rotation base of the windowed layers.
    pub(super) rope_base: f64,
}

/// Architecture and sizes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hparams {
    pub(super) arch: Arch,
    pub(super) n_layer: usize,
    pub(super) n_embd: usize,
    pub(super) n_head: usize,
    pub(super) n_head_kv: usize,
    /// Dimensions of a query and key head.
    pub(super) key: usize,
    /// Dimensions of a value head.
    pub(super) value: usize,
    pub(super) n_ff: usize,
    pub(super) n_vocab: usize,
    pub(super) n_ctx_train: u32,
    pub(super) norm_eps: f32,
    /// Dimensions of a head that are rotated.
    pub(super) n_rot: usize,
    /// Rotation base of layers that see everything.
    pub(super) rope_base: f64,
    /// Positions are divided by this in layers that see everything.
    pub(super) rope_factor: f64,
    pub(super) window: Option<Window>,
    pub(super) gate: Gate,
    /// Embeddings are multiplied by this.
    pub(super) embed_scale: f32,
    /// Scores are multiplied by this.
    pub(super) attn_scale: f32,
}

impl Hparams {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`EngineError::UnsupportedArch`] and [`EngineError::Unsupported`] for what another engine may run;
    /// [`EngineError::BadModel`] for values no model has.
    pub(super) fn read(gguf: &Gguf) -> Result<Self, EngineError> {
        let name = gguf.arch()?;
        let arch =
            Arch::parse(name).ok_or_else(|| EngineError::UnsupportedArch { engine: NAME, arch: name.to_owned() })?;
        let keys = Keys { gguf, arch: name };
        if keys.gguf.u32(&keys.name("expert_count")).is_some_and(|n| n > 0) {
            return Err(unsupported(format!("run mixtures of experts ({name}.expert_count)")));
        }
        let n_layer = keys.size("block_count", 1024)?;
        let n_embd = keys.size("embedding_length", 1 << 17)?;
        let n_head = keys.size("attention.head_count", 1024)?;
        let n_head_kv = keys.size_or("attention.head_count_kv", 1024, n_head)?;
        let even_head = n_embd / n_head;
        let key = keys.size_or("attention.key_length", MAX_HEAD, even_head)?;
        let value = keys.size_or("attention.value_length", MAX_HEAD, even_head)?;
        let n_rot = keys.size_or("rope.dimension_count", MAX_HEAD, key)?;
        if !n_head.is_multiple_of(n_head_kv) {
            return Err(keys.bad("attention.head_count_kv", format!("{n_head_kv} does not divide {n_head} heads")));
        }
        if !n_rot.is_multiple_of(2) || n_rot > key {
            return Err(keys.bad("rope.dimension_count", format!("{n_rot} is odd or exceeds the head size {key}")));
        }
        let n_vocab = gguf.need_tensor("token_embd.weight")?.n_rows();
        let n_vocab = usize::try_from(n_vocab).ok().filter(|n| (1..=1 << 24).contains(n));
        let window = match (arch, keys.gguf.u32(&keys.name("attention.sliding_window"))) {
            (Arch::Gemma3, Some(size)) if size > 0 => Some(Window {
                size: size as usize,
                pattern: keys.size_or("attention.sliding_window_pattern", 1024, 6)?,
                rope_base: keys.positive_or("rope.freq_base_swa", 10_000.0)?,
            }),
            _ => None,
        };
        let gemma = arch == Arch::Gemma3;
        // The 27B model alone scales by width per head; it is told by its layers, as llama.cpp does.
        let scaled_by = if gemma && n_layer == 62 { even_head } else { key };
        Ok(Self {
            arch,
            n_layer,
            n_embd,
            n_head,
            n_head_kv,
            key,
            value,
            n_ff: keys.size("feed_forward_length", 1 << 20)?,
            n_vocab: n_vocab.ok_or_else(|| EngineError::BadModel("token_embd.weight has too many rows".to_owned()))?,
            n_ctx_train: keys.size("context_length", 1 << 28)? as u32,
            norm_eps: keys.positive("attention.layer_norm_rms_epsilon")? as f32,
            n_rot,
            rope_base: keys.positive_or("rope.freq_base", if gemma { 1e6 } else { 1e4 })?,
            rope_factor: keys.rope_factor()?,
            window,
            gate: if gemma { Gate::GeluTanh } else { Gate::Silu },
            embed_scale: if gemma { (n_embd as f32).sqrt() } else { 1.0 },
            attn_scale: keys.positive_or("attention.scale", 1.0 / (scaled_by as f64).sqrt())? as f32,
        })
    }

    /// Whether layer `il` sees a window only.
    pub(super) fn is_windowed(&self, il: usize) -> bool {
        self.window.is_some_and(|w| il % w.pattern < w.pattern - 1)
    }
}

fn unsupported(what: String) -> EngineError {
    EngineError::Unsupported { engine: NAME, what }
}

/// The keys of one architecture.
struct Keys<'a> {
    gguf: &'a Gguf,
    arch: &'a str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.arch)
    }

    fn bad(&self, key: &str, why: String) -> EngineError {
        EngineError::BadModel(format!("{}: {why}", self.name(key)))
    }

    /// An integer in `1..=limit`. An array of equal values, one per layer, counts as that value.
    fn size(&self, key: &str, limit: usize) -> Result<usize, EngineError> {
        self.find_size(key, limit)?.ok_or_else(|| self.bad(key, "is missing".to_owned()))
    }

    fn size_or(&self, key: &str, limit: usize, default: usize) -> Result<usize, EngineError> {
        match self.find_size(key, limit)? {
            Some(size) => Ok(size),
            None if (1..=limit).contains(&default) => Ok(default),
            None => Err(self.bad(key, format!("is missing and {default} is not in 1..={limit}"))),
        }
    }

    fn find_size(&self, key: &str, limit: usize) -> Result<Option<usize>, EngineError> {
        let name = self.name(key);
        let Some(value) = self.gguf.get(&name) else { return Ok(None) };
        let size = match self.gguf.u32s(&name) {
            Some(layers) => match layers.split_first() {
                Some((first, rest)) if rest.iter().all(|n| n == first) => Some(u64::from(*first)),
                Some(_) => return Err(unsupported(format!("run layers of different sizes ({name})"))),
                None => None,
            },
            None => value.as_u64(),
        };
        let size = size.ok_or_else(|| self.bad(key, format!("expected an integer, got {}", value.describe())))?;
        match usize::try_from(size) {
            Ok(n) if (1..=limit).contains(&n) => Ok(Some(n)),
            _ => Err(self.bad(key, format!("{size} is not in 1..={limit}"))),
        }
    }

    /// A positive, finite number.
    fn positive(&self, key: &str) -> Result<f64, EngineError> {
        let name = self.name(key);
        let value = self.gguf.get(&name).ok_or_else(|| self.bad(key, "is missing".to_owned()))?;
        match value.as_f64() {
            Some(x) if x.is_finite() && x > 0.0 => Ok(x),
            _ => Err(self.bad(key, format!("expected a positive number, got {}", value.describe()))),
        }
    }

    fn positive_or(&self, key: &str, default: f64) -> Result<f64, EngineError> {
        if self.gguf.get(&self.name(key)).is_some() { self.positive(key) } else { Ok(default) }
    }

    /// The factor of linear position scaling; 1 without.
    fn rope_factor(&self) -> Result<f64, EngineError> {
        let kind = self.gguf.str(&self.name("rope.scaling.type"));
        match kind {
            None if self.gguf.get(&self.name("rope.scale_linear")).is_some() => self.positive("rope.scale_linear"),
            None | Some("none") => Ok(1.0),
            Some("linear") => self.positive_or("rope.scaling.factor", 1.0),
            Some(kind) => Err(unsupported(format!("scale rotary positions by `{kind}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gguf::{GgmlType, Value, Writer};

    fn header(arch: &str, entries: &[(&str, Value<'_>)]) -> Gguf {
        let mut writer = Writer::new();
        writer.put("general.architecture", Value::Str(arch));
        for (key, value) in entries {
            writer.put(&format!("{arch}.{key}"), *value);
        }
        writer.declare("token_embd.weight", &[8, 16], GgmlType::F32).unwrap();
        Gguf::from_bytes("test", writer.to_bytes(&[&[0; 8 * 16 * 4]]).unwrap()).unwrap()
    }

    const BASE: [(&str, Value<'static>); 6] = [
        ("block_count", Value::U32(12)),
        ("embedding_length", Value::U32(8)),
        ("attention.head_count", Value::U32(4)),
        ("feed_forward_length", Value::U32(16)),
        ("context_length", Value::U32(64)),
        ("attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
    ];

    fn with(arch: &str, extra: &[(&str, Value<'_>)]) -> Result<Hparams, EngineError> {
        let mut entries: Vec<(&str, Value<'_>)> =
            BASE.into_iter().filter(|(key, _)| extra.iter().all(|(other, _)| key != other)).collect();
        entries.extend_from_slice(extra);
        Hparams::read(&header(arch, &entries))
    }

    #[test]
    fn missing_keys_take_llama_cpp_defaults() {
        let hp = with("llama", &[]).unwrap();
        assert_eq!((hp.n_head_kv, hp.key, hp.value, hp.n_rot, hp.n_vocab), (4, 2, 2, 2, 16));
        assert_eq!((hp.rope_base, hp.rope_factor, hp.embed_scale), (1e4, 1.0, 1.0));
        assert!(!hp.is_windowed(0));
    }

    #[test]
    fn gemma_windows_five_layers_of_six() {
        let hp = with("gemma3", &[("attention.sliding_window", Value::U32(512))]).unwrap();
        let windowed: Vec<bool> = (0..12).map(|il| hp.is_windowed(il)).collect();
        assert_eq!(windowed, [true, true, true, true, true, false, true, true, true, true, true, false]);
        assert_eq!(hp.window.unwrap().rope_base, 1e4);
        assert_eq!(hp.embed_scale, 8f32.sqrt());
    }

    #[test]
    fn what_another_engine_may_run_is_named() {
        let error = with("mamba", &[]).unwrap_err();
        assert!(matches!(&error, EngineError::UnsupportedArch { arch, .. } if arch == "mamba"));
        let error = with("qwen2", &[("rope.scaling.type", Value::Str("yarn"))]).unwrap_err();
        assert!(matches!(&error, EngineError::Unsupported { .. }) && error.to_string().contains("yarn"), "{error}");
        let error = with("llama", &[("expert_count", Value::U32(8))]).unwrap_err();
        assert!(matches!(error, EngineError::Unsupported { .. }));
    }

    #[test]
    fn absurd_sizes_are_errors_that_name_the_key() {
        for (key, value) in [
            ("attention.head_count", Value::U32(0)),
            ("attention.head_count", Value::U32(u32::MAX)),
            ("attention.head_count_kv", Value::U32(3)),
            ("attention.key_length", Value::U32(1 << 20)),
            ("rope.dimension_count", Value::U32(3)),
            ("rope.dimension_count", Value::U32(512)),
            ("block_count", Value::U64(u64::MAX)),
            ("embedding_length", Value::I32(-1)),
            ("embedding_length", Value::U32(1)),
            ("context_length", Value::Str("long")),
            ("rope.freq_base", Value::F32(f32::NAN)),
            ("attention.layer_norm_rms_epsilon", Value::F32(0.0)),
        ] {
            let error = with("llama", &[(key, value)]).unwrap_err();
            assert!(matches!(error, EngineError::BadModel(_)), "{key}: {error}");
            assert!(error.to_string().contains("llama."), "{key}: {error}");
        }
    }
}
