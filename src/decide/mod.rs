//! Verdicts over a ladder. Pure.
