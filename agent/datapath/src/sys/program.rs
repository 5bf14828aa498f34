//! Programs, and what must be known about the kernel before they are loaded.

use std::{ffi::CStr, io, os::fd::OwnedFd};

use aya_obj::generated::bpf_insn;

use super::{
    AttachType, Command,
    attribute::{OBJ_NAME_LEN, ProgLoad},
    bpf_fd,
};
use crate::{DatapathError, DatapathErrorKind};

/// Room for what the verifier says about a rejected program.
const LOG_BYTES: u32 = 1 << 20;
/// How much of the end of it goes into an error: the reason comes last.
const LOG_LINES_SHOWN: usize = 30;

/// Kind of a program; the numbers are the kernel's `enum bpf_prog_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramType {
    /// Runs at the end (or start) of a socket.
    CgroupSock = 9,
    /// Runs where a socket is given an address.
    CgroupSockAddr = 18,
}

/// The instructions of a program, relocated, and the licence that it is under.
#[derive(Clone, Copy, Debug)]
pub struct Instructions<'a> {
    /// The instructions.
    pub code: &'a [bpf_insn],
    /// Licence, as the kernel wants to know it.
    pub license: &'a CStr,
}

/// Loads a program into the kernel.
///
/// # Errors
///
/// When the verifier rejects it, with the end of what it says.
pub fn load_program(
    name: &str,
    kind: ProgramType,
    attach_type: AttachType,
    instructions: Instructions<'_>,
) -> Result<OwnedFd, DatapathError> {
    let mut prog_name = [0; OBJ_NAME_LEN];
    // The last byte stays zero.
    for (to, from) in prog_name[..OBJ_NAME_LEN - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let attribute = || ProgLoad {
        prog_type: kind as u32,
        insn_cnt: u32::try_from(instructions.code.len()).expect("the verifier has a far lower limit"),
        insns: instructions.code.as_ptr() as u64,
        license: instructions.license.as_ptr() as u64,
        prog_name,
        expected_attach_type: attach_type as u32,
        ..ProgLoad::default()
    };
    // SAFETY: `insns` points to `insn_cnt` instructions and `license` to a string with a final zero, both outlive
    // the call; the command returns a new fd.
    if let Ok(fd) = unsafe { bpf_fd(Command::ProgLoad, &mut attribute()) } {
        return Ok(fd);
    }
    // Once more with a log, which would only cost time when all is well.
    let mut log = vec![0u8; LOG_BYTES as usize];
    let mut logged = ProgLoad { log_level: 1, log_size: LOG_BYTES, log_buf: log.as_mut_ptr() as u64, ..attribute() };
    // SAFETY: as above; `log_buf` has room for `log_size` bytes.
    unsafe { bpf_fd(Command::ProgLoad, &mut logged) }.map_err(|source| {
        let kind = DatapathErrorKind::Verifier { log: end_of_log(&log), source };
        DatapathError::new(format!("load program `{name}`"), kind)
    })
}

fn end_of_log(log: &[u8]) -> String {
    let text = CStr::from_bytes_until_nul(log).map_or(log, CStr::to_bytes);
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

/// Whether programs at `connect()` may choose the error that it returns (helper 187, `bpf_set_retval`, kernel 5.18).
///
/// Found out by loading a program that calls it: distributions backport, so version numbers say little.
pub fn has_set_retval() -> bool {
    // struct bpf_insn: code, registers (source in the high half), offset, immediate.
    let instructions: [u64; 4] = [
        instruction(0xb7, 1, 0),   // r1 = 0
        instruction(0x85, 0, 187), // call bpf_set_retval
        instruction(0xb7, 0, 1),   // r0 = 1
        instruction(0x95, 0, 0),   // exit
    ];
    let mut attribute = ProgLoad {
        prog_type: ProgramType::CgroupSockAddr as u32,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        expected_attach_type: AttachType::Inet4Connect as u32,
        ..ProgLoad::default()
    };
    // SAFETY: `insns` points to `insn_cnt` instructions and `license` to a string with a final zero, both outlive
    // the call; the command returns a new fd.
    unsafe { bpf_fd(Command::ProgLoad, &mut attribute) }.is_ok()
}

/// `r0 = r9`. As the first instruction no verifier takes it: nothing has written to r9.
pub fn unreadable() -> bpf_insn {
    bpf_insn { code: 0xbf, _bitfield_align_1: [], _bitfield_1: bpf_insn::new_bitfield_1(0, 9), off: 0, imm: 0 }
}

/// One instruction as the kernel lays it out on this machine, offset 0.
fn instruction(code: u8, destination: u8, immediate: u32) -> u64 {
    let registers = if cfg!(target_endian = "little") { destination } else { destination << 4 };
    let [a, b, c, d] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, 0, 0, a, b, c, d])
}

/// Lifts the limit on locked memory, which kernels before 5.11 charge maps to.
///
/// # Errors
///
/// When that is not allowed. Newer kernels do not need it.
pub fn raise_memlock() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a structure that outlives the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
