//! Finds scenarios, topologies, runs and pods by what people type.

use std::path::{Path, PathBuf};

use meshbed_driver::{ClusterState, NodeState, RunId, RunState};
use meshbed_node::PodState;
use meshbed_scenario::Topology;

use crate::exit::usage;

/// Scenarios by a file, a folder or a name: of a folder below `scenarios/`, which stands for all that are in it, or of one
/// scenario.
pub(super) fn scenarios(given: &str) -> anyhow::Result<Vec<PathBuf>> {
    let below = folder(SCENARIOS).map(|scenarios| scenarios.join(given)).filter(|path| path.is_dir());
    let given_folder = Some(PathBuf::from(given)).filter(|path| given.contains('/') && path.is_dir());
    let Some(folder) = given_folder.or(below) else { return Ok(vec![scenario(given)?]) };
    let files: Vec<PathBuf> = names_in(&folder).into_iter().map(|name| folder.join(format!("{name}.yaml"))).collect();
    if files.is_empty() { Err(usage(format!("there is no scenario in `{}`", folder.display()), "")) } else { Ok(files) }
}

/// A scenario by its file or its name: in `scenarios/`, a case of the conformance suite, of which the ID is enough, or in
/// another folder there, if only one has it.
pub(super) fn scenario(given: &str) -> anyhow::Result<PathBuf> {
    let error = match file(given, SCENARIOS) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let Some(scenarios) = folder(SCENARIOS) else { return Err(error) };
    if let Some(case) = case(given, &scenarios.join(CASES_NAME)) {
        return Ok(case);
    }
    let folders = folders_in(&scenarios);
    let mut found: Vec<PathBuf> =
        folders.iter().map(|folder| folder.join(format!("{given}.yaml"))).filter(|path| path.is_file()).collect();
    match found.len() {
        0 => Err(error),
        1 => Ok(found.remove(0)),
        _ => {
            let found: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
            Err(usage(format!("several folders have a scenario `{given}`"), format!("say which: {}", found.join(", "))))
        }
    }
}

fn case(given: &str, folder: &Path) -> Option<PathBuf> {
    let wanted = given.to_lowercase();
    let names = names_in(folder);
    let name = names.into_iter().find(|name| *name == wanted || name.starts_with(&format!("{wanted}-")))?;
    Some(folder.join(format!("{name}.yaml")))
}

/// Folder of scenarios.
pub(super) const SCENARIOS: &str = "scenarios";
/// What the conformance suite's folder is called there.
pub(super) const CASES_NAME: &str = "conformance";

/// Folders in a folder, sorted.
pub(super) fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Folder of the conformance suite.
pub(super) const CASES: &str = "scenarios/conformance";

/// A file as given, or the file of that name in `folder`, here or in a folder above.
pub(super) fn file(given: &str, folder: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(given);
    if path.extension().is_some() || given.contains('/') {
        if path.is_file() {
            return Ok(path.to_owned());
        }
        return Err(usage(format!("there is no file `{given}`"), ""));
    }
    let found = self::folder(folder);
    let file = found.as_ref().map(|found| found.join(format!("{given}.yaml"))).filter(|file| file.is_file());
    if let Some(file) = file {
        return Ok(file);
    }
    let known = found.map(|found| names_in(&found)).unwrap_or_default();
    let hint = if known.is_empty() {
        "run this below the project's folder, or give a path".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    Err(usage(format!("there is no `{folder}/{given}.yaml`"), hint))
}

/// The folder called `name`, here or in a folder above.
pub(super) fn folder(name: &str) -> Option<PathBuf> {
    let mut above = PathBuf::new();
    for _ in 0..ABOVE_MAX {
        let found = above.join(name);
        if found.is_dir() {
            return Some(found);
        }
        above.push("..");
    }
    None
}

/// Folders above the working directory that are looked at.
const ABOVE_MAX: usize = 8;

/// Names of the YAML files in a folder, sorted.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// The run called `wanted`, or the only one there is.
pub(super) fn run(wanted: Option<&str>) -> anyhow::Result<RunState> {
    let mut runs = meshbed_driver::runs()?;
    if let Some(wanted) = wanted {
        let known = names(&runs);
        let id: RunId = wanted.parse().map_err(|error| usage(format!("{error}"), known.as_str()))?;
        let found = runs.into_iter().find(|run| run.run == id);
        return found.ok_or_else(|| usage(format!("there is no run `{wanted}` on this machine"), known));
    }
    match runs.len() {
        0 => Err(usage("no mesh is up on this machine", "`meshbed up` or `meshbed run SCENARIO --keep` leaves one up")),
        1 => Ok(runs.remove(0)),
        _ => Err(usage("several meshes are up on this machine", format!("say which one; {}", names(&runs)))),
    }
}

fn names(runs: &[RunState]) -> String {
    let names: Vec<_> = runs.iter().map(|run| run.run.to_string()).collect();
    if names.is_empty() { "there are none".to_owned() } else { format!("there are: {}", names.join(", ")) }
}

/// The topology of a run, as it was when the run came up.
pub(super) fn topology(run: &RunState) -> anyhow::Result<Topology> {
    Ok(Topology::load(meshbed_driver::topology_yaml(&run.run))?)
}

/// A pod and where it runs.
pub(super) struct Pod<'a> {
    pub(super) cluster: &'a ClusterState,
    pub(super) node: &'a NodeState,
    pub(super) state: PodState,
}

/// All pods of a run, in the order of clusters, nodes and names.
pub(super) fn pods(run: &RunState) -> Vec<Pod<'_>> {
    let mut pods = Vec::new();
    for cluster in &run.clusters {
        for node in &cluster.nodes {
            let mut states = PodState::list(&node.kubelet_state_dir).unwrap_or_default();
            states.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
            pods.extend(states.into_iter().map(|state| Pod { cluster, node, state }));
        }
    }
    pods
}

/// The first pod that `wanted` names: `pod`, the start of its name, or `cluster/pod`.
pub(super) fn pod<'a>(run: &'a RunState, wanted: &str) -> anyhow::Result<Pod<'a>> {
    let (cluster, name) = match wanted.split_once('/') {
        Some((cluster, name)) => (Some(cluster), name),
        None => (None, wanted),
    };
    let all = pods(run);
    let known: Vec<_> = all.iter().map(|pod| format!("{}/{}", pod.cluster.name, pod.state.name)).collect();
    let fits = |pod: &Pod<'_>| {
        cluster.is_none_or(|cluster| pod.cluster.name.as_str() == cluster) && pod.state.name.starts_with(name)
    };
    all.into_iter().find(fits).ok_or_else(|| {
        usage(format!("no pod fits `{wanted}` in run `{}`", run.run), format!("pods: {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::{scenario, scenarios};

    fn names(given: &str) -> Vec<String> {
        let files = scenarios(given).expect("found");
        files.iter().map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_stands_for_all_that_is_in_it() {
        let found = names("control-plane");
        assert!(found.len() > 1 && found.is_sorted() && found.contains(&"role-revoked".to_owned()), "{found:?}");
        assert_eq!(names("../../scenarios/control-plane"), found);
    }

    #[test]
    fn one_scenario_is_found_by_its_name_wherever_it_is() {
        assert_eq!(names("failover"), ["failover"]);
        assert_eq!(names("role-revoked"), ["role-revoked"]);
        assert_eq!(names("KV-001"), ["kv-001-etcd-holds-what-the-objects-ask-for"]);
        let error = scenario("no-such-thing").expect_err("there is none");
        let text = error.to_string();
        assert!(text.starts_with("there is no `scenarios/no-such-thing.yaml`"), "{text}");
    }
}
