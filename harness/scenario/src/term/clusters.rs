//! Clusters of the topology.

use std::{fmt, ops::Deref, slice};

use mesh_types::ClusterName;

use crate::{Context, Cursor, Json, Term, schema, suggest};

/// The word that stands for every cluster of the topology.
const ALL: &str = "all";

/// One cluster of the topology.
impl Term for ClusterName {
    fn schema() -> Json {
        schema::text()
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let text = at.text(context.findings())?;
        let Some(topology) = context.topology() else {
            return match Self::new(text) {
                Ok(name) => Some(name),
                Err(error) => {
                    context.report(at, format!("`{text}`: {error}"), None);
                    None
                }
            };
        };
        let known = || topology.clusters().iter().map(crate::Cluster::name);
        let found = known().find(|name| name.as_str() == text);
        if found.is_none() {
            let hint = suggest::hint(text, known().map(Self::as_str), "clusters");
            context.report(at, format!("unknown cluster `{text}`"), Some(hint));
        }
        found.cloned()
    }
}

/// Clusters of the topology in the order of the file, each once: a list, or the word `all`. One that was read has at
/// least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters(Vec<ClusterName>);

impl Term for Clusters {
    fn schema() -> Json {
        schema::any_of([schema::list(ClusterName::schema(), 1), schema::words(&[ALL])])
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let clusters = if at.is_word(ALL) { every(context) } else { list(at, context)? };
        if at.is_empty_list() {
            context.report(at, "there is no cluster, at least one is needed", None);
        }
        context.names_clusters(&clusters);
        Some(Self(clusters))
    }
}

/// Clusters of the topology, each once; there may be none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSet(Vec<ClusterName>);

impl Term for ClusterSet {
    fn schema() -> Json {
        schema::any_of([schema::list(ClusterName::schema(), 0), schema::words(&[ALL])])
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        if at.is_word(ALL) { Some(Self(every(context))) } else { list(at, context).map(Self) }
    }
}

fn every(context: &Context<'_>) -> Vec<ClusterName> {
    let clusters = context.topology().map(|topology| topology.clusters()).unwrap_or_default();
    clusters.iter().map(|cluster| cluster.name().clone()).collect()
}

/// Those that could be read; `None` when it is no list.
fn list(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Vec<ClusterName>> {
    let mut clusters = Vec::new();
    for item in at.items(context.findings())? {
        let Some(cluster) = ClusterName::read(&item, context) else { continue };
        if clusters.contains(&cluster) {
            context.report(&item, format!("cluster `{cluster}` is here twice"), None);
        } else {
            clusters.push(cluster);
        }
    }
    Some(clusters)
}

macro_rules! list_of_clusters {
    ($($name:ident),+) => { $(
        impl Deref for $name {
            type Target = [ClusterName];

            fn deref(&self) -> &[ClusterName] {
                &self.0
            }
        }

        impl FromIterator<ClusterName> for $name {
            fn from_iter<I: IntoIterator<Item = ClusterName>>(clusters: I) -> Self {
                Self(clusters.into_iter().collect())
            }
        }

        impl<'a> IntoIterator for &'a $name {
            type Item = &'a ClusterName;
            type IntoIter = slice::Iter<'a, ClusterName>;

            fn into_iter(self) -> Self::IntoIter {
                self.0.iter()
            }
        }

        /// Names with commas between them.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0.iter().map(ClusterName::as_str).collect::<Vec<_>>().join(", "))
            }
        }
    )+ };
}

list_of_clusters!(Clusters, ClusterSet);
