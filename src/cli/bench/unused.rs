//! llama-bench's flags that our engines do not have. Its rows hold all of them, and what reads them (its own
//! `compare-llama-bench.py`) refuses rows that lack one or matches rows by them: ours say that none is in use.
//!
//! **Source**: llama.cpp `tools/llama-bench/llama-bench.cpp`, `test::get_fields`; `scripts/compare-llama-bench.py`.

use serde::Serialize;

/// Where threads run.
#[derive(Debug, Serialize)]
pub(super) struct Threading {
    cpu_mask: &'static str,
    cpu_strict: bool,
    poll: u32,
}

impl Threading {
    pub(super) const UNUSED: Self = Self { cpu_mask: "0x0", cpu_strict: false, poll: 0 };
}

/// What is computed where.
#[derive(Debug, Serialize)]
pub(super) struct Placement {
    n_gpu_layers: i32,
    n_cpu_moe: u32,
    split_mode: &'static str,
    main_gpu: u32,
    no_kv_offload: bool,
    flash_attn: bool,
    devices: &'static str,
    tensor_split: &'static str,
    tensor_buft_overrides: &'static str,
    use_mmap: bool,
    use_direct_io: bool,
    embeddings: bool,
    no_op_offload: u32,
    no_host: bool,
    fit_target: u32,
    fit_min_ctx: u32,
}

impl Placement {
    /// A whole model on one device: no layer of it, or all, on a GPU.
    pub(super) const fn whole(is_on_gpu: bool) -> Self {
        Self {
            n_gpu_layers: if is_on_gpu { -1 } else { 0 },
            n_cpu_moe: 0,
            split_mode: "none",
            main_gpu: 0,
            no_kv_offload: false,
            flash_attn: false,
            devices: "auto",
            tensor_split: "0.00",
            tensor_buft_overrides: "none",
            use_mmap: true,
            use_direct_io: false,
            embeddings: false,
            no_op_offload: 0,
            no_host: false,
            fit_target: 0,
            fit_min_ctx: 0,
        }
    }
}
