//! Files with Kubernetes manifests.

use std::{collections::BTreeSet, fmt, path::PathBuf, slice};

use mesh_types::ClusterName;

use crate::{Context, Cursor, Json, Term, schema};

/// What is replaced by the name of a cluster.
const CLUSTER_PLACEHOLDER: &str = "{cluster}";

/// A file with Kubernetes manifests; `{cluster}` in its name stands for the cluster's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// As written.
    written: String,
    /// Folder of the file that it stands in.
    folder: PathBuf,
}

impl ManifestFile {
    /// The file for `cluster`, relative to the working directory.
    pub fn path(&self, cluster: &ClusterName) -> PathBuf {
        self.folder.join(self.written.replace(CLUSTER_PLACEHOLDER, cluster.as_str()))
    }

    /// The last part of its path as written, for messages.
    pub fn name(&self) -> &str {
        self.written.rsplit('/').next().unwrap_or(&self.written)
    }
}

/// A file that is there for every cluster of the same record, and holds Kubernetes objects.
impl Term for ManifestFile {
    fn schema() -> Json {
        schema::text()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let written = at.text(context.findings())?;
        let rest = written.replace(CLUSTER_PLACEHOLDER, "");
        if rest.contains(['{', '}']) {
            let hint = Some(format!("`{CLUSTER_PLACEHOLDER}` stands for the name of each cluster"));
            context.report(at, format!("`{written}` has an unknown placeholder"), hint);
            return None;
        }
        let file = Self { written: written.to_owned(), folder: at.folder().to_path_buf() };
        let clusters = context.clusters();
        let paths: BTreeSet<PathBuf> = clusters.into_iter().flatten().map(|cluster| file.path(cluster)).collect();
        for path in &paths {
            context.check_manifest(at, path);
        }
        Some(file)
    }
}

/// Manifest files in order; some that were read are at least one. Stands after the field with the clusters that they
/// are for: only then it is known which files must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFiles(Vec<ManifestFile>);

impl Term for ManifestFiles {
    fn schema() -> Json {
        schema::list(schema::text(), 1)
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        if at.is_empty_list() {
            context.report(at, "there is no file, at least one is needed", None);
        }
        Vec::read(at, context).map(Self)
    }
}

impl ManifestFiles {
    /// Each of them, in order.
    pub fn iter(&self) -> slice::Iter<'_, ManifestFile> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ManifestFiles {
    type Item = &'a ManifestFile;
    type IntoIter = slice::Iter<'a, ManifestFile>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The last parts of their paths, with commas between them.
impl fmt::Display for ManifestFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(ManifestFile::name).collect::<Vec<_>>().join(", "))
    }
}
