//! A machine made of files, for tests: its counters move when its clock does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::measure::clock::Clock;
use crate::measure::sysfs::SysFs;

/// The range of the usual 61 µJ counter, µJ.
pub(super) const RANGE: u64 = 262_143_328_850;

/// The machine. Dropping it removes the files.
pub(super) struct Tree {
    dir: tempfile::TempDir,
    world: World,
}

/// Its clock. Clones share the time.
#[derive(Clone)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    ns: u64,
    counters: Vec<Counter>,
}

struct Counter {
    path: PathBuf,
    watts: f64,
    microjoules: f64,
}

impl Tree {
    pub(super) fn new() -> Self {
        let world = World { state: Arc::default() };
        Self { dir: tempfile::tempdir().unwrap(), world }
    }

    pub(super) fn sysfs(&self) -> SysFs {
        SysFs::new(self.dir.path())
    }

    pub(super) fn clock(&self) -> World {
        self.world.clone()
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.sysfs().path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A file of microjoules that grows by `watts`.
    pub(super) fn counter(&self, path: &str, watts: f64) {
        self.write(path, "1000000");
        let path = self.sysfs().path(path);
        let counters = &mut self.world.state.lock().unwrap().counters;
        counters.retain(|c| c.path != path);
        counters.push(Counter { path, watts, microjoules: 1e6 });
    }

    /// A powercap zone.
    pub(super) fn zone(&self, id: &str, name: &str, watts: f64) {
        let base = format!("/sys/class/powercap/{id}");
        self.write(&format!("{base}/name"), &format!("{name}\n"));
        self.write(&format!("{base}/max_energy_range_uj"), &format!("{RANGE}\n"));
        self.counter(&format!("{base}/energy_uj"), watts);
    }

    /// Sets a zone's count.
    pub(super) fn set(&self, id: &str, microjoules: u64) {
        let path = self.sysfs().path(format!("/sys/class/powercap/{id}/energy_uj"));
        std::fs::write(&path, microjoules.to_string()).unwrap();
        let mut state = self.world.state.lock().unwrap();
        state.counters.iter_mut().find(|c| c.path == path).unwrap().microjoules = microjoules as f64;
    }

    /// Removes a zone's counter.
    pub(super) fn remove(&self, id: &str) {
        let path = self.sysfs().path(format!("/sys/class/powercap/{id}/energy_uj"));
        self.world.state.lock().unwrap().counters.retain(|c| c.path != path);
        std::fs::remove_file(path).unwrap();
    }
}

impl Clock for World {
    fn now_ns(&self) -> u64 {
        self.state.lock().unwrap().ns
    }

    fn sleep(&self, time: Duration) {
        let mut state = self.state.lock().unwrap();
        state.ns += crate::measure::clock::nanoseconds(time);
        for counter in &mut state.counters {
            counter.microjoules = (counter.microjoules + counter.watts * time.as_secs_f64() * 1e6) % RANGE as f64;
            std::fs::write(&counter.path, format!("{}\n", counter.microjoules as u64)).unwrap();
        }
    }

    fn unix_s(&self) -> f64 {
        1.7e9 + self.now_ns() as f64 / 1e9
    }
}
