//! Wall plugs that speak HTTP: Shelly (both generations) and Tasmota. Behind the feature `http-meter`, because it is the one
//! place beside the model sources that opens a connection: to the address the user names, and to nothing else.
//!
//! The power is integrated here. The plug's own total is not believed: totals have been 37 % off while power was right
//! (Tasmota #20925).

use std::time::{Duration, Instant};

use serde_json::Value;

use super::command::external;
use super::meter::{ReadError, excerpt};
use super::sampler::{Feed, Sampler};

/// How long a plug may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Answers that may fail in a row: a plug on wireless loses some.
const LOST: u32 = 3;

/// Where a kind of plug states its power, and where in its answer.
struct Kind {
    name: &'static str,
    path: &'static str,
    pointer: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind { name: "Shelly, second generation", path: "/rpc/Switch.GetStatus?id=0", pointer: "/apower" },
    Kind { name: "Tasmota", path: "/cm?cmnd=Status%2010", pointer: "/StatusSNS/ENERGY/Power" },
    Kind { name: "Shelly, first generation", path: "/meter/0", pointer: "/power" },
];

/// Finds out what answers at `address` (`http://192.168.1.20`) and follows its power.
///
/// # Errors
/// Nothing answers, or what answers is none of the known plugs.
pub fn open(address: &str, interval: Duration, label: Option<&str>) -> Result<Sampler, ReadError> {
    let what = format!("--power-url {address}");
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into();
    let address = address.trim_end_matches('/').to_owned();
    let mut last = ReadError::Missing { what: what.clone() };
    for kind in &KINDS {
        let url = format!("{address}{}", kind.path);
        match power(&agent, &url, kind.pointer, &what) {
            Ok(_) => {
                let mut info = external("power-url", label);
                info.note = Some(label.map_or_else(|| kind.name.to_owned(), |label| format!("{}: {label}", kind.name)));
                let name = what.clone();
                return Sampler::start(info, &what, interval, move |feed| {
                    follow(feed, interval, || power(&agent, &url, kind.pointer, &name));
                });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// One answer, W.
fn power(agent: &ureq::Agent, url: &str, pointer: &str, what: &str) -> Result<f64, ReadError> {
    let failed = |why: &dyn std::fmt::Display| ReadError::Failed { what: what.to_owned(), why: why.to_string() };
    let mut answer = agent.get(url).call().map_err(|error| failed(&error))?;
    let text = answer.body_mut().read_to_string().map_err(|error| failed(&error))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    // Tasmota with several sockets gives a list: the first is meant.
    let value = json.pointer(pointer).map(|value| value.get(0).unwrap_or(value));
    value.and_then(Value::as_f64).filter(|watts| watts.is_finite() && *watts >= 0.0).ok_or_else(|| {
        ReadError::Malformed {
            what: what.to_owned(),
            got: excerpt(&text),
            expected: "an answer of a Shelly or Tasmota plug with its power",
        }
    })
}

/// Asks again and again. A lost answer leaves a gap, which the window judges; several in a row are a fault.
fn follow(feed: &Feed, interval: Duration, mut ask: impl FnMut() -> Result<f64, ReadError>) {
    let mut lost = 0;
    loop {
        let started = Instant::now();
        match ask() {
            Ok(watts) => {
                lost = 0;
                feed.push(watts);
            }
            Err(error) => {
                lost += 1;
                if lost >= LOST {
                    return feed.fail(error);
                }
            }
        }
        if !feed.pause(started, interval) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::*;
    use crate::energy::meter::Meter as _;
    use crate::energy::{Metering, Trust};
    use crate::measure::clock::Monotonic;
    use crate::measure::sysfs::SysFs;

    /// A plug: answers its own path with `body`, everything else with 404, until the process ends.
    fn plug(path: &'static str, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                lines.read_line(&mut request).unwrap();
                let mut header = String::new();
                while lines.read_line(&mut header).is_ok_and(|n| n > 2) {
                    header.clear();
                }
                let known = request.split(' ').nth(1) == Some(path);
                let (status, body) = if known { ("200 OK", body) } else { ("404 Not Found", "{}") };
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                // The other end may have gone: then nobody wants the answer.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    fn power_is_integrated_and_the_plugs_own_total_is_not_believed() {
        for (path, body) in [
            ("/rpc/Switch.GetStatus?id=0", r#"{"id":0,"apower":40.0,"aenergy":{"total":99999.0}}"#),
            ("/cm?cmnd=Status%2010", r#"{"StatusSNS":{"ENERGY":{"Total":13.7,"Power":40}}}"#),
            ("/cm?cmnd=Status%2010", r#"{"StatusSNS":{"ENERGY":{"Total":13.7,"Power":[40,3]}}}"#),
            ("/meter/0", r#"{"power":40.0,"is_valid":true,"total":1}"#),
        ] {
            let meter = open(&plug(path, body), Duration::from_millis(50), Some("test, 1 %")).unwrap();
            let info = meter.info().clone();
            assert_eq!((info.source.as_str(), info.trust, info.sensor_bound), ("power-url", Trust::Wall, Some(0.01)));
            let clock = Arc::new(Monotonic::default());
            let mut metering = Metering::new(vec![(Box::new(meter), info)], clock, &SysFs::new("/nonexistent"));
            metering.start();
            std::thread::sleep(Duration::from_millis(300));
            let power = metering.stop().power().unwrap();
            assert!((power.0 - 40.0).abs() < 1e-6, "{path}: {power:?}");
        }
    }

    #[test]
    fn what_is_no_plug_is_refused_with_its_address() {
        let address = plug("/meter/0", r#"{"power":"much"}"#);
        let error = open(&address, Duration::from_millis(50), None).unwrap_err();
        assert!(matches!(error, ReadError::Malformed { .. }) && error.to_string().contains(&address), "{error}");
        let silent = open("http://127.0.0.1:9", Duration::from_millis(50), None).unwrap_err();
        assert!(matches!(silent, ReadError::Failed { .. }), "{silent}");
    }
}
