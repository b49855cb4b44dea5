//! A tier: model × quantization × engine × device × decoding. One thing a user could deploy.

use serde::{Deserialize, Serialize};

use super::PlanError;

macro_rules! levels {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// Quantization level of a file, named as llama-quantize names its mixtures, in lower case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Level {
            $(#[doc = concat!("`", $name, "`.")] #[serde(rename = $name)] $variant,)*
        }

        impl Level {
            /// Every level, most precise first.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Lower-case name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

levels! {
    F32 "f32", F16 "f16", Bf16 "bf16", Q8_0 "q8_0", Q6K "q6_k", Q5KM "q5_k_m", Q5KS "q5_k_s", Q5_1 "q5_1", Q5_0 "q5_0",
    Q4KM "q4_k_m", Q4KS "q4_k_s", Q4_1 "q4_1", Q4_0 "q4_0", Q3KL "q3_k_l", Q3KM "q3_k_m", Q3KS "q3_k_s", Q2K "q2_k",
}

impl std::str::FromStr for Level {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let name = text.to_ascii_lowercase();
        Self::ALL.iter().copied().find(|level| level.name() == name).ok_or_else(|| PlanError::UnknownLevel {
            got: text.to_owned(),
            known: Self::ALL.iter().map(|l| l.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Name of a tier in tables and records: unique within a run, e.g. `smollm2-135m-instruct:q4_0 native cpu t2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TierKey(pub String);

impl std::fmt::Display for TierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing a user could deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// Catalogue name or file stem of the model, without the level.
    pub model: String,
    /// Quantization level or type label of the file, e.g. `q4_1`; `None` if the file does not tell.
    pub level: Option<String>,
    /// The level the weights were requantized from, if they were: printed with every number of this tier.
    pub requantized_from: Option<String>,
    /// Engine name.
    pub engine: String,
    /// Device name.
    pub device: String,
    /// Threads.
    pub n_threads: u32,
}

impl Tier {
    /// The tier's name.
    #[must_use]
    pub fn key(&self) -> TierKey {
        let level = self.level.as_deref().map(|l| format!(":{l}")).unwrap_or_default();
        TierKey(format!("{}{level} {} {} t{}", self.model, self.engine, self.device, self.n_threads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_reads_back_from_its_name_in_any_case() {
        for &level in Level::ALL {
            assert_eq!(level.name().to_uppercase().parse::<Level>().unwrap(), level);
        }
    }

    #[test]
    fn an_unknown_level_names_the_known_ones() {
        let message = "q9".parse::<Level>().unwrap_err().to_string();
        assert!(message.contains("`q9`") && message.contains("q4_k_m"), "{message}");
    }
}
