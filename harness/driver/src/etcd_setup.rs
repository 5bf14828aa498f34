//! Users and roles in a fresh etcd: from then on it checks who asks. Nothing in it is older, so nobody else is at work yet.

use std::{fs, sync::Arc, time::Duration};

use etcd_client::{AuthClient, Certificate, Client, ConnectOptions, Identity, Permission, TlsOptions, UserAddOptions};
use futures::future::try_join_all;
use tokio::{runtime::Builder, task::spawn_blocking, time::timeout};

use crate::{
    error::{Act, EtcdSetupError, SystemError},
    etcd_users::{EtcdRole, KeyRange, users},
    gate::Gate,
    namespace::in_netns,
    pki::{self, CA, ETCD_ROOT},
    state::ClusterState,
};

/// How long all of it may take; it is some tens of milliseconds on a machine that has little else to do.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes the users and roles of `cluster` in its etcd, which is ready and knows none, and lets it check them.
pub(crate) async fn set_up(cluster: &ClusterState, gate: &Arc<Gate>) -> Result<(), EtcdSetupError> {
    let (cluster, gate) = (cluster.clone(), Arc::clone(gate));
    let work = move || {
        let _pass = gate.pass()?;
        let options = options(&cluster)?;
        // A connection belongs to the namespace of the thread that opens it.
        let outcome = in_netns(&cluster.netns, || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(async { timeout(SETUP_TIMEOUT, make_all(&cluster, options)).await }))
        })?;
        match outcome {
            Ok(made) => made.map_err(EtcdSetupError::Client),
            Err(_) => Err(EtcdSetupError::TimedOut(SETUP_TIMEOUT)),
        }
    };
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn options(cluster: &ClusterState) -> Result<ConnectOptions, SystemError> {
    let read = |path: std::path::PathBuf| fs::read(&path).act(|| format!("read `{}`", path.display()));
    let certificate = read(pki::certificate_file(&cluster.pki, ETCD_ROOT))?;
    let identity = Identity::from_pem(certificate, read(pki::key_file(&cluster.pki, ETCD_ROOT))?);
    let authority = Certificate::from_pem(read(pki::certificate_file(&cluster.pki, CA))?);
    Ok(ConnectOptions::new().with_tls(TlsOptions::new().ca_certificate(authority).identity(identity)))
}

/// In three rounds: each needs what the one before made, and within one all requests are under way at once.
async fn make_all(cluster: &ClusterState, options: ConnectOptions) -> Result<(), etcd_client::Error> {
    let mut auth = Client::connect([&cluster.etcd_endpoint], Some(options)).await?.auth_client();
    let users = users(cluster);
    let roles = EtcdRole::MADE.map(|role| add_role(auth.clone(), role));
    futures::try_join!(try_join_all(roles), try_join_all(users.iter().map(|(user, _)| add_user(auth.clone(), user))))?;
    let ranges = EtcdRole::MADE.map(|role| role.reads(&cluster.name).into_iter().map(move |range| (role, range)));
    let permissions = ranges.into_iter().flatten().map(|(role, range)| permit(auth.clone(), role, range));
    let roles = users.iter().map(|(user, role)| give_role(auth.clone(), user, *role));
    futures::try_join!(try_join_all(permissions), try_join_all(roles))?;
    auth.auth_enable().await.map(drop)
}

async fn add_role(mut auth: AuthClient, role: EtcdRole) -> Result<(), etcd_client::Error> {
    auth.role_add(role.name()).await.map(drop)
}

async fn add_user(mut auth: AuthClient, user: &str) -> Result<(), etcd_client::Error> {
    auth.user_add(user, "", Some(UserAddOptions::new().with_no_pwd())).await.map(drop)
}

async fn permit(mut auth: AuthClient, role: EtcdRole, range: KeyRange) -> Result<(), etcd_client::Error> {
    let permission = Permission::read(range.start());
    let permission = if matches!(range, KeyRange::Prefix(_)) { permission.with_prefix() } else { permission };
    auth.role_grant_permission(role.name(), permission).await.map(drop)
}

async fn give_role(mut auth: AuthClient, user: &str, role: EtcdRole) -> Result<(), etcd_client::Error> {
    auth.user_grant_role(user, role.name()).await.map(drop)
}
