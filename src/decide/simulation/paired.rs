//! A tier beside a reference tier on the same items.

use super::{Share, publish};
use crate::decide::paired::{Paired, PairedRule, PairedVerdict};
use crate::stats::bootstrap::SplitMix64;

const RULE: PairedRule = PairedRule { tolerance: 0.05, alpha: 0.05, beta: 0.10, tiers: 1 };
const RUNS: u64 = 1000;
const ITEMS: usize = 300;

/// (NOT WORSE, WORSE, mean items) when the candidate's pass rate lies `below` the reference's 0.8: a tenth of all items
/// flips up, a tenth and `below` flips down.
fn compared(below: f64) -> (Share, Share, f64) {
    let mut random = SplitMix64::new(20_261_122);
    let (mut not_worse, mut worse, mut items) = (Share::default(), Share::default(), 0);
    for _ in 0..RUNS {
        let mut state = Paired::new(RULE).unwrap();
        for _ in 0..ITEMS {
            let u = random.unit();
            let (candidate, reference) = match u {
                _ if u < 0.1 => (true, false),
                _ if u < 0.2 + below => (false, true),
                _ => (u < 0.9, u < 0.9),
            };
            items += 1;
            if state.push(candidate, reference) != PairedVerdict::Undecided {
                break;
            }
        }
        not_worse.count(state.verdict() == PairedVerdict::NotWorse);
        worse.count(state.verdict() == PairedVerdict::Worse);
    }
    (not_worse, worse, items as f64 / RUNS as f64)
}

#[test]
fn a_tier_beside_its_reference_is_rarely_judged_wrongly() {
    let rows = [0.3, 0.10, 0.05, 0.0, -0.1].map(|below| {
        let (not_worse, worse, items) = compared(below);
        let what = format!("{below} below the reference");
        let wrong = |on: bool, share: Share, bound| if on { share.wrong(bound, &what) } else { "—".into() };
        let share = |share: Share| format!("{:.1} %", 100.0 * share.value());
        let against = ((RULE.tolerance - below) * 100.0).round() / 100.0;
        vec![
            if against == 0.0 { "0".into() } else { format!("{against:+}").replace('-', "−") },
            wrong(against <= 0.0, not_worse, RULE.alpha),
            wrong(against >= 0.0, worse, RULE.beta),
            share(not_worse),
            share(worse),
            format!("{items:.1}"),
        ]
    });
    let header =
        ["difference + tolerance", "wrong NOT WORSE", "wrong WORSE", "NOT WORSE", "WORSE", "mean items (at most 300)"];
    publish("paired", &header, &rows);
}
