//! The matrix itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    conformance::{API_VERSION, CaseReport, CaseResult, ConformanceReport},
    yaml::{YamlError, write},
};

/// Kind of the document.
pub const KIND: &str = "MatrixReport";

/// How conformant one agent is on many kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatrixReport {
    /// Version of the format.
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Name of the agent, as its description says.
    pub agent: String,
    /// Version of meshbed, which the cases came with.
    pub version: String,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// The columns, the oldest kernel first.
    pub kernels: Vec<KernelColumn>,
    /// The rows.
    pub cases: Vec<MatrixCase>,
}

/// A kernel, and the guest that the cases ran in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KernelColumn {
    /// Its name in the file of kernels.
    pub name: String,
    /// Its release; empty when it did not boot.
    pub release: String,
    /// Who executed the guest: KVM, or plain emulation.
    pub accelerator: String,
    /// How many times slower than its host the guest was.
    pub slowness: f64,
    /// From the start of QEMU until PID 1 ran, in seconds.
    pub boot_seconds: f64,
    /// All of it, in seconds.
    pub seconds: f64,
    /// What went wrong with the guest itself, such as a panic.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trouble: String,
    /// Whether that is the kernel's fault or the agent's, such as a panic, and not the machine's.
    #[serde(default)]
    pub died: bool,
}

/// A case on all kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatrixCase {
    /// Its ID.
    pub id: String,
    /// What it asks.
    pub title: String,
    /// Whether an agent has to pass it.
    pub required: bool,
    /// By the name of the kernel.
    pub results: BTreeMap<String, Cell>,
}

/// A case on a kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cell {
    /// What came of it.
    pub result: CellResult,
    /// Why, unless it passed: one finding a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How long it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The command that runs it alone again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reproduce: String,
}

/// What came of a case on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CellResult {
    /// Every expectation held.
    Pass,
    /// One did not, or the kernel died of it.
    Fail,
    /// Nothing was shown: it was not run, or a fault had no witness, or the machine failed.
    Unknown,
    /// It cannot be asked there, for the reason given.
    Skipped,
}

impl CellResult {
    /// The word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

impl MatrixReport {
    /// The matrix of these kernels, each with the report of its guest if there is one. `cases` are all that were to be run.
    pub fn new(
        agent: &str,
        started: String,
        cases: &[CaseReport],
        columns: Vec<(KernelColumn, Option<ConformanceReport>)>,
    ) -> Self {
        let row = |case: &CaseReport| {
            let results =
                columns.iter().map(|(column, report)| (column.name.clone(), cell(case, column, report.as_ref())));
            MatrixCase {
                id: case.id.clone(),
                title: case.title.clone(),
                required: case.required,
                results: results.collect(),
            }
        };
        let rows = cases.iter().map(row).collect();
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            agent: agent.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            cases: rows,
            kernels: columns.into_iter().map(|(column, _)| column).collect(),
        }
    }

    /// One matrix of several, such as those of machines that shared the kernels. Of a kernel that several have, the first
    /// counts; a case that a matrix does not have was not run on its kernels.
    pub fn merged(reports: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut reports = reports.into_iter();
        let mut whole = reports.next()?;
        for report in reports {
            whole.started = whole.started.min(report.started);
            let new = report.kernels.into_iter().filter(|new| whole.kernels.iter().all(|known| known.name != new.name));
            let new: Vec<KernelColumn> = new.collect();
            for case in report.cases {
                let index = whole.cases.iter().position(|known| known.id == case.id).unwrap_or_else(|| {
                    whole.cases.push(MatrixCase { results: BTreeMap::new(), ..case.clone() });
                    whole.cases.len() - 1
                });
                let cells = case.results.into_iter().filter(|(name, _)| new.iter().any(|kernel| kernel.name == *name));
                whole.cases[index].results.extend(cells);
            }
            whole.kernels.extend(new);
        }
        whole.kernels.sort_by_key(|kernel| numbers(&kernel.name));
        whole.cases.sort_by(|a, b| a.id.cmp(&b.id));
        for case in &mut whole.cases {
            for kernel in &whole.kernels {
                case.results.entry(kernel.name.clone()).or_insert_with(Cell::not_run);
            }
        }
        Some(whole)
    }

    /// All cells that are this.
    pub fn count(&self, result: CellResult) -> usize {
        self.cells().filter(|(_, _, cell)| cell.result == result).count()
    }

    /// Whether a required case failed somewhere.
    pub fn has_failed(&self) -> bool {
        let required = self.cases.iter().filter(|case| case.required);
        required.flat_map(|case| case.results.values()).any(|cell| cell.result == CellResult::Fail)
    }

    /// Every case on every kernel, kernels in their order.
    pub fn cells(&self) -> impl Iterator<Item = (&MatrixCase, &KernelColumn, &Cell)> {
        self.cases.iter().flat_map(move |case| {
            self.kernels.iter().filter_map(move |kernel| Some((case, kernel, case.results.get(&kernel.name)?)))
        })
    }
}

impl Cell {
    fn not_run() -> Self {
        Self { result: CellResult::Unknown, reason: NOT_RUN.to_owned(), seconds: None, reproduce: String::new() }
    }
}

/// Why a case has no result.
const NOT_RUN: &str = "it was not run";

/// `5.10` is newer than `5.9`; names without numbers come first.
fn numbers(name: &str) -> (Vec<u64>, String) {
    let numbers = name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    (numbers.collect(), name.to_owned())
}

fn cell(case: &CaseReport, column: &KernelColumn, report: Option<&ConformanceReport>) -> Cell {
    let found = report
        .and_then(|report| report.profiles.iter().flat_map(|profile| &profile.cases).find(|found| found.id == case.id));
    let Some(found) = found else {
        let result = if column.died { CellResult::Fail } else { CellResult::Unknown };
        let reason = if column.trouble.is_empty() { NOT_RUN.to_owned() } else { column.trouble.clone() };
        return Cell { result, reason, seconds: None, reproduce: String::new() };
    };
    let result = match found.result {
        CaseResult::Conformant => CellResult::Pass,
        CaseResult::NonConformant => CellResult::Fail,
        CaseResult::Invalid | CaseResult::NotRun => CellResult::Unknown,
        CaseResult::Unsupported => CellResult::Skipped,
    };
    let seconds = found.duration_ms.map(|millis| millis / 1e3);
    Cell { result, reason: found.reason.clone(), seconds, reproduce: found.reproduce.clone() }
}

/// The report as YAML, the form that is kept.
pub fn yaml(report: &MatrixReport) -> Result<String, YamlError> {
    write(report)
}

/// Reads what [`yaml`] wrote.
pub fn read(text: &str) -> Result<MatrixReport, serde_saphyr::Error> {
    serde_saphyr::from_str(text)
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::conformance::ProfileReport;

    fn case(id: &str, result: CaseResult) -> CaseReport {
        let reason = if result == CaseResult::Conformant { "" } else { "it did not\nhold" };
        CaseReport {
            id: id.into(),
            title: format!("Does {id}?"),
            required: true,
            result,
            reason: reason.into(),
            reproduce: format!("meshbed run {id} --kernel 5.10"),
            ..CaseReport::default()
        }
    }

    pub(crate) fn matrix() -> MatrixReport {
        let column = |name: &str, trouble: &str, died| KernelColumn {
            name: name.into(),
            release: format!("{name}.1"),
            accelerator: "KVM".into(),
            slowness: 1.0,
            boot_seconds: 1.5,
            seconds: 60.0,
            trouble: trouble.into(),
            died,
        };
        let cases = [case("A-1", CaseResult::NotRun), case("A-2", CaseResult::NotRun)];
        let report = |results: [CaseResult; 2]| ConformanceReport {
            profiles: vec![ProfileReport::new("core", vec![case("A-1", results[0]), case("A-2", results[1])])],
            ..ConformanceReport::default()
        };
        let columns = vec![
            (column("5.10", "", false), Some(report([CaseResult::Conformant, CaseResult::NonConformant]))),
            (column("6.1", "", false), Some(report([CaseResult::Unsupported, CaseResult::Invalid]))),
            (column("7.2", "the kernel panicked: oops", true), None),
            (column("7.3", "it did not boot", false), None),
        ];
        MatrixReport::new("mesh-agent", "2026-01-01T00:00:00Z".into(), &cases, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_its_result() {
        let matrix = testing::matrix();
        let row = |index: usize| -> Vec<&str> {
            let of = |name: &str| matrix.cases[index].results[name].result.as_str();
            ["5.10", "6.1", "7.2", "7.3"].map(of).to_vec()
        };
        assert_eq!(row(0), ["pass", "skipped", "fail", "unknown"]);
        assert_eq!(row(1), ["fail", "unknown", "fail", "unknown"]);
        assert_eq!(matrix.cases[0].results["7.2"].reason, "the kernel panicked: oops");
        assert!(matrix.has_failed());
        assert_eq!(matrix.count(CellResult::Fail), 3);
    }

    #[test]
    fn matrices_of_several_machines_are_one() {
        let part = |names: &[&str], ids: &[&str]| {
            let mut matrix = testing::matrix();
            matrix.kernels.retain(|kernel| names.contains(&kernel.name.as_str()));
            matrix.cases.retain(|case| ids.contains(&case.id.as_str()));
            for case in &mut matrix.cases {
                case.results.retain(|name, _| names.contains(&name.as_str()));
            }
            matrix
        };
        let whole =
            MatrixReport::merged([part(&["6.1", "7.3"], &["A-2", "A-1"]), part(&["5.10", "7.2"], &["A-1", "A-2"])]);
        assert_eq!(whole, Some(testing::matrix()));
        let holes = MatrixReport::merged([part(&["6.1"], &["A-1"]), part(&["5.10"], &["A-2"])]).expect("two");
        assert_eq!(holes.cases[0].results["5.10"], Cell::not_run());
        let (first, again) = (part(&["5.10"], &["A-1"]), part(&["5.10"], &["A-1"]));
        assert_eq!(MatrixReport::merged([first.clone(), again]), Some(first));
        assert_eq!(MatrixReport::merged([]), None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let matrix = testing::matrix();
        assert_eq!(read(&yaml(&matrix).expect("written")).expect("read"), matrix);
    }
}
