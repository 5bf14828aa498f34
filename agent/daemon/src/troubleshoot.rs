//! `mesh-agent troubleshoot clustermesh`: whether remote clusters can be reached with the configuration that is there, step by
//! step, without a running agent. Words and order are those of `cilium-dbg troubleshoot clustermesh`.

mod certificates;
mod endpoint;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use mesh_kvstore::{
    EtcdConfig, EtcdConnector,
    store::{Connect as _, KeyRange, Kvstore as _},
};
use mesh_wire::HEARTBEAT;
use tokio::time::timeout;

use crate::{cli::TroubleshootOptions, mesh_directory, runtime::block_on};

/// How long each step may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Lines about what was found, and whether anything was broken.
#[derive(Debug, Default)]
pub(crate) struct Report {
    text: String,
    broken: usize,
}

impl Report {
    /// A line as it is.
    pub(crate) fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// Something that works.
    pub(crate) fn good(&mut self, indent: &str, text: &str) {
        self.line(&format!("{indent}✅ {text}"));
    }

    /// Something worth knowing.
    pub(crate) fn info(&mut self, indent: &str, text: &str) {
        self.line(&format!("{indent}ℹ️   {text}"));
    }

    /// Something that is broken.
    pub(crate) fn bad(&mut self, indent: &str, text: &str) {
        self.broken += 1;
        self.line(&format!("{indent}❌ {text}"));
    }
}

/// Looks at the remote clusters that are asked for, or at all of them.
///
/// # Errors
///
/// When anything is broken, after all was printed.
pub(crate) fn run(options: &TroubleshootOptions) -> anyhow::Result<String> {
    let found = configurations(&options.clustermesh_config)?;
    let report = block_on(async { Ok(look(&found, &options.clusters).await) })?;
    if report.broken == 0 {
        return Ok(report.text);
    }
    crate::print(&report.text)?;
    bail!("{} problems were found", report.broken)
}

/// Names and files of the remote clusters, as an agent would find them.
fn configurations(folder: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to read directory `{}`", folder.display()))?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if mesh_directory::is_configuration(&path) {
            found.insert(name.to_owned(), path.clone());
        }
    }
    Ok(found)
}

async fn look(found: &BTreeMap<String, PathBuf>, asked: &[String]) -> Report {
    let mut report = Report::default();
    report.line(&format!("Found {} remote cluster configurations", found.len()));
    if !asked.is_empty() {
        report.line(&format!("Troubleshooting filtered subset of clusters: {}", asked.join(", ")));
    }
    for name in asked.iter().filter(|name| !found.contains_key(*name)) {
        report.line(&format!("\nRemote cluster {name:?}:"));
        report.bad("", "Configuration not found");
    }
    for (name, path) in found.iter().filter(|(name, _)| asked.is_empty() || asked.contains(name)) {
        report.line(&format!("\nRemote cluster {name:?}:"));
        cluster(&mut report, path).await;
    }
    report
}

async fn cluster(report: &mut Report, path: &Path) {
    report.line(&format!("📄 Configuration path: {}", path.display()));
    let config = match EtcdConfig::read(path) {
        Ok(config) => config,
        Err(error) => return report.bad("", &format!("Cannot use the configuration: {}", chain(&error))),
    };
    report.line("\n🔌 Endpoints:");
    for url in &config.endpoints {
        report.line(&format!("   - {url}"));
        endpoint::look(report, url, &config).await;
    }
    report.line("\n🔑 Digital certificates:");
    certificates::look(report, &config);
    report.line("\n⚙️ Etcd client:");
    let connected = timeout(TIMEOUT, async {
        let store = EtcdConnector::new(path.to_owned()).connect().await?;
        store.list("heartbeat", KeyRange::Prefix(HEARTBEAT)).await?;
        Ok::<_, mesh_kvstore::SessionError>(store.cluster_id().unwrap_or_default())
    });
    match connected.await {
        Ok(Ok(id)) => {
            report.good("   ", "Etcd connection successfully established");
            report.info("   ", &format!("Etcd cluster ID: {id:x}"));
        }
        Ok(Err(error)) => report.bad("   ", &format!("Failed to establish an etcd connection: {}", chain(&error))),
        Err(_) => report.bad("   ", &format!("No answer from etcd after {TIMEOUT:?}")),
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors repeat their cause.
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
