//! `meshbed apiserver`.

use anyhow::Context;
use meshbed_apiserver::{Limits, Options};

use crate::{args::ApiserverArgs, exit::Exit};

pub(super) fn run(args: ApiserverArgs) -> anyhow::Result<Exit> {
    let options = Options {
        cluster_name: args.cluster_name,
        service_cidr: args.service_cidr,
        pod_cidr: args.pod_cidr,
        listen: args.listen,
        listen_fd: args.listen_fd,
        tls_cert: args.tls_cert,
        tls_key: args.tls_key,
        client_ca: args.client_ca,
        token_file: args.token_file,
        data_dir: args.data_dir,
        admin_socket: args.admin_socket,
        node_monitor_grace_period: args.node_monitor_grace_period.into(),
        seed: None,
        limits: Limits::default(),
    };
    super::runtime()?
        .block_on(meshbed_apiserver::run(options, super::terminated()))
        .context("the API server failed")?;
    Ok(Exit::Success)
}
