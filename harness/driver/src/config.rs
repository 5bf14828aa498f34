//! Configuration files of the programs. Pure.

use std::path::Path;

use crate::{
    pki::{self, CA},
    state::ClusterState,
};

/// A kubeconfig for the API of `cluster` at `server`, with `token` as credentials. Quoted, because a
/// cluster may be called `on` and a token may look like a number.
pub(crate) fn kubeconfig(cluster: &ClusterState, server: &str, token: &str) -> String {
    let name = &cluster.name;
    let ca = pki::certificate_file(&cluster.pki, CA);
    format!(
        r#"apiVersion: v1
kind: Config
current-context: "{name}"
clusters:
- name: "{name}"
  cluster:
    server: {server}
    certificate-authority: {ca}
contexts:
- name: "{name}"
  context: {{cluster: "{name}", user: "{name}-admin"}}
users:
- name: "{name}-admin"
  user:
    token: "{token}"
"#,
        ca = ca.display()
    )
}

/// An etcd client configuration in Cilium's format (`--kvstore-opt etcd.config`, and the files of
/// `--clustermesh-config`) for the etcd of `cluster` with the client certificate called `certificate`.
pub(crate) fn etcd_client(cluster: &ClusterState, certificate: &str) -> String {
    let file = |path: &Path| path.display().to_string();
    format!(
        "\
endpoints:
- {endpoint}
trusted-ca-file: {ca}
key-file: {key}
cert-file: {certificate}
",
        endpoint = cluster.etcd_endpoint,
        ca = file(&pki::certificate_file(&cluster.pki, CA)),
        key = file(&pki::key_file(&cluster.pki, certificate)),
        certificate = file(&pki::certificate_file(&cluster.pki, certificate)),
    )
}

#[cfg(test)]
mod tests {
    use super::{etcd_client, kubeconfig};
    use crate::{state::RunState, testing};

    fn state() -> RunState {
        testing::planned(&testing::options("k3f9x2".parse().unwrap()))
    }

    #[test]
    fn kubeconfig_of_alpha() {
        let text = kubeconfig(&state().clusters[0], "https://127.0.0.1:40001", "secret");
        let expected = r#"apiVersion: v1
kind: Config
current-context: "alpha"
clusters:
- name: "alpha"
  cluster:
    server: https://127.0.0.1:40001
    certificate-authority: /run/meshbed/k3f9x2/alpha/pki/ca.crt
contexts:
- name: "alpha"
  context: {cluster: "alpha", user: "alpha-admin"}
users:
- name: "alpha-admin"
  user:
    token: "secret"
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn etcd_of_beta_for_remote_clusters() {
        let expected = "\
endpoints:
- https://172.18.2.2:2379
trusted-ca-file: /run/meshbed/k3f9x2/beta/pki/ca.crt
key-file: /run/meshbed/k3f9x2/beta/pki/remote.key
cert-file: /run/meshbed/k3f9x2/beta/pki/remote.crt
";
        assert_eq!(etcd_client(&state().clusters[1], "remote"), expected);
    }
}
