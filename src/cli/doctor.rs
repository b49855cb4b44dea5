//! `tierbench doctor`: what this machine has, what that is worth, and the command that unlocks more.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Serialize;

use super::meter_args::MeterArgs;
use super::{OutputFormat, Ui};
use crate::energy::{self, Role, SourceFacts, Trust};
use crate::engine::DeviceChoice;
use crate::error::{Error, ExitStatus, Result};
use crate::measure::bandwidth::Bandwidth;
use crate::measure::clock::{Clock as _, Monotonic};
use crate::measure::host::HostFacts;
use crate::measure::noise::{NoiseEvidence, NoiseSnapshot};
use crate::measure::sysfs::SysFs;
use crate::model::SourceOptions;
use crate::units::Bytes;

/// How long noise is watched.
const WATCH: Duration = Duration::from_secs(1);

/// Show what this machine has: cores, memory bandwidth, devices, energy sources, noise
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Format
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Json]), default_value = "table")]
    output: OutputFormat,
    /// Device whose energy sources are looked for
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Do not measure memory bandwidth
    #[arg(long)]
    no_bandwidth: bool,
    #[command(flatten)]
    meter: MeterArgs,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    host: HostFacts,
    bandwidth: Option<Bandwidth>,
    devices: Vec<Device>,
    energy: Vec<SourceFacts>,
    noise: NoiseEvidence,
    cache_dir: Option<std::path::PathBuf>,
    pip: Option<String>,
}

#[derive(Debug, Serialize)]
struct Device {
    name: &'static str,
    usable: bool,
    reason: Option<&'static str>,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let sysfs = SysFs::new(&ui.sysfs_root);
    let clock = Monotonic::default();
    let host = HostFacts::read(&sysfs);
    let before = NoiseSnapshot::read(&sysfs);
    clock.sleep(WATCH);
    let mut noise = NoiseEvidence::default();
    noise.note_machine(&sysfs);
    noise.add(&before, &NoiseSnapshot::read(&sysfs));
    let threads = host.physical_cores.unwrap_or(host.usable_cpus).min(host.usable_cpus);
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        bandwidth: (!args.no_bandwidth).then(|| Bandwidth::measure(&host, threads)),
        devices: devices(),
        energy: energy::survey(&args.meter.options(ui, args.device), &clock),
        noise,
        cache_dir: SourceOptions::platform(ui.offline).ok().map(|options| options.cache_dir),
        pip: pip(),
        host,
    };
    match args.output {
        OutputFormat::Json => {
            let json = serde_json::to_string_pretty(&report)
                .map_err(|error| Error::Usage(format!("cannot write the report as json: {error}")))?;
            ui.line(json)?;
        }
        _ => ui.write(text(&report).as_bytes())?,
    }
    Ok(ExitStatus::Success)
}

/// Devices this build can run on.
fn devices() -> Vec<Device> {
    let gpu = |name, usable: bool| Device {
        name,
        usable,
        reason: (!usable).then_some(match name {
            "cuda" => "not in this build: cargo build --release --features cuda",
            _ => "not in this build: cargo build --release --features metal (macOS)",
        }),
    };
    vec![
        Device { name: "cpu", usable: true, reason: None },
        gpu("cuda", cfg!(feature = "cuda")),
        gpu("metal", cfg!(feature = "metal")),
    ]
}

/// The pip that fetches models where there is no hub.
fn pip() -> Option<String> {
    let run = Command::new("python3").args(["-m", "pip", "--version"]).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&run.stdout).trim().to_owned();
    (run.status.success() && !text.is_empty()).then_some(text)
}

fn text(report: &Report) -> String {
    let Report { host, noise, .. } = report;
    let mut lines = vec![("tierbench".to_owned(), report.version.to_owned())];
    let mut add = |name: &str, value: String| lines.push((name.to_owned(), value));
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "—".into());
    let number = |value: Option<u32>| value.map_or_else(|| "—".into(), |n: u32| n.to_string());
    add("processor", known(&host.cpu));
    add(
        "cores",
        format!(
            "{} physical, {} logical, {} usable here",
            number(host.physical_cores),
            number(host.logical_cpus),
            host.usable_cpus
        ),
    );
    add(
        "instruction sets",
        if host.isa.is_empty() { "—".into() } else { format!("{} {}", host.arch, host.isa.join(" ")) },
    );
    let caches = host.caches.iter().filter(|cache| cache.kind != "Instruction");
    let caches: Vec<String> = caches.map(|c| format!("L{} {}", c.level, size(c.bytes))).collect();
    add("caches", if caches.is_empty() { "—".into() } else { caches.join(", ") });
    let memory = host.memory;
    add(
        "memory",
        format!(
            "{} installed, {} usable{}",
            memory.total.map_or_else(|| "—".into(), size),
            memory.usable().map_or_else(|| "—".into(), size),
            memory.limit.map(|limit| format!(", container limit {}", size(limit))).unwrap_or_default()
        ),
    );
    if let Some(bandwidth) = &report.bandwidth {
        add("memory bandwidth", rate(bandwidth.memory, bandwidth.memory_buffer, bandwidth.threads));
        add("cache bandwidth", rate(bandwidth.cache, bandwidth.cache_buffer, bandwidth.threads));
    }
    add("system", format!("{}, kernel {}", known(&host.os), known(&host.kernel)));
    add("virtual machine", host.hypervisor.clone().unwrap_or_else(|| "no".into()));
    add("container", host.container.clone().unwrap_or_else(|| "no".into()));
    for device in &report.devices {
        add(&format!("device {}", device.name), device.reason.unwrap_or("yes").to_owned());
    }
    for source in &report.energy {
        add(&format!("energy {}", source.source), describe(source));
    }
    add("energy in use", in_use(&report.energy));
    let percent = |share: Option<f64>| share.map_or_else(|| "—".into(), |s| format!("{:.1} %", s * 100.0));
    add("stolen by hypervisor", percent(noise.steal_share()));
    add("other processes", percent(noise.foreign_share()));
    add("frequency governor", known(&noise.governor));
    add("frequency", noise.mhz.map_or_else(|| "—".into(), |(_, mhz)| format!("{mhz:.0} MHz")));
    add("temperature", noise.celsius.map_or_else(|| "—".into(), |(_, celsius)| format!("{celsius:.0} °C")));
    let throttled = noise.throttles.map_or_else(|| "—".into(), |n| format!("{n} times in a second"));
    add("throttled", throttled);
    let cache = report.cache_dir.as_ref().map(|dir| dir.display().to_string());
    add("model cache", cache.unwrap_or_else(|| "— (set TIERBENCH_CACHE)".into()));
    add("pip", report.pip.clone().unwrap_or_else(|| "— (models from a Python package index cannot be fetched)".into()));
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn size(bytes: u64) -> String {
    let mib = Bytes(bytes).mib();
    match mib {
        m if m >= 1024.0 => format!("{:.1} GiB", m / 1024.0),
        m if m >= 1.0 => format!("{m:.0} MiB"),
        m => format!("{:.0} KiB", m * 1024.0),
    }
}

fn rate(bytes_per_s: Option<f64>, buffer: u64, threads: u32) -> String {
    match bytes_per_s {
        Some(rate) => format!("{:.1} GB/s reading {} on {threads} threads", rate / 1e9, size(buffer)),
        None => "— (no room for a buffer twice the cache)".into(),
    }
}

/// What a run would take, and what would be better.
fn in_use(sources: &[SourceFacts]) -> String {
    let better = "for joules give an external meter: --power-cmd 'COMMAND that prints watts' or --power-csv LOG";
    let usable: Vec<&SourceFacts> = sources.iter().filter(|source| source.info.is_some()).collect();
    match usable.first().and_then(|source| source.info.as_ref()) {
        None => format!("none: cost excludes electricity; {better}"),
        Some(info) if info.trust == Trust::Estimated => format!("{}, a range and never ranked; {better}", info.source),
        Some(info) => {
            let window = info.tick_ms.map_or(10.0, |tick| (tick * 0.1).max(10.0));
            format!("{}, windows of {window:.0} s or more per test", info.source)
        }
    }
}

/// A source on one line: what it covers and what that is worth, or why it is not used.
fn describe(source: &SourceFacts) -> String {
    let Some(info) = &source.info else { return source.reason.clone().unwrap_or_else(|| "—".into()) };
    let domains: Vec<&str> = info.counted().collect();
    let mut text = format!("{}: {}", info.trust, domains.join(" + "));
    if let Some(tick) = info.tick_ms {
        text.push_str(&format!(", every {tick:.0} ms"));
    }
    if let Some(bound) = info.sensor_bound {
        text.push_str(&format!(", sensor ±{:.1} % (assumed)", bound * 100.0));
    }
    let beside: Vec<&str> =
        info.domains.iter().filter(|d| d.role != Role::Counted).map(|domain| domain.name.as_str()).collect();
    if !beside.is_empty() {
        text.push_str(&format!(", beside the sum: {}", beside.join(" ")));
    }
    for flag in &info.flags {
        text.push_str(&format!(", {flag}"));
    }
    if let Some(note) = &info.note {
        text.push_str(&format!(" ({note})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_facts_print_as_a_dash_and_never_as_zero() {
        let report = Report {
            version: "0",
            host: HostFacts { usable_cpus: 3, ..HostFacts::default() },
            bandwidth: None,
            devices: devices(),
            energy: vec![SourceFacts { source: "powercap".into(), info: None, reason: Some("sudo chmod".into()) }],
            noise: NoiseEvidence::default(),
            cache_dir: None,
            pip: None,
        };
        let text = text(&report);
        assert!(text.contains("cores                 — physical, — logical, 3 usable here"), "{text}");
        assert!(text.contains("energy powercap       sudo chmod"), "{text}");
        assert!(text.contains("energy in use         none: cost excludes electricity"), "{text}");
        assert!(!text.contains(" 0 ") && !text.contains("NaN"), "{text}");
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!([size(48 << 10), size(2 << 20), size(24 << 30)], ["48 KiB", "2 MiB", "24.0 GiB"]);
    }
}
