//! The scenario itself, against the accepted report.

use std::{fs, path::Path};

use crate::meshbed::{Machine, meshbed, project, skip, text};

/// The report of a run in `reports`, without what differs between good runs.
fn normalised(reports: &Path) -> String {
    let mut runs = fs::read_dir(reports).expect("the run made a folder");
    let folder = runs.next().expect("there is one run").expect("it is readable").path();
    for name in ["record.jsonl", "report.yaml", "junit.xml", "report.html", "maps/alpha/alpha-1.txt"] {
        let size = fs::metadata(folder.join(name)).map(|meta| meta.len()).unwrap_or(0);
        assert!(size > 0, "`{name}` is missing or empty");
    }
    fs::read_to_string(folder.join("report.normalised.yaml")).expect("the report was written")
}

#[test]
fn root_failover_is_as_accepted() {
    if skip() {
        return;
    }
    let machine = Machine::now();
    let reports = tempfile::tempdir().expect("a temporary folder");
    let output = meshbed().args(["run", "failover", "--reports"]).arg(reports.path()).output().expect("meshbed runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(project().join("reports"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("failover", normalised(reports.path())));
    machine.assert_as_before();
}
