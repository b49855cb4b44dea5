//! NVIDIA GPUs through NVML, loaded at run time: the energy counter (Volta and later) with the power gauge beside it.

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Nvml, NvmlBuilder};

use super::meter::{Domain, DomainKind, Meter, MeterInfo, ReadError, Role, Value};
use super::reading::{Scope, Trust};
use crate::measure::clock::Clock;

/// Sensor bound, an assumption; NVIDIA documents ±5 % for Fermi and Kepler only.
const SENSOR_BOUND: f64 = 0.05;

/// What of NVML is used, so that tests can stand in for a GPU.
pub trait Board: Send {
    /// Name, driver version included.
    ///
    /// # Errors
    /// What NVML says.
    fn name(&self) -> Result<String, String>;
    /// Whether the board is cut into MIG slices: NVML's energy is the whole board's.
    fn is_sliced(&self) -> bool;
    /// Energy since the driver was loaded, mJ; `None` before Volta.
    ///
    /// # Errors
    /// What NVML says.
    fn millijoules(&self) -> Result<Option<u64>, String>;
    /// Power, mW. A 1-s average on Ampere and later.
    ///
    /// # Errors
    /// What NVML says.
    fn milliwatts(&self) -> Result<u32, String>;
}

/// One GPU.
pub struct NvmlMeter {
    info: MeterInfo,
    board: Box<dyn Board>,
    counts: bool,
}

impl NvmlMeter {
    /// Opens the GPU of this ordinal through the driver's library.
    ///
    /// # Errors
    /// No driver, no such GPU, or a MIG slice.
    pub fn open(ordinal: u32) -> Result<Self, ReadError> {
        Self::through(Nvml::builder(), ordinal)
    }

    /// Opens the GPU through the library a builder names.
    fn through(library: NvmlBuilder<'_>, ordinal: u32) -> Result<Self, ReadError> {
        let nvml = library.init().map_err(|error| match error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
                ReadError::Missing { what: "libnvidia-ml.so.1 (no NVIDIA driver)".into() }
            }
            other => failed(&other.to_string()),
        })?;
        Self::with_board(Box::new(Device { nvml, ordinal }), ordinal)
    }

    /// A meter over any board.
    ///
    /// # Errors
    /// As [`NvmlMeter::open`].
    pub fn with_board(board: Box<dyn Board>, ordinal: u32) -> Result<Self, ReadError> {
        let name = board.name().map_err(|error| failed(&error))?;
        if board.is_sliced() {
            return Err(failed("the GPU is cut into MIG slices, and NVML gives the energy of the whole board"));
        }
        let counts = board.millijoules().map_err(|error| failed(&error))?.is_some();
        board.milliwatts().map_err(|error| failed(&error))?;
        let gauge = |role| Domain {
            name: format!("gpu-{ordinal}{}", if role == Role::Twin { " power" } else { "" }),
            role,
            kind: DomainKind::Gauge,
            max_watts: Some(2000.0),
        };
        let counter =
            Domain { kind: DomainKind::Counter { joules_per_count: 1e-3, range: None }, ..gauge(Role::Counted) };
        let trust = if counts { Trust::Counter } else { Trust::Sampled };
        let domains = if counts { vec![counter, gauge(Role::Twin)] } else { vec![gauge(Role::Counted)] };
        let info = MeterInfo {
            sensor_bound: Some(SENSOR_BOUND),
            tick_ms: (!counts).then_some(100.0),
            note: Some(name),
            ..MeterInfo::new("nvml", trust, Scope::Components, domains)
        };
        Ok(Self { info, board, counts })
    }
}

impl Meter for NvmlMeter {
    fn info(&self) -> &MeterInfo {
        &self.info
    }

    fn read(&mut self, clock: &dyn Clock) -> Result<Vec<Value>, ReadError> {
        let watts = f64::from(self.board.milliwatts().map_err(|error| failed(&error))?) / 1e3;
        let power = Value::Watts(vec![(clock.now_ns(), watts)]);
        if !self.counts {
            return Ok(vec![power]);
        }
        let energy = self.board.millijoules().map_err(|error| failed(&error))?;
        let energy = energy.ok_or_else(|| ReadError::Missing { what: "the GPU's energy counter".into() })?;
        Ok(vec![Value::Count(energy), power])
    }
}

impl std::fmt::Debug for NvmlMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NvmlMeter").field("info", &self.info).finish_non_exhaustive()
    }
}

fn failed(why: &str) -> ReadError {
    ReadError::Failed { what: "NVML".into(), why: why.to_owned() }
}

/// A GPU of this machine.
struct Device {
    nvml: Nvml,
    ordinal: u32,
}

impl Device {
    fn get(&self) -> Result<nvml_wrapper::Device<'_>, String> {
        self.nvml.device_by_index(self.ordinal).map_err(|error| error.to_string())
    }
}

impl Board for Device {
    fn name(&self) -> Result<String, String> {
        let name = self.get()?.name().map_err(|error| error.to_string())?;
        let driver = self.nvml.sys_driver_version().map_err(|error| error.to_string())?;
        Ok(format!("{name}, driver {driver}"))
    }

    fn is_sliced(&self) -> bool {
        self.get().is_ok_and(|device| device.mig_mode().is_ok_and(|mode| mode.current != 0))
    }

    fn millijoules(&self) -> Result<Option<u64>, String> {
        match self.get()?.total_energy_consumption() {
            Ok(energy) => Ok(Some(energy)),
            Err(NvmlError::NotSupported) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn milliwatts(&self) -> Result<u32, String> {
        self.get()?.power_usage().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
