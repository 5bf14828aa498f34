//! The embedded object, made ready for the kernel.
//!
//! aya-obj parses and relocates; what aya itself adds is not needed here and would cost an agent's start about 100 ms
//! in a debug build (20 ms in a release build): it reads and parses all type information of the kernel, which only
//! programs that look into kernel structures need.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
};

use aya_obj::{EbpfSectionKind, Object};
use mesh_abi::MAPS;
use mesh_planted::{Defect, planted};

use super::PinnedMaps;
use crate::{
    DatapathError, DatapathErrorKind, ObjectError,
    sys::{self, AttachType, Instructions, ProgramType},
};

/// The global variable by which programs learn whether the kernel has `bpf_set_retval`.
const HAVE_SET_RETVAL: &str = "HAVE_SET_RETVAL";

/// Whether programs choose the error that a refused socket sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetRetval {
    /// They do: `EHOSTUNREACH`.
    Used,
    /// The kernel is too old: `EPERM`.
    Missing,
}

impl SetRetval {
    /// Asks the kernel.
    pub(super) fn of_kernel() -> Self {
        if sys::has_set_retval() { Self::Used } else { Self::Missing }
    }
}

/// Programs whose references to maps are resolved.
pub(super) struct Programs {
    object: Object,
    /// Kept open until the programs hold it themselves.
    _constants: Option<OwnedFd>,
}

impl Programs {
    /// Reads the embedded object and resolves it against `maps`.
    pub(super) fn read(maps: &PinnedMaps, set_retval: SetRetval) -> Result<Self, DatapathError> {
        let error = |error| DatapathError::new("read the socket load balancer", DatapathErrorKind::Object(error));
        let parse = |source| error(ObjectError::Parse(Box::new(source)));
        let relocate = |source| error(ObjectError::Relocate(Box::new(source)));

        let mut object = Object::parse(mesh_bpf_objects::SOCKET_LB).map_err(parse)?;
        let flag = [u8::from(set_retval == SetRetval::Used)];
        object.patch_map_data(HashMap::from([(HAVE_SET_RETVAL, (&flag[..], true))])).map_err(parse)?;

        let mut constants = None;
        let mut resolved: Vec<(String, RawFd, aya_obj::Map)> = Vec::new();
        for (name, map) in std::mem::take(&mut object.maps) {
            let fd = match MAPS.iter().find(|spec| spec.name == name) {
                Some(spec) => maps.fd(spec).as_raw_fd(),
                None if map.section_kind() == EbpfSectionKind::Rodata => {
                    constants.insert(sys::create_constant(map.data())?).as_raw_fd()
                }
                None => return Err(error(ObjectError::Map(name))),
            };
            resolved.push((name, fd, map));
        }
        let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let references = resolved.iter().map(|(name, fd, map)| (name.as_str(), *fd, map));
        object.relocate_maps(references, &sections).map_err(relocate)?;
        object.relocate_calls(&sections).map_err(relocate)?;
        Ok(Self { object, _constants: constants })
    }

    /// Loads one of the programs into the kernel.
    pub(super) fn load(&self, name: &str, attach_type: AttachType) -> Result<OwnedFd, DatapathError> {
        let missing = || DatapathError::new(format!("load program `{name}`"), DatapathErrorKind::NoProgram);
        let program = self.object.programs.get(name).ok_or_else(missing)?;
        let function = self.object.functions.get(&program.function_key()).ok_or_else(missing)?;
        let kind = match attach_type {
            AttachType::InetSockRelease => ProgramType::CgroupSock,
            AttachType::Inet4Connect
            | AttachType::Udp4Sendmsg
            | AttachType::Udp4Recvmsg
            | AttachType::Inet4Getpeername => ProgramType::CgroupSockAddr,
        };
        let mut code = Cow::Borrowed(function.instructions.as_slice());
        if planted(Defect::ProgramRejected) {
            code.to_mut().insert(0, sys::unreadable());
        }
        let instructions = Instructions { code: &code, license: &program.license };
        sys::load_program(name, kind, attach_type, instructions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::PROGRAMS;

    /// The loader patches nothing but what is here; a program that calls a function of its own would need BTF.
    #[test]
    fn the_object_has_what_the_agent_expects() {
        let object = Object::parse(mesh_bpf_objects::SOCKET_LB).unwrap();
        let mut found: Vec<&str> = object.programs.keys().map(String::as_str).collect();
        found.sort_unstable();
        let mut expected: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(object.license.to_str().unwrap(), "Apache-2.0");
        for (name, map) in &object.maps {
            let known = MAPS.iter().find(|spec| spec.name == name);
            assert!(known.is_some() || map.section_kind() == EbpfSectionKind::Rodata, "unknown map `{name}`");
            if let Some(spec) = known {
                assert_eq!((map.key_size(), map.value_size()), (spec.key_size, spec.value_size), "{name}");
            }
        }
    }
}
