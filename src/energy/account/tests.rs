//! Windows from scripted reads: every way a counter or gauge has been seen to fail.

use proptest::prelude::*;

use super::*;
use crate::energy::reading::Scope;

const RANGE: u64 = 262_143_328_850;
const SECOND: u64 = 1_000_000_000;

fn counter(name: &str, role: Role, max_watts: Option<f64>) -> Domain {
    let kind = DomainKind::Counter { joules_per_count: 1e-6, range: Some(RANGE) };
    Domain { name: name.into(), role, kind, max_watts }
}

fn info(domains: Vec<Domain>) -> MeterInfo {
    MeterInfo {
        source: "powercap".into(),
        trust: Trust::Counter,
        scope: Scope::Components,
        sensor_bound: Some(0.05),
        domains,
        tick_ms: Some(1.0),
        flags: Vec::new(),
        note: None,
    }
}

fn counts(values: &[u64]) -> Result<Vec<Value>, ReadError> {
    Ok(values.iter().map(|&v| Value::Count(v)).collect())
}

/// One read per second.
fn window(info: &MeterInfo, reads: &[&[u64]]) -> Reading {
    let mut account = Account::open(info, 0, counts(reads[0]));
    for (i, read) in reads.iter().enumerate().take(reads.len() - 1).skip(1) {
        account.push(i as u64 * SECOND, counts(read));
    }
    account.close((reads.len() - 1) as u64 * SECOND, counts(reads[reads.len() - 1]))
}

fn joules(reading: &Reading) -> f64 {
    reading.joules.unwrap_or_else(|| panic!("{:?}", reading.invalid)).0
}

#[test]
fn a_counter_that_wraps_twice_between_the_edges_is_followed() {
    let info = info(vec![counter("package-0", Role::Counted, None)]);
    let quarter = RANGE / 4;
    let reads: Vec<Vec<u64>> = (0..9).map(|i| vec![(i * quarter + 7) % RANGE]).collect();
    let reads: Vec<&[u64]> = reads.iter().map(Vec::as_slice).collect();
    let expected = (8 * quarter) as f64 * 1e-6;
    // The ring has RANGE counts, so the modulus above loses nothing.
    assert!((joules(&window(&info, &reads)) - expected).abs() < 1e-5);
}

#[test]
fn energy_on_a_wrap_is_never_negative() {
    // codecarbon #309.
    let info = info(vec![counter("package-0", Role::Counted, Some(300.0))]);
    let reading = window(&info, &[&[262_100_000_000], &[50_000_000]]);
    assert!((joules(&reading) - 93.328_850).abs() < 1e-9);
}

#[test]
fn a_failed_read_is_not_zero_and_the_next_is_not_a_wrap() {
    // codecarbon rapl.py: read error → 0 → "wrap" → + full range.
    let info = info(vec![counter("package-0", Role::Counted, Some(300.0))]);
    let mut account = Account::open(&info, 0, counts(&[100_000_000]));
    account.push(SECOND, Err(ReadError::Missing { what: "energy_uj".into() }));
    let reading = account.close(2 * SECOND, counts(&[160_000_000]));
    assert_eq!(reading.joules, None);
    assert_eq!(reading.invalid.as_deref(), Some("energy_uj is missing"));
}

#[test]
fn a_read_that_is_denied_mid_run_names_the_command_that_unlocks_it() {
    let info = info(vec![counter("package-0", Role::Counted, None)]);
    let mut account = Account::open(&info, 0, counts(&[5]));
    let fix = crate::energy::powercap::UNLOCK.to_owned();
    account.push(SECOND, Err(ReadError::Denied { path: "/sys/energy_uj".into(), fix }));
    let reading = account.close(2 * SECOND, counts(&[9_000_005]));
    assert!(reading.joules.is_none() && reading.invalid.unwrap().contains("sudo chmod a+r"));
}

#[test]
fn a_hypervisor_that_flips_between_two_hosts_is_refused() {
    // scaphandre #134: naive wrap logic would add 262 kJ per flip.
    let info = info(vec![counter("package-0", Role::Counted, Some(150.0))]);
    let reading = window(&info, &[&[200_000_000_000], &[90_000_000_000], &[200_050_000_000]]);
    assert_eq!(reading.joules, None);
    assert!(reading.invalid.unwrap().contains("implausible"));
}

#[test]
fn a_counter_without_a_range_must_not_go_back() {
    let kind = DomainKind::Counter { joules_per_count: 1e-3, range: None };
    let info = info(vec![Domain { kind, ..counter("gpu-0", Role::Counted, None) }]);
    let reading = window(&info, &[&[5000], &[4000]]);
    assert!(reading.invalid.unwrap().contains("went back"));
}

#[test]
fn a_stuck_counter_is_unknown_and_not_zero() {
    let info = info(vec![counter("energy-pkg", Role::Counted, None)]);
    let reading = window(&info, &[&[0], &[0]]);
    assert_eq!((reading.joules, reading.trust), (None, Trust::Counter));
    assert!(reading.invalid.unwrap().contains("stuck"));
}

#[test]
fn one_dead_socket_of_two_invalidates_the_sum() {
    let info = info(vec![counter("package-0", Role::Counted, None), counter("package-1", Role::Counted, None)]);
    assert_eq!(window(&info, &[&[0, 5], &[90_000_000, 5]]).joules, None);
}

#[test]
fn dead_memory_is_left_out_and_flagged() {
    let info = info(vec![counter("package-0", Role::Counted, None), counter("dram-0", Role::Counted, None)]);
    let reading = window(&info, &[&[0, 5], &[90_000_000, 5]]);
    assert_eq!((joules(&reading), reading.domains.as_slice()), (90.0, &["package-0".to_owned()][..]));
    assert!(reading.flags.contains(&Flag::DramUncovered));
    let recomputed: f64 = reading.raw.iter().filter(|r| r.is_counted()).map(|r| r.joules().unwrap().0).sum();
    assert!((recomputed - 90.0).abs() < 1e-9);
}

#[test]
fn domains_inside_and_around_the_package_are_not_added() {
    let info = info(vec![
        counter("package-0", Role::Counted, None),
        counter("core", Role::Inside, None),
        counter("psys", Role::Around, None),
    ]);
    let reading = window(&info, &[&[0, 0, 0], &[50_000_000, 30_000_000, 80_000_000]]);
    assert_eq!((joules(&reading), reading.cross_check), (50.0, Some(Joules(80.0))));
}

#[test]
fn a_counter_and_its_gauge_that_disagree_lower_the_trust_and_show_both() {
    // Zeus #181: 187 J against 327 J over the same 5 s.
    let gauge = Domain { kind: DomainKind::Gauge, ..counter("gpu-0 power", Role::Twin, None) };
    let info = info(vec![counter("gpu-0", Role::Counted, None), gauge]);
    let at = |t: u64, uj: u64| Ok(vec![Value::Count(uj), Value::Watts(vec![(t, 65.4)])]);
    let mut account = Account::open(&info, 0, at(0, 0));
    for t in 1..5 {
        account.push(t * SECOND, at(t * SECOND, t * 37_400_000));
    }
    let reading = account.close(5 * SECOND, at(5 * SECOND, 187_000_000));
    assert!((joules(&reading) - 187.0).abs() < 1e-9);
    assert!((reading.cross_check.unwrap().0 - 327.0).abs() < 1e-9);
    assert!(reading.flags.contains(&Flag::CounterPowerDisagree) && reading.trust == Trust::Sampled);
}

#[test]
fn a_sample_is_not_stretched_over_time_it_was_not_taken_for() {
    // codecarbon #117: a 10 ms sample stretched over 15 s.
    let gauge = Domain { kind: DomainKind::Gauge, ..counter("VDD_IN", Role::Counted, None) };
    let info = info(vec![gauge]);
    let account = Account::open(&info, 0, Ok(vec![Value::Watts(vec![(0, 20.0)])]));
    let reading = account.close(15 * SECOND, Ok(vec![Value::Watts(vec![])]));
    assert_eq!(reading.joules, None);
    assert!(reading.invalid.unwrap().contains("VDD_IN"));
}

#[test]
fn a_gauge_that_shows_nonsense_invalidates_the_window() {
    let gauge = Domain { kind: DomainKind::Gauge, ..counter("wall", Role::Counted, Some(1000.0)) };
    let info = info(vec![gauge]);
    // codecarbon #286: W read as kW.
    for watts in [f64::NAN, -3.0, 60_000.0] {
        let account = Account::open(&info, 0, Ok(vec![Value::Watts(vec![(0, 20.0)])]));
        let reading = account.close(SECOND, Ok(vec![Value::Watts(vec![(SECOND / 2, watts)])]));
        assert_eq!(reading.joules, None, "{watts}");
    }
}

#[test]
fn an_estimate_is_a_range_and_never_a_point() {
    let info = MeterInfo { trust: Trust::Estimated, ..info(vec![counter("cpu", Role::Counted, None)]) };
    let reading = window(&info, &[&[0], &[40_000_000]]);
    assert_eq!((reading.joules, reading.range), (None, Some((20.0, 80.0))));
    assert_eq!(reading.estimate(), Some(Joules(40.0)));
}

#[test]
fn short_windows_are_flagged() {
    let slow = MeterInfo { tick_ms: Some(100.0), ..info(vec![counter("package-0", Role::Counted, None)]) };
    assert!(window(&slow, &[&[0], &[9_000_000]]).flags.contains(&Flag::WindowShort));
}

proptest! {
    #[test]
    fn the_sum_does_not_depend_on_when_the_counter_is_read(
        steps in proptest::collection::vec(0u64..RANGE / 2, 1..30), keep in proptest::collection::vec(any::<bool>(), 30)
    ) {
        // Dropping an inner read keeps the sum as long as no two wraps fall between reads.
        let info = info(vec![counter("package-0", Role::Counted, None)]);
        let mut total = 0u64;
        let mut reads = vec![vec![3u64]];
        let mut kept_at = 0u64;
        for (i, step) in steps.iter().enumerate() {
            total += step;
            let last = i + 1 == steps.len();
            let next = steps.get(i + 1).copied().unwrap_or(0);
            if last || keep[i] || total + next - kept_at >= RANGE {
                reads.push(vec![(total + 3) % RANGE]);
                kept_at = total;
            }
        }
        prop_assume!(total > 0);
        let reads: Vec<&[u64]> = reads.iter().map(Vec::as_slice).collect();
        let got = joules(&window(&info, &reads));
        prop_assert!((got - total as f64 * 1e-6).abs() < 1e-3);
    }
}
