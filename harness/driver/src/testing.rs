//! What the unit tests share.

use std::path::Path;

use meshbed_scenario::Topology;

use crate::{Programs, RunId, RunState, UpOptions, layout, programs::ProgramSpec, state::ProcessIdentity};

/// Options for `run` of programs that are in `/opt`.
pub(crate) fn options(run: RunId) -> UpOptions {
    UpOptions::new(run, Programs::next_to(Path::new("/opt/meshbed")))
}

/// A run of [`two_clusters`], as planned.
pub(crate) fn planned(options: &UpOptions) -> RunState {
    planned_for(&two_clusters(), options)
}

/// A run of `topology`, as planned.
pub(crate) fn planned_for(topology: &Topology, options: &UpOptions) -> RunState {
    let harness = ProcessIdentity { pid: 1, start_ticks: 1 };
    layout::plan(topology, options, harness, 0, Path::new("/cg"))
}

/// The topology that the documentation uses.
pub(crate) fn two_clusters() -> Topology {
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
    Topology::parse(text, "two-clusters.yaml").expect("the text above is a valid topology")
}

/// A program and its arguments in one line.
pub(crate) fn line(spec: &ProgramSpec) -> String {
    format!("{} {}", spec.launch.program.display(), spec.launch.arguments.join(" "))
}

/// Everything that decides how a program runs, an argument a line.
pub(crate) fn plan(spec: &ProgramSpec) -> String {
    let launch = &spec.launch;
    let mut text = format!("{}\n  {}\n", spec.name, launch.program.display());
    for argument in &launch.arguments {
        text += &format!("    {argument}\n");
    }
    text += &format!("  env {:?}\n  files {:?}\n  cgroup {:?}\n", launch.env, launch.files, launch.cgroup);
    text += &format!("  bpffs {:?}\n  cgroup namespace {:?}\n", launch.bpf_root, launch.cgroup_root);
    text + &format!("  ready {:?} within {:?}\n", launch.ready, launch.ready_timeout)
}
