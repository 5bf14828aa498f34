//! Which side's backends a global service uses (Cilium: `SelectBackends`).

use mesh_planted::{Defect, planted};
use mesh_types::{Affinity, BackendState};

/// Whether the local and whether the remote backends are used, all or nothing each.
///
/// `local` and `remote` are the states of the candidates, which already match the frontend's port and protocol.
/// With [`Affinity::Local`] a terminating local backend does not hold back the remote ones: only active ones do.
pub fn select(
    affinity: Affinity,
    local: impl IntoIterator<Item = BackendState>,
    remote: impl IntoIterator<Item = BackendState>,
) -> (bool, bool) {
    let healthy = |state| matches!(state, BackendState::Active | BackendState::Terminating);
    match affinity {
        Affinity::None => (true, true),
        Affinity::Local if planted(Defect::AffinityFallbackMissing) => (true, false),
        Affinity::Remote if planted(Defect::AffinityFallbackMissing) => (false, true),
        Affinity::Local => {
            let holds_back = |state| state == BackendState::Active || planted(Defect::AffinityIgnoresReadiness);
            let local_active = local.into_iter().any(holds_back);
            (true, !local_active && remote.into_iter().any(healthy))
        }
        Affinity::Remote => {
            let remote_healthy = remote.into_iter().any(healthy);
            (!remote_healthy && local.into_iter().any(healthy), true)
        }
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::BackendState::{Active as A, Maintenance as M, Quarantined as Q, Terminating as T};
    use test_case::test_case;

    use super::*;

    #[test_case(Affinity::None, &[], &[] => (true, true) ; "none: nothing anywhere")]
    #[test_case(Affinity::None, &[A], &[A] => (true, true) ; "none: both")]
    #[test_case(Affinity::None, &[T], &[Q] => (true, true) ; "none: both in any state")]
    #[test_case(Affinity::Local, &[A], &[A] => (true, false) ; "local: stays at home")]
    #[test_case(Affinity::Local, &[A, T], &[A] => (true, false) ; "local: one active is enough")]
    #[test_case(Affinity::Local, &[T], &[A] => (true, true) ; "local: terminating does not block fail-over")]
    #[test_case(Affinity::Local, &[Q, M], &[A] => (true, true) ; "local: unhealthy does not block fail-over")]
    #[test_case(Affinity::Local, &[], &[A] => (true, true) ; "local: fails over")]
    #[test_case(Affinity::Local, &[], &[T] => (true, true) ; "local: fails over to terminating")]
    #[test_case(Affinity::Local, &[T], &[Q] => (true, false) ; "local: no healthy remote")]
    #[test_case(Affinity::Local, &[], &[] => (true, false) ; "local: nothing anywhere")]
    #[test_case(Affinity::Remote, &[A], &[A] => (false, true) ; "remote: goes away")]
    #[test_case(Affinity::Remote, &[A], &[T] => (false, true) ; "remote: terminating remote is healthy")]
    #[test_case(Affinity::Remote, &[A], &[] => (true, true) ; "remote: falls back")]
    #[test_case(Affinity::Remote, &[T], &[] => (true, true) ; "remote: falls back to terminating")]
    #[test_case(Affinity::Remote, &[A], &[Q] => (true, true) ; "remote: unhealthy remote does not hold traffic")]
    #[test_case(Affinity::Remote, &[M], &[Q] => (false, true) ; "remote: neither side is healthy")]
    #[test_case(Affinity::Remote, &[], &[] => (false, true) ; "remote: nothing anywhere")]
    fn selects(affinity: Affinity, local: &[BackendState], remote: &[BackendState]) -> (bool, bool) {
        select(affinity, local.iter().copied(), remote.iter().copied())
    }
}
