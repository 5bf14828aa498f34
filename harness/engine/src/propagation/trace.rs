//! The traces that agents write: a JSON line for each step of a change, as `agent/README.md` describes them.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde::Deserialize;

use super::join::{Place, Sight, Sighting, Step};
use crate::RunClock;

/// Bytes read of one trace.
const TRACE_MAX: u64 = 256 << 20;

/// One line. Fields that we do not know are left alone.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Line {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    ts_ns: u64,
    stage: Stage,
    /// Whose change it is.
    cluster: String,
    /// `namespace/name`.
    service: String,
    /// Resource version or etcd revision; empty when not known.
    #[serde(default)]
    rv: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    K8s,
    EtcdPut,
    EtcdWatch,
    Map,
}

impl Line {
    /// The same with its time by another clock.
    pub(crate) fn by(mut self, clock: impl Fn(u64) -> u64) -> Self {
        self.ts_ns = clock(self.ts_ns);
        self
    }

    /// Whether it was written since the run began: on a mesh that others used before there are older ones.
    pub(super) fn is_of_run(&self, clock: RunClock) -> bool {
        clock.has_started_at(self.ts_ns)
    }

    pub(super) fn sighting(self, place: &Place, clock: RunClock) -> Sighting {
        let step = match self.stage {
            Stage::K8s => Step::Kubernetes,
            Stage::EtcdPut => Step::EtcdPut,
            Stage::EtcdWatch => Step::EtcdWatch,
            Stage::Map => Step::Map,
        };
        let at = clock.at(self.ts_ns);
        let (place, version) = (place.clone(), self.rv.parse().ok());
        Sighting { at, sight: Sight::Trace { place, step, cluster: self.cluster, service: self.service, version } }
    }
}

/// All lines of a trace. A file that is not there has none, and a line that is none (the writer was killed in the middle
/// of it) is passed over: a trace explains, it judges nobody.
pub(super) fn read(path: &Path) -> Vec<Line> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    parse(BufReader::new(file.take(TRACE_MAX)).lines().map_while(Result::ok))
}

/// The same of lines that somebody else has read.
pub(crate) fn parse(lines: impl Iterator<Item = impl AsRef<str>>) -> Vec<Line> {
    lines.filter_map(|line| serde_json::from_str(line.as_ref()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_none_are_passed_over() {
        let path = std::env::temp_dir().join(format!("meshbed-trace-{}", std::process::id()));
        let good = r#"{"ts_ns":7,"stage":"etcd-watch","cluster":"alpha","service":"default/web","rv":"42","more":1}"#;
        std::fs::write(&path, format!("{good}\nnonsense\n{{\"ts_ns\":8,\"sta")).expect("a writable folder");
        let lines = read(&path);
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].ts_ns, lines[0].rv.as_str()), (7, "42"));
        assert!(read(Path::new("/nonexistent")).is_empty());
    }
}
