//! Cool-down: a machine still hot from one tier's work leaks more in the next one's window.

use std::time::Duration;

use crate::measure::clock::Clock;
use crate::measure::noise::hottest_celsius;
use crate::measure::sysfs::SysFs;

/// Longest wait worth making between two tiers.
pub const LONGEST: Duration = Duration::from_secs(30);
/// How near the temperature at the start is near enough, °C: what changes leakage visibly (see `temp_drift`).
const NEAR_C: f64 = 3.0;
/// Time between looks at the sensors.
const STEP: Duration = Duration::from_millis(250);

/// Waits until the hottest sensor is within 3 °C of what it showed at the start, for at most `most`, or until `stop` says
/// so. Returns the time waited: none without a sensor.
pub fn cool_down(
    sysfs: &SysFs,
    clock: &dyn Clock,
    start_celsius: Option<f64>,
    most: Duration,
    stop: &dyn Fn() -> bool,
) -> Duration {
    let Some(start) = start_celsius else { return Duration::ZERO };
    let mut waited = Duration::ZERO;
    while waited < most && !stop() && hottest_celsius(sysfs).is_some_and(|now| now > start + NEAR_C) {
        let step = STEP.min(most - waited);
        clock.sleep(step);
        waited += step;
    }
    waited
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::tree::Tree;
    use crate::measure::clock::FakeClock;

    /// A sensor that falls by a degree per second of the clock.
    struct Cooling<'a> {
        tree: &'a Tree,
        clock: FakeClock,
        from: f64,
    }

    impl Clock for Cooling<'_> {
        fn now_ns(&self) -> u64 {
            self.clock.now_ns()
        }
        fn unix_s(&self) -> f64 {
            self.clock.unix_s()
        }
        fn sleep(&self, time: Duration) {
            self.clock.sleep(time);
            let milli = 1000.0 * self.from - self.clock.now_ns() as f64 / 1e6;
            self.tree.write("/sys/class/thermal/thermal_zone0/temp", &format!("{milli:.0}\n"));
        }
    }

    #[test]
    fn waits_for_the_temperature_of_the_start_and_no_longer() {
        let tree = Tree::new();
        let wait = |from: f64, start, most, stop: &dyn Fn() -> bool| {
            let clock = Cooling { tree: &tree, clock: FakeClock::new(), from };
            clock.sleep(Duration::ZERO);
            cool_down(&tree.sysfs(), &clock, start, most, stop).as_secs_f64()
        };
        assert_eq!(wait(50.0, Some(40.0), LONGEST, &|| false), 7.0, "down to 43 °C at a degree per second");
        assert_eq!(wait(42.0, Some(40.0), LONGEST, &|| false), 0.0, "near enough");
        assert_eq!(wait(90.0, Some(40.0), LONGEST, &|| false), 30.0, "a machine that stays hot is not waited for");
        assert_eq!(wait(90.0, Some(40.0), Duration::from_millis(600), &|| false), 0.6);
        assert_eq!(wait(90.0, Some(40.0), LONGEST, &|| true), 0.0, "the user wants to stop");
        assert_eq!(wait(90.0, None, LONGEST, &|| false), 0.0, "nothing to compare with");
        std::fs::remove_dir_all(tree.sysfs().path("/sys")).unwrap();
        let clock = FakeClock::new();
        assert!(cool_down(&tree.sysfs(), &clock, Some(40.0), LONGEST, &|| false).is_zero(), "the sensor went away");
    }
}
