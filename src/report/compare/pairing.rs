//! Which tier of one record is held against which of the other.
//!
//! First what the user says, then tiers of one name, then those of one model and level whose engine, device or threads
//! differ: the nearest, if there is no doubt which that is. What either record sweeps is never paired across its values:
//! the choice would be arbitrary, so the candidates are listed and `--pair` chooses.

use crate::plan::{Tier, TierKey};
use crate::report::{ReportError, one_line};
use crate::store::record::{Record, TierFacts};

/// Tiers the user wants to see together: words of the first's name and of the second's, e.g. `t2 = t8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    a: String,
    b: String,
}

impl std::str::FromStr for Pick {
    type Err = ReportError;

    /// `A = B`; without spaces, `A=B`, if neither holds a `=`.
    fn from_str(text: &str) -> Result<Self, ReportError> {
        let parts = text.split_once(" = ").or_else(|| text.split_once('=').filter(|(_, b)| !b.contains('=')));
        let words = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ");
        match parts.map(|(a, b)| Self { a: words(a), b: words(b) }) {
            Some(pick) if !pick.a.is_empty() && !pick.b.is_empty() => Ok(pick),
            _ => Err(ReportError::BadPair { got: text.to_owned() }),
        }
    }
}

impl std::fmt::Display for Pick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}", self.a, self.b)
    }
}

/// A tier that several of the other record fit equally well, so that none is its counterpart.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Doubt {
    /// The tier of the first record.
    pub tier: TierKey,
    /// Tiers of the second that fit it as well as each other, or that fit another tier of the first as well.
    pub fits: Vec<TierKey>,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fits: Vec<String> = self.fits.iter().map(|tier| one_line(&tier.0)).collect();
        let tier = one_line(&self.tier.0);
        let first = fits.first().map_or("NAME", String::as_str);
        write!(f, "{} could be its counterpart: --pair '{tier} = {first}' says so", fits.join(" or "))
    }
}

/// Who is whose counterpart.
pub(super) struct Pairing<'a> {
    pub(super) pairs: Vec<(&'a TierFacts, &'a TierFacts)>,
    pub(super) doubts: Vec<Doubt>,
}

/// How far apart two tiers of one model and level are, nearest first.
const FARTHEST: u8 = 7;

/// What differs besides the name: another engine weighs more than another device, that more than other threads. `None` for
/// another model or level.
fn distance(a: &Tier, b: &Tier) -> Option<u8> {
    let Tier { model, level, requantized_from: _, engine, device, n_threads } = a;
    // A catalogue writes in small letters what its file is called.
    let is_same = model.eq_ignore_ascii_case(&b.model) && *level == b.level;
    is_same.then(|| {
        4 * u8::from(*engine != b.engine) + 2 * u8::from(*device != b.device) + u8::from(*n_threads != b.n_threads)
    })
}

impl<'a> Pairing<'a> {
    /// # Errors
    /// [`ReportError::NoSuchPair`] if a pick names no tier or several.
    pub(super) fn of(a: &'a Record, b: &'a Record, picks: &[Pick]) -> Result<Self, ReportError> {
        let mut pairing = Self { pairs: Vec::new(), doubts: Vec::new() };
        for pick in picks {
            pairing.picked(a, b, pick)?;
        }
        for ours in &a.raw.tiers {
            if let Some(theirs) = b.tier(&ours.key).filter(|theirs| pairing.is_free(ours, theirs)) {
                pairing.pairs.push((ours, theirs));
            }
        }
        for apart in 0..=FARTHEST {
            pairing.nearest(a, b, apart);
        }
        // In the order of the first record.
        let place = |key: &TierKey| a.raw.tiers.iter().position(|tier| tier.key == *key);
        pairing.pairs.sort_by_key(|(ours, _)| place(&ours.key));
        Ok(pairing)
    }

    fn has_first(&self, ours: &TierFacts) -> bool {
        self.pairs.iter().any(|(a, _)| a.key == ours.key) || self.doubts.iter().any(|doubt| doubt.tier == ours.key)
    }

    fn has_second(&self, theirs: &TierFacts) -> bool {
        self.pairs.iter().any(|(_, b)| b.key == theirs.key)
    }

    fn is_free(&self, ours: &TierFacts, theirs: &TierFacts) -> bool {
        !self.has_first(ours) && !self.has_second(theirs)
    }

    /// Pairs tiers that are `apart`, if each is the only one so near to the other.
    fn nearest(&mut self, a: &'a Record, b: &'a Record, apart: u8) {
        let near = |x: &TierFacts, y: &TierFacts| x.key != y.key && distance(&x.tier, &y.tier) == Some(apart);
        for ours in &a.raw.tiers {
            let fits: Vec<&TierFacts> = b.raw.tiers.iter().filter(|theirs| near(ours, theirs)).collect();
            let free: Vec<&TierFacts> = fits.iter().copied().filter(|theirs| self.is_free(ours, theirs)).collect();
            let rivals = |theirs: &TierFacts| a.raw.tiers.iter().filter(|other| near(other, theirs)).count();
            match (fits.as_slice(), free.as_slice()) {
                (_, []) => {}
                ([only], [_]) if rivals(only) == 1 => self.pairs.push((ours, only)),
                (_, free) => {
                    let fits = free.iter().map(|theirs| theirs.key.clone()).collect();
                    self.doubts.push(Doubt { tier: ours.key.clone(), fits });
                }
            }
        }
    }

    fn picked(&mut self, a: &'a Record, b: &'a Record, pick: &Pick) -> Result<(), ReportError> {
        let bad = |side: &str, words: &str, record: &Record| {
            let known: Vec<String> = record.raw.tiers.iter().map(|tier| one_line(&tier.key.0)).collect();
            ReportError::NoSuchPair {
                pick: pick.to_string(),
                why: format!("no tier of {side} has `{words}` in its name: it has {}", known.join(", ")),
            }
        };
        let (ours, theirs) = (named(a, &pick.a), named(b, &pick.b));
        if ours.is_empty() {
            return Err(bad("a", &pick.a, a));
        }
        if theirs.is_empty() {
            return Err(bad("b", &pick.b, b));
        }
        for ours in ours {
            let of_model: Vec<&TierFacts> =
                theirs.iter().copied().filter(|theirs| distance(&ours.tier, &theirs.tier).is_some()).collect();
            let [only] = (if theirs.len() == 1 { &theirs } else { &of_model }).as_slice() else {
                let list: Vec<String> = theirs.iter().map(|tier| one_line(&tier.key.0)).collect();
                let why = format!("which of {} goes with {}?", list.join(", "), one_line(&ours.key.0));
                return Err(ReportError::NoSuchPair { pick: pick.to_string(), why });
            };
            if !self.is_free(ours, only) {
                let why = format!("{} or {} is paired already", one_line(&ours.key.0), one_line(&only.key.0));
                return Err(ReportError::NoSuchPair { pick: pick.to_string(), why });
            }
            self.pairs.push((ours, only));
        }
        Ok(())
    }
}

/// The tier of that name, or all that have its words in theirs.
fn named<'a>(record: &'a Record, words: &str) -> Vec<&'a TierFacts> {
    let name = |tier: &TierFacts| tier.key.0.split_whitespace().collect::<Vec<_>>().join(" ");
    let tiers = || record.raw.tiers.iter();
    let exact: Vec<&TierFacts> = tiers().filter(|tier| name(tier) == words).collect();
    if !exact.is_empty() {
        return exact;
    }
    let has = |tier: &&TierFacts| words.split(' ').all(|word| tier.key.0.split_whitespace().any(|own| own == word));
    tiers().filter(has).collect()
}
