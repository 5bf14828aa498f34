//! `tls:` of a topology: who signs certificates, and as whom agents of other clusters read an etcd.

use crate::{
    walk::{Cursor, Fields, Findings},
    words,
};

words! {
    /// Who signs the certificates of a mesh.
    pub enum Ca {
        /// One authority signs for all clusters.
        Mesh = "mesh",
        /// Each cluster has an authority of its own, which also signs for the agents of other clusters that read its etcd.
        Cluster = "cluster",
    }
}

words! {
    /// As which users agents of other clusters read an etcd: Cilium's `clustermesh.apiserver.tls.authMode`.
    pub enum AuthMode {
        /// All as `remote`.
        Legacy = "legacy",
        /// All as `remote`, and those of the mode `cluster` are welcome too: the step between the other two.
        Migration = "migration",
        /// Each as `remote-<its cluster>`.
        Cluster = "cluster",
    }
}

/// Certificates and users of the etcds of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Who signs.
    pub ca: Ca,
    /// As which users agents of other clusters read.
    pub auth_mode: AuthMode,
}

impl Default for Tls {
    /// An authority for each cluster, so that every kind of trust has to be carried over; users as in Cilium from 1.19 on.
    fn default() -> Self {
        Self { ca: Ca::Cluster, auth_mode: AuthMode::Migration }
    }
}

/// Keys of `tls:`.
const KEYS: [&str; 2] = ["ca", "authMode"];

/// Reads `tls:` of a topology; what is not given is as in [`Tls::default`].
pub(crate) fn read(findings: &mut Findings, fields: &Fields<'_>) -> Tls {
    let mut tls = Tls::default();
    let Some(fields) = fields.optional("tls").and_then(|at| at.fields(findings, &KEYS)) else { return tls };
    if let Some(at) = fields.optional("ca") {
        tls.ca = word(findings, &at, Ca::ALL, Ca::as_str).unwrap_or(tls.ca);
    }
    if let Some(at) = fields.optional("authMode") {
        tls.auth_mode = word(findings, &at, AuthMode::ALL, AuthMode::as_str).unwrap_or(tls.auth_mode);
    }
    tls
}

/// One of the words of an enum.
fn word<T: Copy>(findings: &mut Findings, at: &Cursor<'_>, all: &[T], text: fn(T) -> &'static str) -> Option<T> {
    words::read(findings, at, all.iter().map(|one| (text(*one), *one)), "word")
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{AuthMode, Ca, Tls};
    use crate::Topology;

    const TOPOLOGY: &str = "\
apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: t
clusters:
- {name: alpha, id: 1, nodeCIDR: 172.18.1.0/24, podCIDR: 10.1.0.0/16, serviceCIDR: 10.101.0.0/16, nodes: [{name: a}]}
";

    #[test_case("" => Ok(Tls { ca: Ca::Cluster, auth_mode: AuthMode::Migration }) ; "not given")]
    #[test_case("tls: {}" => Ok(Tls::default()) ; "nothing in it")]
    #[test_case("tls: {ca: mesh}" => Ok(Tls { ca: Ca::Mesh, auth_mode: AuthMode::Migration }) ; "an authority for all")]
    #[test_case("tls: {ca: cluster, authMode: legacy}" => Ok(Tls { ca: Ca::Cluster, auth_mode: AuthMode::Legacy }) ; "both")]
    #[test_case("tls: {authMode: cluster}" => Ok(Tls { ca: Ca::Cluster, auth_mode: AuthMode::Cluster }) ; "users")]
    #[test_case("tls: mesh" => Err("tls: expected a mapping, found the text `mesh`".to_owned()) ; "no mapping")]
    #[test_case("tls: {ca: msh}" => Err("tls.ca: unknown word `msh`".to_owned()) ; "unknown authority")]
    #[test_case("tls: {authmode: legacy}" => Err("tls.authmode: unknown key `authmode`".to_owned()) ; "unknown key")]
    #[test_case("tls: {authMode: [legacy]}" => Err("tls.authMode: expected text, found a list".to_owned()) ; "a list")]
    fn tls_of_a_topology(text: &str) -> Result<Tls, String> {
        let topology = Topology::parse(&format!("{TOPOLOGY}{text}\n"), "t.yaml");
        let topology = topology.map_err(|diagnostics| {
            let finding = &diagnostics.findings[0];
            format!("{}: {}", finding.path, finding.message)
        })?;
        Ok(topology.tls())
    }
}
