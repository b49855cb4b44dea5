//! Verdicts over a ladder. Pure.

pub mod cascade;
