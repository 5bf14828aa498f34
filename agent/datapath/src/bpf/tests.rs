//! What cannot be seen from outside; the rest is in `tests/kernel.rs`.

use std::net::TcpStream;

use mesh_types::{Frontend, FrontendAddress, FrontendType, Protocol, Scope, ServiceKey, TrafficPolicies};

use super::{BpfDatapath, object::SetRetval};
use crate::Datapath as _;

#[path = "../../tests/ground/mod.rs"]
mod ground;

#[test]
fn root_without_bpf_set_retval_a_service_without_backends_is_not_permitted() {
    ground::run(|ground| {
        // What the loader does on kernels before 5.18. On those the verifier would reject the call if it looked at it.
        let mut datapath = BpfDatapath::open_with(&ground.options(), SetRetval::Missing).unwrap();
        let address =
            FrontendAddress { ip: [10, 101, 0, 10].into(), port: 80, protocol: Protocol::Tcp, scope: Scope::External };
        let frontend = Frontend {
            address,
            kind: FrontendType::ClusterIp,
            service: ServiceKey::new("default", "rebel-base"),
            session_affinity: None,
            policies: TrafficPolicies::default(),
            algorithm: None,
            backends: Vec::new(),
        };
        datapath.upsert(&frontend).unwrap();
        let error = TcpStream::connect((address.ip, address.port)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    });
}
