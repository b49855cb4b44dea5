//! Which tensor gets which format at a level: the mixtures of llama-quantize (llama-quant.cpp), without importance
//! matrix. The rules look odd and are kept as they are: tiers are comparable only if a level means the same files.

use std::cmp::Ordering;

use super::QuantizeError;
use crate::model::gguf::{GgmlType, Gguf, TensorInfo};
use crate::plan::Level;

/// What a tensor is for, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Embedding,
    Output,
    /// `attn_v`, or what holds it fused.
    Value,
    Key,
    AttentionOutput,
    Down,
    Other,
}

impl Role {
    fn of(name: &str) -> Self {
        let has = |part| name.contains(part);
        match name {
            "output.weight" => Self::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => Self::Embedding,
            _ if has("attn_qkv.weight") || has("attn_kv_b.weight") || has("attn_v.weight") => Self::Value,
            _ if has("attn_k.weight") => Self::Key,
            _ if has("attn_output.weight") => Self::AttentionOutput,
            _ if has("ffn_down") => Self::Down,
            _ => Self::Other,
        }
    }
}

/// Names, or parts of names, of matrices that are never quantized: norms, routers, convolutions, position tables and
/// other small or delicate ones.
const KEPT: [&str; 37] = [
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
    "position_embd.weight",
    "token_types.weight",
];

/// What the rules need to know of the whole model.
struct Model {
    level: Level,
    falcon: bool,
    /// Llama-2/3 70B, recognised as llama.cpp does.
    seventy_b: bool,
    /// Queries per key-value head.
    n_gqa: u32,
    n_expert: u32,
    n_layer: u32,
    n_value: u32,
    tied: bool,
}

/// Position among the tensors of the same role, counted in the order of the output file.
#[derive(Default)]
struct Counters {
    value: u32,
    down: u32,
}

/// The tensors of a file in the order llama-quantize writes them (those outside the blocks first, then block by block,
/// each by name), and the format each gets at `level`.
///
/// # Errors
/// If a tensor would have to be converted from a format that cannot be read.
pub fn tensor_types(gguf: &Gguf, level: Level) -> Result<Vec<(&TensorInfo, GgmlType)>, QuantizeError> {
    let mut tensors: Vec<&TensorInfo> = gguf.tensors.iter().collect();
    tensors.sort_by(|a, b| file_order(&a.name, &b.name));
    let model = Model::read(gguf, level, &tensors);
    let mut counters = Counters::default();
    tensors
        .into_iter()
        .map(|info| {
            let ty = if is_converted(info) { model.choose(info, &mut counters) } else { info.ty };
            if ty != info.ty && !info.ty.is_supported() {
                let (path, tensor) = (gguf.path().to_owned(), info.name.clone());
                return Err(QuantizeError::Source { path, tensor, ty: info.ty });
            }
            Ok((info, ty))
        })
        .collect()
}

fn file_order(a: &str, b: &str) -> Ordering {
    block(a).cmp(&block(b)).then_with(|| a.cmp(b))
}

/// Storage per weight of the format most tensors of a level have, bits: what is known of a file before its model is. Small
/// models, whose embeddings weigh most and keep more bits, take up to a bit more.
#[must_use]
pub fn nominal_bits_per_weight(level: Level) -> Option<f64> {
    base(level).bits_per_weight()
}

/// The number in `blk.N.`; `None`, which sorts first, for tensors outside the blocks.
fn block(name: &str) -> Option<u32> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

/// Whether the level decides the tensor's format; if not it is copied as it is.
fn is_converted(info: &TensorInfo) -> bool {
    // A trailing dimension of one does not count, as in ggml.
    let matrix = info.n_rows() > 1;
    matrix && info.name.ends_with("weight") && !KEPT.iter().any(|kept| info.name.contains(kept))
}

/// The format most tensors of a level have.
fn base(level: Level) -> GgmlType {
    match level {
        Level::F32 => GgmlType::F32,
        Level::F16 => GgmlType::F16,
        Level::Bf16 => GgmlType::Bf16,
        Level::Q8_0 => GgmlType::Q8_0,
        Level::Q6K => GgmlType::Q6K,
        Level::Q5KM | Level::Q5KS => GgmlType::Q5K,
        Level::Q5_1 => GgmlType::Q5_1,
        Level::Q5_0 => GgmlType::Q5_0,
        Level::Q4KM | Level::Q4KS => GgmlType::Q4K,
        Level::Q4_1 => GgmlType::Q4_1,
        Level::Q4_0 => GgmlType::Q4_0,
        Level::Q3KL | Level::Q3KM | Level::Q3KS => GgmlType::Q3K,
        Level::Q2K => GgmlType::Q2K,
    }
}

/// The first and last eighth of the layers, and every third between.
fn more_bits(i: u32, n: u32) -> bool {
    i < n / 8 || i >= (u64::from(n) * 7 / 8) as u32 || (i - n / 8) % 3 == 2
}

fn fits(info: &TensorInfo, ty: GgmlType) -> bool {
    ty.block_size().is_some_and(|block| info.row_len().is_multiple_of(block))
}

/// What takes the place of a format whose blocks do not divide the rows.
fn fallback(info: &TensorInfo, ty: GgmlType) -> GgmlType {
    if fits(info, ty) {
        return ty;
    }
    let other = match ty {
        GgmlType::Q2K | GgmlType::Q3K => GgmlType::Q4_0,
        GgmlType::Q4K => GgmlType::Q5_0,
        GgmlType::Q5K => GgmlType::Q5_1,
        GgmlType::Q6K => GgmlType::Q8_0,
        other => other,
    };
    if fits(info, other) { other } else { GgmlType::F16 }
}

impl Model {
    fn read(gguf: &Gguf, level: Level, tensors: &[&TensorInfo]) -> Self {
        let arch = gguf.str("general.architecture").unwrap_or("");
        // Per-layer arrays count by their first layer, as in llama.cpp.
        let number = |key: &str| {
            let value = gguf.get(&format!("{arch}.{key}"))?;
            let value = value.as_array().map_or(Some(value), |array| array.iter().next())?;
            u32::try_from(value.as_u64()?).ok()
        };
        let n_layer = number("block_count").unwrap_or(0);
        let n_head = number("attention.head_count").unwrap_or(0);
        let n_head_kv = number("attention.head_count_kv").unwrap_or(n_head);
        let is_value = |info: &&&TensorInfo| Role::of(&info.name) == Role::Value;
        Self {
            level,
            falcon: arch == "falcon",
            seventy_b: arch == "llama" && n_layer == 80 && n_head != n_head_kv,
            n_gqa: n_head.checked_div(n_head_kv).unwrap_or(0),
            n_expert: number("expert_count").unwrap_or(0),
            n_layer,
            n_value: tensors.iter().filter(is_value).count() as u32,
            tied: gguf.tensor("output.weight").is_none(),
        }
    }

    fn choose(&self, info: &TensorInfo, counters: &mut Counters) -> GgmlType {
        let base = base(self.level);
        if !base.is_quantized() {
            return base;
        }
        fallback(info, self.mixture(info, base, counters))
    }

    fn mixture(&self, info: &TensorInfo, base: GgmlType, counters: &mut Counters) -> GgmlType {
        let eight_experts = self.n_expert == 8;
        match Role::of(&info.name) {
            // A tied embedding is the output matrix too.
            Role::Output => self.output(info, base),
            Role::Embedding if self.tied => self.output(info, base),
            Role::Value => {
                let i = counters.value;
                counters.value += 1;
                if eight_experts { GgmlType::Q8_0 } else { self.value(i, base) }
            }
            Role::Key if eight_experts => GgmlType::Q8_0,
            Role::Down => {
                let i = if self.n_expert > 1 { block(&info.name).unwrap_or(0) } else { counters.down };
                counters.down += 1;
                self.down(i, base)
            }
            Role::AttentionOutput => self.attention_output(base),
            _ => base,
        }
    }

    fn output(&self, info: &TensorInfo, base: GgmlType) -> GgmlType {
        if self.falcon || !fits(info, base) || base == GgmlType::Q8_0 { GgmlType::Q8_0 } else { GgmlType::Q6K }
    }

    fn value(&self, i: u32, base: GgmlType) -> GgmlType {
        let ty = match self.level {
            Level::Q2K if self.n_gqa >= 4 => GgmlType::Q4K,
            Level::Q2K => GgmlType::Q3K,
            Level::Q3KM if i < 2 => GgmlType::Q5K,
            Level::Q3KM => GgmlType::Q4K,
            Level::Q3KL => GgmlType::Q5K,
            Level::Q4KM | Level::Q5KM if more_bits(i, self.n_value) => GgmlType::Q6K,
            Level::Q4KS if i < 4 => GgmlType::Q5K,
            _ => base,
        };
        if self.seventy_b && matches!(ty, GgmlType::Q3K | GgmlType::Q4K) { GgmlType::Q5K } else { ty }
    }

    fn down(&self, i: u32, base: GgmlType) -> GgmlType {
        let (n, more) = (self.n_layer, more_bits(i, self.n_layer));
        match self.level {
            Level::Q2K => GgmlType::Q3K,
            Level::Q3KM if i < n / 16 => GgmlType::Q5K,
            Level::Q3KM if !self.falcon || more => GgmlType::Q4K,
            Level::Q3KL if self.falcon => GgmlType::Q4K,
            Level::Q3KL => GgmlType::Q5K,
            Level::Q4KM if self.falcon && i < n / 16 => GgmlType::Q6K,
            Level::Q4KM if self.falcon && more => GgmlType::Q5K,
            Level::Q4KM | Level::Q5KM if more && !(self.falcon && self.level == Level::Q4KM) => GgmlType::Q6K,
            Level::Q4KS if !self.falcon && i < n / 8 => GgmlType::Q5K,
            _ => base,
        }
    }

    fn attention_output(&self, base: GgmlType) -> GgmlType {
        match self.level {
            Level::Q3KL if self.falcon => GgmlType::Q4K,
            _ if self.falcon => base,
            Level::Q2K | Level::Q3KS | Level::Q3KM | Level::Q4KS | Level::Q4KM if self.n_expert == 8 => GgmlType::Q5K,
            Level::Q2K => GgmlType::Q3K,
            Level::Q3KM => GgmlType::Q4K,
            Level::Q3KL if self.n_expert != 8 => GgmlType::Q5K,
            _ => base,
        }
    }
}
