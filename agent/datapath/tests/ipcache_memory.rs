//! How much memory the mirror of a large ipcache takes. In a file of its own, because it counts every allocation of its
//! process.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering},
};

use mesh_abi::IpcacheKey;
use mesh_datapath::IpcacheContents;
use mesh_types::IpcacheEntry;

/// Bytes that an entry of the mirror may take (64 in order, 48 in no order were measured). In the map alone it has 48.
const ENTRY_BYTES_MAX: usize = 70;
/// As many entries as a hundred clusters of a thousand pods have.
const ENTRIES: u32 = 100_000;
/// Pods of a node, for a realistic number of tunnel endpoints.
const PODS_A_NODE: u32 = 100;

struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test, because it counts what the whole process allocates.
#[test]
fn the_mirror_of_a_large_map_is_compact() {
    // Steps that are coprime to the number of entries, so that all addresses come: in ascending order, or in none.
    for step in [1, 314_159] {
        let before = ALLOCATED.load(Ordering::Relaxed);
        let contents = full(step);
        let entry = (ALLOCATED.load(Ordering::Relaxed) - before) / contents.len();
        assert!(entry <= ENTRY_BYTES_MAX, "{entry} bytes an entry in steps of {step}");
    }
}

fn full(step: u64) -> IpcacheContents {
    let mut contents = IpcacheContents::default();
    for number in 0..u64::from(ENTRIES) {
        let pod = u32::try_from(number * step % u64::from(ENTRIES)).expect("a remainder is small");
        let address = Ipv4Addr::from_bits(0x0a00_0000 + pod);
        let node = Ipv4Addr::from_bits(0xac10_0000 + pod / PODS_A_NODE);
        let entry = IpcacheEntry { identity: pod, tunnel_endpoint: Some(node.into()), ..IpcacheEntry::default() };
        contents.put(IpcacheKey::new(address.into(), 32), entry.into());
    }
    assert_eq!(contents.len(), ENTRIES as usize);
    contents
}
