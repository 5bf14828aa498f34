//! Diagnostic logs, on stderr.

use tracing_subscriber::EnvFilter;

use crate::args::Global;

/// Warnings, but not those of the Kubernetes client: faults make APIs go away on purpose, and our watches come back by
/// themselves.
const QUIET: &str = "warn,kube_client=off,kube_runtime=off";

/// Logs what `RUST_LOG` asks for; else warnings, more with `--verbose`.
pub(crate) fn init(global: &Global) {
    let level = match global.verbose {
        0 => QUIET,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
