//! The meter over a made-up board, and the adapter over a made-up library.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::energy::Flag;
use crate::energy::tree::{Tree, World};
use crate::energy::{Metering, Reading, Watch, calibrate};

struct Fake {
    clock: World,
    counter_watts: Option<f64>,
    gauge_watts: f64,
    sliced: bool,
}

impl Board for Fake {
    fn name(&self) -> Result<String, String> {
        Ok("Fake GPU, driver 1".into())
    }
    fn is_sliced(&self) -> bool {
        self.sliced
    }
    fn millijoules(&self) -> Result<Option<u64>, String> {
        // Updates every 100 ms.
        let ns = self.clock.now_ns() / 100_000_000 * 100_000_000;
        Ok(self.counter_watts.map(|watts| (watts * ns as f64 / 1e6) as u64))
    }
    fn milliwatts(&self) -> Result<u32, String> {
        Ok((self.gauge_watts * 1e3) as u32)
    }
}

fn measure(counter_watts: Option<f64>, gauge_watts: f64) -> Reading {
    let tree = Tree::new();
    let board = Fake { clock: tree.clock(), counter_watts, gauge_watts, sliced: false };
    ten_seconds(&tree, NvmlMeter::with_board(Box::new(board), 0).unwrap(), |_| {})
}

/// A window of ten seconds on a meter whose tick must be found to be 100 ms. `meanwhile` sees how many polls were made.
fn ten_seconds(tree: &Tree, mut meter: NvmlMeter, meanwhile: impl Fn(u32)) -> Reading {
    let info = calibrate(&mut meter, &tree.clock(), Watch::GPU).unwrap();
    assert_eq!(info.tick_ms, Some(100.0));
    let mut metering = Metering::unattended(vec![(Box::new(meter), info)], Arc::new(tree.clock()), &tree.sysfs());
    metering.start();
    for poll in 0..100 {
        tree.clock().sleep(Duration::from_millis(100));
        metering.poll();
        meanwhile(poll);
    }
    metering.stop()
}

#[test]
fn the_counter_is_used_and_the_gauge_agrees() {
    let reading = measure(Some(250.0), 251.0);
    assert!((reading.joules.unwrap().0 - 2500.0).abs() < 30.0);
    assert_eq!((reading.trust, reading.flags.as_slice()), (Trust::Counter, &[][..]));
    assert!((reading.cross_check.unwrap().0 - 2510.0).abs() < 1.0);
}

#[test]
fn a_counter_that_its_gauge_contradicts_is_not_a_counter_any_more() {
    let reading = measure(Some(37.4), 65.4);
    assert!(reading.flags.contains(&Flag::CounterPowerDisagree));
    assert_eq!(reading.trust, Trust::Sampled);
}

#[test]
fn without_a_counter_the_gauge_is_integrated() {
    let reading = measure(None, 80.0);
    assert!((reading.joules.unwrap().0 - 800.0).abs() < 1e-6);
    assert_eq!(reading.trust, Trust::Sampled);
}

#[test]
fn mig_slices_are_refused() {
    let tree = Tree::new();
    let board = Fake { clock: tree.clock(), counter_watts: Some(1.0), gauge_watts: 1.0, sliced: true };
    assert!(NvmlMeter::with_board(Box::new(board), 0).unwrap_err().to_string().contains("MIG"));
}

/// The stub library, its GPU made of the files below `/gpu` of the tree. `None`, said aloud, without a C compiler.
fn stub(tree: &Tree) -> Option<std::path::PathBuf> {
    let (source, library) = (tree.sysfs().path("/stub.c"), tree.sysfs().path("/libnvidia-ml.so.1"));
    tree.write("/stub.c", include_str!("stub.c"));
    let dir = format!("-DDIR=\"{}\"", tree.sysfs().path("/gpu").display());
    match Command::new("cc").args(["-shared", "-fPIC", &dir, "-o"]).arg(&library).arg(&source).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: no C compiler (cc), and this test needs a library to stand in for the driver's");
            None
        }
        made => {
            let made = made.unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            Some(library)
        }
    }
}

fn open(library: &std::path::Path, ordinal: u32) -> Result<NvmlMeter, ReadError> {
    let mut builder = Nvml::builder();
    builder.lib_path(library.as_os_str());
    NvmlMeter::through(builder, ordinal)
}

/// A GPU that draws 250 W by its counter, which moves every 100 ms, and `power_mw` by its gauge.
fn gpu(tree: &Tree, power_mw: &str) {
    tree.counter("/gpu/energy_uj", 250.0);
    tree.write("/gpu/step_mj", "25000");
    tree.write("/gpu/power_mw", power_mw);
}

#[test]
fn the_driver_s_library_is_read_and_counter_and_power_are_held_against_each_other() {
    let tree = Tree::new();
    let Some(library) = stub(&tree) else { return };
    gpu(&tree, "251000");
    let meter = open(&library, 0).unwrap();
    assert_eq!(meter.info().note.as_deref(), Some("Stub GPU, driver 570.00"));
    let reading = ten_seconds(&tree, meter, |_| {});
    assert!((reading.joules.unwrap().0 - 2500.0).abs() <= 25.0, "{reading:?}");
    assert!((reading.cross_check.unwrap().0 - 2510.0).abs() < 1.0, "{reading:?}");
    assert_eq!((reading.trust, reading.flags.as_slice()), (Trust::Counter, &[][..]));

    // As Zeus #181 found it: 187 J by the counter, 327 J by the power.
    tree.write("/gpu/power_mw", "437000");
    let reading = ten_seconds(&tree, open(&library, 0).unwrap(), |_| {});
    assert!(reading.flags.contains(&Flag::CounterPowerDisagree), "{reading:?}");
    assert_eq!(reading.trust, Trust::Sampled);
}

#[test]
fn a_library_without_a_counter_leaves_the_power_gauge() {
    let tree = Tree::new();
    let Some(library) = stub(&tree) else { return };
    tree.write("/gpu/power_mw", "80000");
    let reading = ten_seconds(&tree, open(&library, 0).unwrap(), |_| {});
    assert!((reading.joules.unwrap().0 - 800.0).abs() < 1e-6);
    assert_eq!((reading.trust, reading.source.as_str()), (Trust::Sampled, "nvml"));
}

#[test]
fn what_the_library_cannot_give_is_refused_with_the_reason() {
    let tree = Tree::new();
    let Some(library) = stub(&tree) else { return };
    gpu(&tree, "250000");
    tree.write("/gpu/mig", "1");
    let sliced = open(&library, 0).unwrap_err().to_string();
    assert!(sliced.contains("MIG"), "{sliced}");
    tree.write("/gpu/mig", "0");
    assert!(open(&library, 0).is_ok(), "a GPU that could be cut and is not");
    let absent = open(&library, 7).unwrap_err().to_string();
    assert!(absent.contains("NVML"), "{absent}");
    let no_driver = open(&tree.sysfs().path("/elsewhere/libnvidia-ml.so.1"), 0).unwrap_err();
    assert_eq!(no_driver, ReadError::Missing { what: "libnvidia-ml.so.1 (no NVIDIA driver)".into() });

    tree.counter("/gpu/energy_uj", 0.0);
    let stuck = calibrate(&mut open(&library, 0).unwrap(), &tree.clock(), Watch::GPU).unwrap_err();
    assert_eq!(stuck, ReadError::Stuck { what: "gpu-0".into(), ms: 2000 });
}

#[test]
fn a_gpu_that_falls_off_the_bus_leaves_no_joules() {
    let tree = Tree::new();
    let Some(library) = stub(&tree) else { return };
    gpu(&tree, "250000");
    let power = tree.sysfs().path("/gpu/power_mw");
    let reading = ten_seconds(&tree, open(&library, 0).unwrap(), |poll| {
        if poll == 50 {
            std::fs::remove_file(&power).unwrap();
        }
    });
    assert_eq!(reading.joules, None);
    assert!(reading.invalid.as_deref().is_some_and(|why| why.contains("NVML")), "{reading:?}");
}
