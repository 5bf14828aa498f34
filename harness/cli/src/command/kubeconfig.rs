//! `meshbed kubeconfig`.

use anyhow::Context;

use super::find;
use crate::{args::KubeconfigArgs, exit::Exit, exit::usage, printer};

pub(super) fn run(args: &KubeconfigArgs) -> anyhow::Result<Exit> {
    let run = find::run(args.run.as_deref())?;
    let known: Vec<_> = run.clusters.iter().map(|cluster| cluster.name.to_string()).collect();
    let cluster = run.cluster(&args.cluster).ok_or_else(|| {
        usage(format!("run `{}` has no cluster `{}`", run.run, args.cluster), format!("clusters: {}", known.join(", ")))
    })?;
    let path = &cluster.kubeconfig_host;
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    printer::data(&text);
    Ok(Exit::Success)
}
