//! Our own decoder on the processor.

pub mod kernels;
