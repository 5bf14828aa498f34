//! What the root tests share.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use meshbed_driver::{Programs, RunId, UpOptions, leftovers};
use meshbed_scenario::Topology;

/// Whether the test can run; prints why not.
pub(crate) fn is_root() -> bool {
    let root = fs::read_to_string("/proc/self/status").unwrap().contains("CapEff:\t000001ff")
        || fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        eprintln!("skipped: needs root for namespaces, mounts and cgroups");
    }
    root
}

pub(crate) fn topology() -> Topology {
    let text = "\
apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: two-clusters
clusters:
- name: alpha
  id: 1
  nodeCIDR: 172.18.1.0/24
  podCIDR: 10.1.0.0/16
  serviceCIDR: 10.101.0.0/16
  nodes: [{name: alpha-1}, {name: alpha-2}]
- name: beta
  id: 2
  nodeCIDR: 172.18.2.0/24
  podCIDR: 10.2.0.0/16
  serviceCIDR: 10.102.0.0/16
  nodes: [{name: beta-1}, {name: beta-2}]
";
    Topology::parse(text, "two-clusters.yaml").unwrap()
}

/// Options for a fresh run of the real etcd and, for everything else, `program`.
pub(crate) fn options(program: &Path) -> UpOptions {
    let mut programs = Programs::next_to(program);
    programs.mesh_agent = program.to_owned();
    programs.meshbed_pod = program.to_owned();
    UpOptions::new(RunId::random().unwrap(), programs)
}

/// Prints progress with the time since the start.
pub(crate) fn progress() -> impl FnMut(&str) + Send {
    let start = Instant::now();
    move |what| eprintln!("{:8.1} ms  {what}", start.elapsed().as_secs_f64() * 1e3)
}

/// Looks for the run's ID where things could be, without the driver's own functions, and with them.
pub(crate) fn assert_gone(run: &RunId) {
    assert_eq!(leftovers(run).unwrap(), Vec::<String>::new());
    let id = run.as_str();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounted: Vec<_> = mounts.lines().filter(|line| line.contains(id)).collect();
    assert!(mounted.is_empty(), "{mounted:?}");
    let named = |directory: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.to_string_lossy().contains(id)).collect()
    };
    assert_eq!(named("/run/netns"), Vec::<PathBuf>::new());
    assert_eq!(named("/run/meshbed"), Vec::<PathBuf>::new());
    // Gone with its mount on machines that have cgroup v2 nowhere else.
    if let Some(line) = mounts.lines().find(|line| line.contains(" - cgroup2 ")) {
        let root = Path::new(line.split(' ').nth(4).unwrap());
        assert!(!root.join("meshbed").join(id).exists());
    }
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        // A command line of ours names the run directory.
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!line.contains(&format!("/run/meshbed/{id}")), "{line}");
    }
}
