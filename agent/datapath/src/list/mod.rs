//! What `mesh-agent bpf lb list` and `bpf ipcache list` print, which is what `cilium-dbg` prints.
//!
//! Needs no agent: the pinned maps are opened read-only. One difference on purpose: Cilium prints rows in random
//! order, we print them sorted (by address, port, protocol, scope, slot; by id; or by prefix), so that two listings can
//! be compared line by line.

mod ipcache;
mod json;
mod table;
mod text;

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use mesh_abi::MapSpec;

use crate::{Contents, DatapathError, DatapathErrorKind, MapSource, RawEntry, bpf::globals, sys};

pub use ipcache::IpcacheListing;

/// Which of the load balancer's lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Frontends and slots with backend addresses.
    #[default]
    Services,
    /// `--frontends`: frontends and slots with backend ids and counts.
    Frontends,
    /// `--backends`: backends by id.
    Backends,
    /// `--revnat`: frontend addresses by service id.
    ReverseNat,
}

impl View {
    /// Titles of the two columns. Those of backends and reverse NAT are Cilium's, fitting or not.
    fn titles(self) -> [&'static str; 2] {
        match self {
            Self::Services => ["SERVICE ADDRESS", "BACKEND ADDRESS (REVNAT_ID) (SLOT)"],
            Self::Frontends => ["SERVICE ADDRESS", "BACKEND ID"],
            Self::Backends | Self::ReverseNat => ["ID", "BACKEND ADDRESS (REVNAT_ID) (SLOT)"],
        }
    }
}

/// The load-balancer maps at one moment.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    contents: Contents,
}

impl Listing {
    /// Reads the maps pinned under a bpffs.
    ///
    /// # Errors
    ///
    /// When a map is not there, has another shape than Cilium 1.19 gives it, or cannot be read.
    pub fn read(bpf_root: &Path) -> Result<Self, DatapathError> {
        let contents = Contents::read(&ReadOnly { bpf_root })?;
        Ok(Self { contents })
    }

    /// What is in the maps.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// A row for each entry: key and value as text.
    pub fn rows(&self, view: View) -> Vec<[String; 2]> {
        let contents = &self.contents;
        match view {
            View::Services => contents
                .services()
                .iter()
                .map(|(key, value)| [text::service_key(key), text::service_value(key, value, contents)])
                .collect(),
            View::Frontends => contents
                .services()
                .iter()
                .map(|(key, value)| [text::service_key(key), text::frontend_value(value)])
                .collect(),
            View::Backends => {
                contents.backends().iter().map(|(key, value)| [key.0.to_string(), text::backend(value)]).collect()
            }
            View::ReverseNat => contents
                .reverse_nat()
                .iter()
                .map(|(key, value)| [key.0.get().to_string(), text::reverse_nat(value)])
                .collect(),
        }
    }

    /// The list as a table with a header line, each line ended.
    pub fn table(&self, view: View) -> String {
        table::render(view.titles(), &self.rows(view))
    }

    /// The list as `-o json` prints it: one JSON object from keys to lists of values, sorted by key as text.
    pub fn json(&self, view: View) -> String {
        json::render(self.rows(view))
    }
}

impl From<Contents> for Listing {
    fn from(contents: Contents) -> Self {
        Self { contents }
    }
}

/// Pinned maps that are only read.
struct ReadOnly<'a> {
    bpf_root: &'a Path,
}

impl MapSource for ReadOnly<'_> {
    fn entries(&self, map: &'static MapSpec) -> Result<Vec<RawEntry>, DatapathError> {
        sys::entries(open_read_only(self.bpf_root, map)?.as_fd(), map)
    }
}

fn open_read_only(bpf_root: &Path, map: &MapSpec) -> Result<OwnedFd, DatapathError> {
    let path = globals(bpf_root).join(map.name);
    let act = || format!("read map `{map}`");
    let missing = || {
        let source = std::io::Error::from_raw_os_error(libc::ENOENT);
        DatapathError::new(act(), DatapathErrorKind::File { path: path.clone(), source })
    };
    let fd = sys::open_pin(&path, sys::PinAccess::Read)?.ok_or_else(missing)?;
    let (found, expected) = (sys::map_info(fd.as_fd())?, sys::MapInfo::from(map));
    // Another size limit or preallocation does not change what entries mean: Cilium's maps can be listed too.
    let shape = |info: sys::MapInfo| (info.kind, info.key_size, info.value_size);
    if shape(found) != shape(expected) {
        let kind = DatapathErrorKind::Shape { found: found.to_string(), expected: expected.to_string() };
        return Err(DatapathError::new(act(), kind));
    }
    Ok(fd)
}
