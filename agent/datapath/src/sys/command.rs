//! Commands of `bpf(2)`.

use std::fmt;

macro_rules! commands {
    ($($(#[$meta:meta])* $name:ident = $number:literal, $text:literal;)+) => {
        /// A command of `bpf(2)`; the numbers are the kernel's `enum bpf_cmd`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub enum Command {
            $($(#[$meta])* $name = $number,)+
        }

        impl fmt::Display for Command {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }
    };
}

commands! {
    /// Makes a map.
    MapCreate = 0, "BPF_MAP_CREATE";
    /// Reads an entry.
    MapLookupElem = 1, "BPF_MAP_LOOKUP_ELEM";
    /// Writes an entry.
    MapUpdateElem = 2, "BPF_MAP_UPDATE_ELEM";
    /// Removes an entry.
    MapDeleteElem = 3, "BPF_MAP_DELETE_ELEM";
    /// Steps to the next key.
    MapGetNextKey = 4, "BPF_MAP_GET_NEXT_KEY";
    /// Loads a program.
    ProgLoad = 5, "BPF_PROG_LOAD";
    /// Pins an object.
    ObjPin = 6, "BPF_OBJ_PIN";
    /// Opens a pin.
    ObjGet = 7, "BPF_OBJ_GET";
    /// Describes an object.
    ObjGetInfoByFd = 15, "BPF_OBJ_GET_INFO_BY_FD";
    /// Makes a map constant for programs and users.
    MapFreeze = 22, "BPF_MAP_FREEZE";
    /// Reads many entries (kernel 5.6).
    MapLookupBatch = 24, "BPF_MAP_LOOKUP_BATCH";
    /// Writes many entries (kernel 5.6).
    MapUpdateBatch = 26, "BPF_MAP_UPDATE_BATCH";
    /// Removes many entries (kernel 5.6).
    MapDeleteBatch = 27, "BPF_MAP_DELETE_BATCH";
    /// Attaches a program (kernel 5.7).
    LinkCreate = 28, "BPF_LINK_CREATE";
    /// Replaces an attached program (kernel 5.7).
    LinkUpdate = 29, "BPF_LINK_UPDATE";
}
