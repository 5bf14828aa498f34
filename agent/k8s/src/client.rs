//! The connection to the API server.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// Limit for a new connection to the API server. kube's 30 s would be spent waiting for an address behind a broken link
/// long after the link is back.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A client for the current context of the kubeconfig at `path`. Connects when first used.
pub async fn client(path: &Path) -> Result<Client, ClientError> {
    let error = |kind| ClientError { path: path.to_owned(), kind };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|e| error(ClientErrorKind::Kubeconfig(e)))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|e| error(ClientErrorKind::Kubeconfig(e)))?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map_err(|e| error(ClientErrorKind::Client(e)))
}

/// A kubeconfig that gives no client.
#[derive(Debug, thiserror::Error)]
#[error("unable to use kubeconfig `{}`", path.display())]
pub struct ClientError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub kind: ClientErrorKind,
}

/// What can be wrong with a kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum ClientErrorKind {
    /// Unreadable, malformed or incomplete.
    #[error(transparent)]
    Kubeconfig(KubeconfigError),
    /// Its certificates or addresses are unusable.
    #[error(transparent)]
    Client(kube::Error),
}
