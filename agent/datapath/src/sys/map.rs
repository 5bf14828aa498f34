//! Maps.

use std::{
    fmt, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use mesh_abi::{MapFlags, MapSpec};

use super::{
    Command,
    attribute::{Batch, Element, Info, MapCreate, MapInfo as RawMapInfo, OBJ_NAME_LEN},
    bpf, bpf_fd, refused,
};
use crate::{DatapathError, RawEntry};

/// `BPF_MAP_TYPE_ARRAY`.
const MAP_TYPE_ARRAY: u32 = 2;
/// Name of the map of constants in listings of the kernel.
const CONSTANT_NAME: &[u8] = b"rodata";
/// Entries a batch command moves at once: enough to make the system call cheap, little enough to be no burden.
pub const BATCH_ENTRIES: usize = 4096;

/// The five things that make a map what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapInfo {
    /// The kernel's number of the map type.
    pub kind: u32,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// Most entries that it can hold.
    pub max_entries: u32,
    /// Creation flags.
    pub flags: u32,
}

impl From<&MapSpec> for MapInfo {
    fn from(spec: &MapSpec) -> Self {
        Self {
            kind: spec.kind as u32,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            flags: spec.flags.0,
        }
    }
}

impl fmt::Display for MapInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key_size, value_size, max_entries, flags } = self;
        write!(f, "type {kind}, key {key_size} B, value {value_size} B, {max_entries} entries, flags {flags:#x}")
    }
}

/// Makes a map.
///
/// # Errors
///
/// When the kernel refuses.
pub fn create_map(spec: &MapSpec) -> Result<OwnedFd, DatapathError> {
    let mut name = [0; OBJ_NAME_LEN];
    // The last byte stays zero. The full name is that of the pin.
    for (to, from) in name[..OBJ_NAME_LEN - 1].iter_mut().zip(spec.name.bytes()) {
        *to = from;
    }
    let mut attribute = MapCreate {
        map_type: spec.kind as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        map_flags: spec.flags.0,
        map_name: name,
        ..MapCreate::default()
    };
    // SAFETY: no pointers; the command returns a new fd.
    unsafe { bpf_fd(Command::MapCreate, &mut attribute) }
        .map_err(refused(format!("create map `{spec}`"), Command::MapCreate))
}

/// Makes a map of one entry that nobody can change any more: the constants of an object. The verifier sees through it.
///
/// # Errors
///
/// When the kernel refuses.
pub fn create_constant(data: &[u8]) -> Result<OwnedFd, DatapathError> {
    let act = "create the map of constants";
    let size = u32::try_from(data.len()).expect("an object in memory is smaller than 4 GiB");
    let mut name = [0; OBJ_NAME_LEN];
    name[..CONSTANT_NAME.len()].copy_from_slice(CONSTANT_NAME);
    let mut attribute = MapCreate {
        map_type: MAP_TYPE_ARRAY,
        key_size: size_of::<u32>() as u32,
        value_size: size,
        max_entries: 1,
        map_flags: MapFlags::RDONLY_PROG.0,
        map_name: name,
        ..MapCreate::default()
    };
    // SAFETY: no pointers; the command returns a new fd.
    let fd = unsafe { bpf_fd(Command::MapCreate, &mut attribute) }.map_err(refused(act, Command::MapCreate))?;
    let key = 0u32;
    let mut attribute = element(fd.as_fd(), std::ptr::from_ref(&key) as u64, data.as_ptr() as u64);
    // SAFETY: key and value have the sizes that the map was just made with and outlive the call.
    unsafe { bpf(Command::MapUpdateElem, &mut attribute) }.map_err(refused(act, Command::MapUpdateElem))?;
    let mut attribute = element(fd.as_fd(), 0, 0);
    // SAFETY: the command looks at `map_fd` alone, which comes first in both layouts.
    unsafe { bpf(Command::MapFreeze, &mut attribute) }.map_err(refused(act, Command::MapFreeze))?;
    Ok(fd)
}

/// What kind of map it is.
///
/// # Errors
///
/// When the kernel refuses.
pub fn map_info(map: BorrowedFd<'_>) -> Result<MapInfo, DatapathError> {
    let mut info = RawMapInfo::default();
    let mut attribute = Info {
        bpf_fd: map.as_raw_fd().cast_unsigned(),
        info_len: u32::try_from(size_of::<RawMapInfo>()).expect("the structure is small"),
        info: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: `info` points to a structure of `info_len` bytes that outlives the call.
    unsafe { bpf(Command::ObjGetInfoByFd, &mut attribute) }
        .map_err(refused("describe a map", Command::ObjGetInfoByFd))?;
    let RawMapInfo { kind, id: _, key_size, value_size, max_entries, map_flags } = info;
    Ok(MapInfo { kind, key_size, value_size, max_entries, flags: map_flags })
}

/// Writes an entry.
///
/// # Errors
///
/// When the kernel refuses.
///
/// # Panics
///
/// When `key` or `value` has not the size that `spec` says.
pub fn update(map: BorrowedFd<'_>, spec: &MapSpec, key: &[u8], value: &[u8]) -> Result<(), DatapathError> {
    check(spec, key, value);
    let mut attribute = element(map, key.as_ptr() as u64, value.as_ptr() as u64);
    // SAFETY: key and value have the map's sizes and outlive the call, which only reads them.
    unsafe { bpf(Command::MapUpdateElem, &mut attribute) }
        .map_err(refused(format!("write map `{spec}`"), Command::MapUpdateElem))?;
    Ok(())
}

/// Removes an entry. One that is not there is no error.
///
/// # Errors
///
/// When the kernel refuses.
///
/// # Panics
///
/// When `key` has not the size that `spec` says.
pub fn delete(map: BorrowedFd<'_>, spec: &MapSpec, key: &[u8]) -> Result<(), DatapathError> {
    assert_eq!(key.len(), spec.key_size as usize, "key of map `{spec}`");
    let mut attribute = element(map, key.as_ptr() as u64, 0);
    // SAFETY: the key has the map's size and outlives the call, which only reads it.
    match unsafe { bpf(Command::MapDeleteElem, &mut attribute) } {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(refused(format!("write map `{spec}`"), Command::MapDeleteElem)(error)),
    }
}

/// Reads an entry.
///
/// # Errors
///
/// When the kernel refuses.
///
/// # Panics
///
/// When `key` has not the size that `spec` says.
pub fn lookup(map: BorrowedFd<'_>, spec: &MapSpec, key: &[u8]) -> Result<Option<Vec<u8>>, DatapathError> {
    assert_eq!(key.len(), spec.key_size as usize, "key of map `{spec}`");
    let mut value = vec![0; spec.value_size as usize];
    let mut attribute = element(map, key.as_ptr() as u64, value.as_mut_ptr() as u64);
    // SAFETY: key and value have the map's sizes and outlive the call.
    match unsafe { bpf(Command::MapLookupElem, &mut attribute) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(refused(format!("read map `{spec}`"), Command::MapLookupElem)(error)),
    }
}

/// Writes many entries: by one batch command where the kernel has it and it works, else one by one.
///
/// # Errors
///
/// The number of entries that were written, and why the next one was not.
///
/// # Panics
///
/// When a key or value has not the size that `spec` says.
pub fn update_all(
    map: BorrowedFd<'_>,
    spec: &MapSpec,
    entries: &[(&[u8], &[u8])],
) -> Result<(), (usize, DatapathError)> {
    // A kernel without batches says EINVAL; one with a known bug says ENOMEM on maps without preallocation. Whatever
    // it is: what is left is written singly, and if that fails too, that error says why.
    let batched = match entries.len() {
        0 | 1 => 0,
        _ => batch(map, spec, entries).unwrap_or_else(|(done, _)| done),
    };
    for (done, (key, value)) in entries.iter().enumerate().skip(batched) {
        update(map, spec, key, value).map_err(|error| (done, error))?;
    }
    Ok(())
}

/// Writes many entries by one batch command. Returns how many there were.
///
/// # Errors
///
/// The number of entries that were written, and why the next one was not.
///
/// # Panics
///
/// When a key or value has not the size that `spec` says.
pub fn batch(map: BorrowedFd<'_>, spec: &MapSpec, entries: &[(&[u8], &[u8])]) -> Result<usize, (usize, io::Error)> {
    let mut keys = Vec::with_capacity(entries.len() * spec.key_size as usize);
    let mut values = Vec::with_capacity(entries.len() * spec.value_size as usize);
    for (key, value) in entries {
        check(spec, key, value);
        keys.extend_from_slice(key);
        values.extend_from_slice(value);
    }
    let mut attribute = Batch {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: u32::try_from(entries.len()).map_err(|_| (0, io::Error::from_raw_os_error(libc::EINVAL)))?,
        map_fd: map.as_raw_fd().cast_unsigned(),
        ..Batch::default()
    };
    // SAFETY: both arrays hold `count` elements of the map's sizes and outlive the call, which only reads them.
    match unsafe { bpf(Command::MapUpdateBatch, &mut attribute) } {
        Ok(_) => Ok(entries.len()),
        Err(error) => Err((batch_progress(&error, attribute.count, entries.len()), error)),
    }
}

/// Removes many entries: by one batch command where the kernel has it and all are there, else one by one. Those that are
/// not there are no error.
///
/// # Errors
///
/// The number of entries that were removed, and why the next one was not.
///
/// # Panics
///
/// When a key has not the size that `spec` says.
pub fn delete_all(map: BorrowedFd<'_>, spec: &MapSpec, keys: &[&[u8]]) -> Result<(), (usize, DatapathError)> {
    let batched = match keys.len() {
        0 | 1 => 0,
        _ => delete_batch(map, spec, keys),
    };
    for (done, key) in keys.iter().enumerate().skip(batched) {
        delete(map, spec, key).map_err(|error| (done, error))?;
    }
    Ok(())
}

/// Removes entries by one batch command up to the first that fails. Returns how many.
fn delete_batch(map: BorrowedFd<'_>, spec: &MapSpec, keys: &[&[u8]]) -> usize {
    assert!(keys.iter().all(|key| key.len() == spec.key_size as usize), "keys of map `{spec}`");
    let Ok(count) = u32::try_from(keys.len()) else { return 0 };
    let concatenated = keys.concat();
    let mut attribute = Batch {
        keys: concatenated.as_ptr() as u64,
        count,
        map_fd: map.as_raw_fd().cast_unsigned(),
        ..Batch::default()
    };
    // SAFETY: the array holds `count` keys of the map's size and outlives the call, which only reads it.
    match unsafe { bpf(Command::MapDeleteBatch, &mut attribute) } {
        Ok(_) => keys.len(),
        Err(error) => batch_progress(&error, attribute.count, keys.len()),
    }
}

/// How many of `all` entries a failed batch command did. The kernel writes it back, unless it knows no such command or
/// never got so far.
fn batch_progress(error: &io::Error, count: u32, all: usize) -> usize {
    let done = count as usize;
    let untouched = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EFAULT | libc::EPERM));
    if untouched || done >= all { 0 } else { done }
}

/// All entries, as key and value bytes, in the kernel's order.
///
/// # Errors
///
/// When the kernel refuses.
pub fn entries(map: BorrowedFd<'_>, spec: &MapSpec) -> Result<Vec<RawEntry>, DatapathError> {
    let mut result = Vec::new();
    match visit_by_batch(map, spec, &mut |key, value| result.push((key.to_vec(), value.to_vec()))) {
        Ok(()) => Ok(result),
        Err(_) => entries_singly(map, spec),
    }
}

/// Shows all entries without collecting them. One or the other may be shown twice.
///
/// # Errors
///
/// When the kernel refuses.
pub fn visit(map: BorrowedFd<'_>, spec: &MapSpec, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), DatapathError> {
    match visit_by_batch(map, spec, see) {
        Ok(()) => Ok(()),
        Err(_) => visit_singly(map, spec, see),
    }
}

fn visit_by_batch(map: BorrowedFd<'_>, spec: &MapSpec, see: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
    let (key_size, value_size) = (spec.key_size as usize, spec.value_size as usize);
    let mut capacity = BATCH_ENTRIES;
    // A position is the number of a bucket in hash maps, and a key in tries.
    let mut next = vec![0u8; key_size.max(size_of::<u32>())];
    let mut position: Option<Vec<u8>> = None;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    loop {
        keys.resize(capacity * key_size, 0u8);
        values.resize(capacity * value_size, 0u8);
        let mut attribute = Batch {
            in_batch: position.as_ref().map_or(0, |position| position.as_ptr() as u64),
            out_batch: next.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(capacity).map_err(io::Error::other)?,
            map_fd: map.as_raw_fd().cast_unsigned(),
            ..Batch::default()
        };
        // SAFETY: both arrays have room for `count` elements of the map's sizes, and both positions for a bucket number
        // and for a key; all of it outlives the call.
        let outcome = unsafe { bpf(Command::MapLookupBatch, &mut attribute) };
        let last = match outcome {
            Ok(_) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => true,
                // One bucket has more entries than there is room for.
                Some(libc::ENOSPC) if capacity < spec.max_entries as usize => {
                    capacity *= 2;
                    continue;
                }
                _ => return Err(error),
            },
        };
        let count = attribute.count as usize;
        let pairs = keys.chunks_exact(key_size).zip(values.chunks_exact(value_size)).take(count);
        pairs.for_each(|(key, value)| see(key, value));
        if last {
            return Ok(());
        }
        position = Some(next.clone());
    }
}

/// All entries in order of key, one system call for each key and value. An entry that vanishes meanwhile is left out.
///
/// # Errors
///
/// When the kernel refuses.
pub fn entries_singly(map: BorrowedFd<'_>, spec: &MapSpec) -> Result<Vec<RawEntry>, DatapathError> {
    let mut result = Vec::new();
    visit_singly(map, spec, &mut |key, value| result.push((key.to_vec(), value.to_vec())))?;
    result.sort_unstable();
    result.dedup_by(|one, other| one.0 == other.0);
    Ok(result)
}

fn visit_singly(map: BorrowedFd<'_>, spec: &MapSpec, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), DatapathError> {
    let mut current: Option<Vec<u8>> = None;
    // Removing an entry under the walk makes it start again; the limit keeps a busy map from holding it forever.
    for _ in 0..2 * spec.max_entries {
        let mut next = vec![0u8; spec.key_size as usize];
        let key = current.as_ref().map_or(0, |key| key.as_ptr() as u64);
        let mut attribute = element(map, key, next.as_mut_ptr() as u64);
        // SAFETY: both keys have the map's key size and outlive the call; a null key asks for the first one.
        match unsafe { bpf(Command::MapGetNextKey, &mut attribute) } {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
            Err(error) => return Err(refused(format!("read map `{spec}`"), Command::MapGetNextKey)(error)),
        }
        if let Some(value) = lookup(map, spec, &next)? {
            see(&next, &value);
        }
        current = Some(next);
    }
    Ok(())
}

fn element(map: BorrowedFd<'_>, key: u64, value: u64) -> Element {
    Element { map_fd: map.as_raw_fd().cast_unsigned(), key, value, ..Element::default() }
}

fn check(spec: &MapSpec, key: &[u8], value: &[u8]) {
    assert_eq!(key.len(), spec.key_size as usize, "key of map `{spec}`");
    assert_eq!(value.len(), spec.value_size as usize, "value of map `{spec}`");
}
