//! `bpf ipcache list`.

use std::{os::fd::AsFd as _, path::Path};

use mesh_abi::{Bytes, IPCACHE, IpcacheFlags, IpcacheKey, IpcacheValue};

use super::{json, open_read_only, table};
use crate::{DatapathError, IpcacheContents, error::wrong_length, sys};

/// Titles of the two columns.
const TITLES: [&str; 2] = ["IP PREFIX/ADDRESS", "IDENTITY"];

/// The ipcache at one moment.
#[derive(Clone, Debug, Default)]
pub struct IpcacheListing {
    contents: IpcacheContents,
}

impl IpcacheListing {
    /// Reads the map pinned under a bpffs.
    ///
    /// # Errors
    ///
    /// When it is not there, has another shape than Cilium 1.19 gives it, or cannot be read.
    pub fn read(bpf_root: &Path) -> Result<Self, DatapathError> {
        let map = open_read_only(bpf_root, &IPCACHE)?;
        let (mut listing, mut wrong) = (Self::default(), None);
        sys::visit(map.as_fd(), &IPCACHE, &mut |key, value| {
            wrong = wrong.take().or(listing.add(key, value).err());
        })?;
        wrong.map_or(Ok(listing), Err)
    }

    /// The listing of raw entries, as `bpftool map dump` has them.
    ///
    /// # Errors
    ///
    /// When a key or value has another size.
    pub fn of_bytes<'a>(entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, DatapathError> {
        let mut listing = Self::default();
        entries.into_iter().try_for_each(|(key, value)| listing.add(key, value))?;
        Ok(listing)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), DatapathError> {
        let key = IpcacheKey::from_bytes(key).map_err(|error| wrong_length(&IPCACHE, error))?;
        let value = IpcacheValue::from_bytes(value).map_err(|error| wrong_length(&IPCACHE, error))?;
        self.contents.put(key, value);
        Ok(())
    }

    /// What is in the map.
    pub fn contents(&self) -> &IpcacheContents {
        &self.contents
    }

    /// A row for each entry: key and value as text, in order of family, address and prefix length.
    pub fn rows(&self) -> Vec<[String; 2]> {
        self.contents.iter().map(|(key, value)| [text_of_key(&key), text_of_value(&value)]).collect()
    }

    /// The list as a table with a header line, each line ended.
    pub fn table(&self) -> String {
        table::render(TITLES, &self.rows())
    }

    /// The list as `-o json` prints it.
    pub fn json(&self) -> String {
        json::render(self.rows())
    }
}

impl From<IpcacheContents> for IpcacheListing {
    fn from(contents: IpcacheContents) -> Self {
        Self { contents }
    }
}

/// `<prefix>`, with `@<cluster>` when that is set.
fn text_of_key(key: &IpcacheKey) -> String {
    let cluster = if key.cluster_id == 0 { String::new() } else { format!("@{}", key.cluster_id) };
    match key.ip() {
        Some(ip) => format!("{ip}/{}{cluster}", key.bits()),
        None => format!("family {}/{}{cluster}", key.family, key.bits()),
    }
}

/// `identity=<number> encryptkey=<number> tunnelendpoint=<ip> flags=<words>`.
fn text_of_value(value: &IpcacheValue) -> String {
    let IpcacheValue { identity, encrypt_key, .. } = *value;
    format!(
        "identity={identity} encryptkey={encrypt_key} tunnelendpoint={} flags={}",
        value.tunnel_ip(),
        flags(value.flags)
    )
}

/// The flags as words, in Cilium's order.
fn flags(flags: IpcacheFlags) -> String {
    let words = [
        (IpcacheFlags::SKIP_TUNNEL, "skiptunnel"),
        (IpcacheFlags::HAS_TUNNEL, "hastunnel"),
        (IpcacheFlags::IPV6_TUNNEL, "ipv6tunnel"),
        (IpcacheFlags::REMOTE_CLUSTER, "remotecluster"),
    ];
    let set: Vec<&str> = words.into_iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, word)| word).collect();
    if set.is_empty() { "<none>".to_owned() } else { set.join(",") }
}
