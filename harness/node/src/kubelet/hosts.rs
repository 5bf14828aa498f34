//! Names of services, without DNS: a hosts file for each namespace, mounted as `/etc/hosts` into its pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Service;

/// Cluster domain, as Kubernetes has it by default.
const DOMAIN: &str = "cluster.local";

/// Cluster IPs by namespace and name. Services without one (headless, ExternalName) have no entry: they would need DNS.
pub(crate) type ClusterIps = BTreeMap<(String, String), IpAddr>;

/// Adds or replaces a service.
pub(crate) fn apply(services: &mut ClusterIps, service: &Service) {
    let ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).and_then(|ip| ip.parse().ok());
    match ip {
        Some(ip) => services.insert(key(service), ip),
        None => services.remove(&key(service)),
    };
}

/// Removes a service.
pub(crate) fn delete(services: &mut ClusterIps, service: &Service) {
    services.remove(&key(service));
}

fn key(service: &Service) -> (String, String) {
    let metadata = &service.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Content of the hosts file for pods of `namespace`. Only services of the same namespace have their short name.
pub(crate) fn render(services: &ClusterIps, namespace: &str) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for ((of, name), ip) in services {
        text.push_str(&ip.to_string());
        if of == namespace {
            text.push(' ');
            text.push_str(name);
        }
        text.push_str(&format!(" {name}.{of} {name}.{of}.svc {name}.{of}.svc.{DOMAIN}\n"));
    }
    text
}

/// The files.
#[derive(Debug)]
pub(crate) struct HostsFiles {
    folder: PathBuf,
    services: ClusterIps,
    /// Whether the services are known. Before, a file that an earlier kubelet wrote knows more than we do.
    is_listed: bool,
    namespaces: BTreeSet<String>,
}

impl HostsFiles {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, services: ClusterIps::new(), is_listed: false, namespaces: BTreeSet::new() }
    }

    /// Path of a namespace's file, which is written when it is not there yet.
    pub(crate) fn file(&mut self, namespace: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(namespace);
        if !self.namespaces.contains(namespace) {
            if self.is_listed || !path.exists() {
                overwrite(&path, &render(&self.services, namespace))?;
            }
            self.namespaces.insert(namespace.to_owned());
        }
        Ok(path)
    }

    /// Writes all files anew.
    pub(crate) fn update(&mut self, services: ClusterIps) -> io::Result<()> {
        self.services = services;
        self.is_listed = true;
        for namespace in &self.namespaces {
            overwrite(&self.folder.join(namespace), &render(&self.services, namespace))?;
        }
        Ok(())
    }
}

/// Writes in place, since pods have this very file mounted. One write and then the new length: a reader never finds an
/// empty file.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;

    fn service(namespace: &str, name: &str, ip: &str) -> Service {
        serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": ip}
        }))
        .expect("a service")
    }

    #[test]
    fn short_names_are_for_the_own_namespace() {
        let mut services = ClusterIps::new();
        apply(&mut services, &service("default", "rebel-base", "10.101.0.10"));
        apply(&mut services, &service("other", "rebel-base", "10.101.0.11"));
        apply(&mut services, &service("default", "headless", "None"));
        assert_eq!(
            render(&services, "default"),
            "127.0.0.1 localhost\n\
             10.101.0.10 rebel-base rebel-base.default rebel-base.default.svc rebel-base.default.svc.cluster.local\n\
             10.101.0.11 rebel-base.other rebel-base.other.svc rebel-base.other.svc.cluster.local\n"
        );
        delete(&mut services, &service("other", "rebel-base", ""));
        assert_eq!(render(&services, "other").lines().count(), 2);
    }

    #[test]
    fn an_earlier_kubelets_file_stays_until_more_is_known() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("default");
        fs::write(&path, "10.101.0.10 rebel-base\n").expect("written");
        let mut files = HostsFiles::new(folder.path().to_owned());
        assert_eq!(files.file("default").expect("it is there"), path);
        assert_eq!(fs::read_to_string(&path).expect("text"), "10.101.0.10 rebel-base\n");
        files.update(ClusterIps::new()).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("text"), "127.0.0.1 localhost\n");
    }

    #[test]
    fn files_are_updated_in_place() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut files = HostsFiles::new(folder.path().to_owned());
        let mut services = ClusterIps::new();
        apply(&mut services, &service("default", "rebel-base", "10.101.0.10"));
        files.update(services).expect("nothing to write");
        let path = files.file("default").expect("written");
        let inode = fs::metadata(&path).expect("it is there").ino();
        assert!(fs::read_to_string(&path).expect("text").contains("rebel-base"));
        files.update(ClusterIps::new()).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("text"), "127.0.0.1 localhost\n");
        assert_eq!(fs::metadata(&path).expect("it is there").ino(), inode);
    }
}
