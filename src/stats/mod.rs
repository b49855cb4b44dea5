//! Statistics. Pure.
