//! The life of one remote cluster: the order of things, what is kept when something breaks, and what is not.
//!
//! The rows named are those of the table "on disconnect: what is kept" in the reference.

use std::{collections::BTreeSet, time::Duration};

use mesh_core::{Action, Input, Lifecycle, LifecycleConfig, Patience, ServiceV2};
use mesh_types::{ClusterId, ClusterName, MaxConnectedClusters};
use mesh_wire::{Capabilities, ClusterConfig, EndpointSlicesExportMode, Layout, Resource};

const LIMIT: MaxConnectedClusters = MaxConnectedClusters::N255;
const READ: [Resource; 5] =
    [Resource::Nodes, Resource::Services, Resource::EndpointSlices, Resource::Ip, Resource::Identities];

fn id(raw: u16) -> ClusterId {
    ClusterId::new(raw, MaxConnectedClusters::N511).unwrap()
}

fn options() -> LifecycleConfig {
    LifecycleConfig {
        cluster_id: id(1),
        limit: LIMIT,
        resources: READ.into(),
        service_v2: Some(ServiceV2::default()),
        cache_ttl: None,
        patience: Patience::default(),
    }
}

fn says(raw: u16) -> ClusterConfig {
    ClusterConfig::exported(id(raw), LIMIT)
}

fn with(change: impl FnOnce(&mut Capabilities)) -> ClusterConfig {
    let mut config = says(2);
    change(&mut config.capabilities);
    config
}

/// A life with a clock.
struct Life {
    lifecycle: Lifecycle,
    now: Duration,
}

impl Life {
    fn new(options: LifecycleConfig) -> Self {
        Self { lifecycle: Lifecycle::new(options, Duration::ZERO), now: Duration::ZERO }
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        self.lifecycle.step(self.now, input)
    }

    /// Time goes by, with a tick at every deadline that comes. The heart of the peer beats if it should.
    fn pass(&mut self, time: Duration, beating: bool) -> Vec<Action> {
        let end = self.now + time;
        let mut actions = Vec::new();
        loop {
            let beat = beating.then_some(self.now + Duration::from_secs(60));
            let next = [self.lifecycle.deadline(), beat].into_iter().flatten().min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.now = next;
            let input = if beat == Some(next) { Input::Heartbeat } else { Input::Tick };
            actions.extend(self.step(input));
            if !beating && actions.contains(&Action::Connect) {
                // Nothing answers.
                actions.extend(self.step(Input::Failed("connection refused".to_owned())));
            }
        }
        self.now = end;
        actions
    }

    /// From nothing to a configuration that was accepted.
    fn accepted(&mut self, config: ClusterConfig) -> Vec<Action> {
        let id = config.id;
        assert_eq!(self.step(Input::Connected), [Action::ReadConfig]);
        let mut actions = self.step(Input::ClusterConfig(Some(Ok(config))));
        if actions.last() == Some(&Action::Reserve(id)) {
            actions.extend(self.step(Input::Reserved(None)));
        }
        actions
    }

    fn ready(options: LifecycleConfig) -> Self {
        let mut life = Self::new(options);
        assert_eq!(life.step(Input::Tick), [Action::Connect]);
        life.accepted(says(2));
        life.listed();
        assert!(life.lifecycle.is_ready());
        life
    }

    /// Canaries come and listings succeed.
    fn listed(&mut self) {
        for resource in READ {
            self.step(Input::Canary(resource));
            self.step(Input::Listed(resource));
        }
    }

    fn trouble(&self) -> String {
        self.lifecycle.trouble().map(ToString::to_string).unwrap_or_default()
    }
}

#[test]
fn a_whole_life_in_order() {
    let mut life = Life::new(options());
    assert_eq!(life.step(Input::Tick), [Action::Connect]);
    assert!(!life.lifecycle.is_connected());
    assert_eq!(life.step(Input::Connected), [Action::ReadConfig]);
    assert!(life.lifecycle.is_connected() && life.lifecycle.cluster_config().is_none());
    assert_eq!(life.step(Input::ClusterConfig(None)), [], "it may come yet");
    assert_eq!(life.step(Input::ClusterConfig(Some(Ok(says(2))))), [Action::Reserve(id(2))]);
    assert_eq!(life.step(Input::Reserved(None)), [Action::WatchCanaries]);
    assert_eq!(life.lifecycle.layout(), Some(Layout::State));

    assert_eq!(life.step(Input::Canary(Resource::Services)), [Action::Follow(Resource::Services)]);
    assert_eq!(life.step(Input::Canary(Resource::Services)), [], "once");
    assert_eq!(life.step(Input::Canary(Resource::EndpointSlices)), [], "the other format is not read");
    assert_eq!(life.step(Input::Canary(Resource::ServiceExports)), [], "nobody reads them here");
    life.step(Input::Listed(Resource::Services));
    assert_eq!(life.lifecycle.is_listed(Resource::Services), Some(true));
    assert_eq!(life.lifecycle.is_listed(Resource::EndpointSlices), None);
    assert!(!life.lifecycle.is_ready(), "the others are missing");
    for resource in [Resource::Nodes, Resource::Ip, Resource::Identities] {
        assert_eq!(life.lifecycle.is_listed(resource), Some(false));
        assert_eq!(life.step(Input::Canary(resource)), [Action::Follow(resource)]);
        life.step(Input::Listed(resource));
    }
    assert!(life.lifecycle.is_ready());
    assert_eq!(life.step(Input::ClusterConfig(Some(Ok(says(2))))), [], "said again");
    assert_eq!(
        life.step(Input::ClusterConfig(None)),
        [],
        "a lease may have expired: the data of a silent cluster stays"
    );
    assert!(life.lifecycle.is_ready());
}

#[test]
fn without_canaries_everything_is_read_at_once() {
    let mut life = Life::new(options());
    life.step(Input::Tick);
    let actions = life.accepted(with(|capabilities| capabilities.synced_canaries = false));
    let follows = [Resource::Nodes, Resource::Services, Resource::Ip, Resource::Identities].map(Action::Follow);
    assert_eq!(actions[1..], follows);
}

#[test]
fn a_cache_is_read_where_it_is() {
    let mut life = Life::new(options());
    life.step(Input::Tick);
    life.accepted(with(|capabilities| capabilities.cached = true));
    assert_eq!(life.lifecycle.layout(), Some(Layout::Cache));
}

#[test]
fn which_format_of_services_is_read() {
    use EndpointSlicesExportMode as Mode;
    let (v1, v2) = (Resource::Services, Resource::EndpointSlices);
    for (setting, mode, expected) in [
        (Some(ServiceV2::PreferLegacy), Mode::ServicesOnly, &[v1][..]),
        (Some(ServiceV2::PreferLegacy), Mode::ServicesAndEndpointSlices, &[v1]),
        (Some(ServiceV2::PreferLegacy), Mode::EndpointSlicesOnly, &[v2]),
        (Some(ServiceV2::PreferEndpointSlice), Mode::ServicesOnly, &[v1]),
        (Some(ServiceV2::PreferEndpointSlice), Mode::ServicesAndEndpointSlices, &[v2]),
        (Some(ServiceV2::OnlyEndpointSlice), Mode::ServicesOnly, &[]),
        (Some(ServiceV2::OnlyEndpointSlice), Mode::EndpointSlicesOnly, &[v2]),
        (None, Mode::ServicesOnly, &[v1]),
        (None, Mode::ServicesAndEndpointSlices, &[v1, v2]),
        (None, Mode::EndpointSlicesOnly, &[v2]),
    ] {
        let mut life = Life::new(LifecycleConfig { service_v2: setting, ..options() });
        life.step(Input::Tick);
        life.accepted(with(|capabilities| capabilities.endpoint_slices_export_mode = mode.clone()));
        let read: Vec<_> = [v1, v2].into_iter().filter(|one| life.lifecycle.is_listed(*one).is_some()).collect();
        assert_eq!(read, expected, "{setting:?} of a cluster that exports {mode:?}");
    }
}

#[test]
fn exports_are_waited_for_where_they_are_known() {
    let resources: BTreeSet<_> = [Resource::ServiceExports].into();
    for (enabled, waited) in [(None, None), (Some(false), Some(false)), (Some(true), Some(false))] {
        let mut life = Life::new(LifecycleConfig { resources: resources.clone(), ..options() });
        life.step(Input::Tick);
        life.accepted(with(|capabilities| capabilities.service_exports_enabled = enabled));
        assert_eq!(life.lifecycle.is_listed(Resource::ServiceExports), waited, "{enabled:?}");
    }
}

/// Row 1: etcd unreachable, watch broken, API server down.
#[test]
fn what_was_learnt_is_kept_for_ever() {
    let mut life = Life::ready(options());
    assert_eq!(life.step(Input::Failed("watch closed".to_owned())), [Action::Disconnect]);
    let actions = life.pass(Duration::from_secs(24 * 3600), false);
    assert!(actions.iter().all(|action| matches!(action, Action::Connect | Action::Disconnect)), "nothing is dropped");
    assert!(life.lifecycle.failures() > 86_000, "and it is tried for ever, once a second");
}

/// Row 2: reconnect. Everything is listed again, and the ID is still ours.
#[test]
fn a_reconnect_lists_everything_again() {
    let mut life = Life::ready(options());
    life.step(Input::Failed("watch closed".to_owned()));
    assert!(!life.lifecycle.is_ready());
    assert_eq!(life.pass(Duration::from_millis(50), true), [Action::Connect]);
    assert_eq!(life.accepted(says(2)), [Action::WatchCanaries], "nothing is drained, nothing reserved");
    assert!(!life.lifecycle.is_ready());
    assert_eq!(life.step(Input::Canary(Resource::Services)), [Action::Follow(Resource::Services)]);
    life.listed();
    assert!(life.lifecycle.is_ready() && life.trouble().is_empty());
}

/// Row 3: `clustermesh-cache-ttl`.
#[test]
fn services_are_dropped_when_the_cluster_is_not_ready_for_too_long() {
    let mut life = Life::ready(LifecycleConfig { cache_ttl: Some(Duration::from_secs(600)), ..options() });
    assert_eq!(life.pass(Duration::from_secs(3600), true), [], "not while it is ready");
    life.step(Input::Failed("gone".to_owned()));
    assert!(!life.pass(Duration::from_secs(599), false).contains(&Action::Revoke), "not before");
    let late = life.pass(Duration::from_secs(1), false);
    assert!(late.contains(&Action::Revoke) && !late.contains(&Action::Drain), "services only");
    assert!(!life.pass(Duration::from_secs(3600), false).contains(&Action::Revoke), "once");
    assert_eq!(life.lifecycle.revocations(), 1);

    let mut life = Life::ready(LifecycleConfig { cache_ttl: Some(Duration::from_secs(600)), ..options() });
    life.step(Input::Failed("gone".to_owned()));
    life.pass(Duration::from_millis(50), true);
    life.accepted(says(2));
    life.step(Input::Canary(Resource::Services));
    life.step(Input::Listed(Resource::Services));
    assert_eq!(life.pass(Duration::from_secs(3600), true), [], "what was listed anew is no memory");
}

/// Row 4, the configuration file removed, is whoever holds the life: it drops it, and tells the state. Here: the file changes.
#[test]
fn another_configuration_file_connects_anew_and_drops_nothing() {
    let mut life = Life::ready(options());
    assert_eq!(life.step(Input::Reconfigured), [Action::Disconnect, Action::Connect]);
    assert_eq!(life.accepted(says(2)), [Action::WatchCanaries]);
    life.step(Input::Failed("gone".to_owned()));
    assert_eq!(life.step(Input::Reconfigured), [Action::Connect], "it does not wait");
}

/// Row 6: the peer's ID changes.
#[test]
fn another_id_drains_everything_first() {
    let mut life = Life::ready(options());
    assert_eq!(life.step(Input::ClusterConfig(Some(Ok(says(7))))), [Action::Disconnect], "a new start");
    assert_eq!(life.trouble(), "cluster configuration changed");
    life.pass(Duration::from_millis(50), true);
    assert_eq!(life.accepted(says(7)), [Action::Drain, Action::Release, Action::Reserve(id(7)), Action::WatchCanaries]);
}

#[test]
fn ids_that_cannot_be_had() {
    let mut life = Life::new(options());
    life.step(Input::Tick);
    life.step(Input::Connected);
    assert_eq!(life.step(Input::ClusterConfig(Some(Ok(says(1))))), [Action::Disconnect]);
    assert_eq!(life.trouble(), "clusterID 1 is assigned to the local cluster");

    life.pass(Duration::from_millis(50), true);
    life.step(Input::Connected);
    assert_eq!(life.step(Input::ClusterConfig(Some(Ok(says(2))))), [Action::Reserve(id(2))]);
    let gamma = ClusterName::new("gamma").unwrap();
    assert_eq!(life.step(Input::Reserved(Some(gamma))), [Action::Disconnect]);
    assert_eq!(life.trouble(), "clusterID 2 is already used by `gamma`");

    life.pass(Duration::from_millis(100), true);
    life.step(Input::Connected);
    life.step(Input::ClusterConfig(Some(Ok(says(300)))));
    assert!(life.trouble().starts_with("cluster configuration has the ID 300"), "{}", life.trouble());
}

#[test]
fn a_mesh_of_511_asks_its_peers_for_the_same() {
    let options = LifecycleConfig { limit: MaxConnectedClusters::N511, ..options() };
    let mut life = Life::new(options.clone());
    life.step(Input::Tick);
    life.step(Input::Connected);
    life.step(Input::ClusterConfig(Some(Ok(says(2)))));
    assert_eq!(life.trouble(), "mismatched MaxConnectedClusters; local=511, remote=255");
    let mut life = Life::new(options);
    life.step(Input::Tick);
    let config = ClusterConfig::exported(id(300), MaxConnectedClusters::N511);
    assert_eq!(life.accepted(config), [Action::Reserve(id(300)), Action::WatchCanaries]);
}

#[test]
fn a_configuration_that_never_comes() {
    let mut life = Life::new(options());
    life.step(Input::Tick);
    life.step(Input::Connected);
    life.step(Input::ClusterConfig(None));
    assert_eq!(life.pass(Duration::from_secs(179), true), []);
    assert_eq!(life.pass(Duration::from_secs(1), true), [Action::Disconnect]);
    assert_eq!(life.trouble(), "cluster configuration expected to be present but not found");
}

#[test]
fn a_heartbeat_that_stops_ends_the_connection_after_two_minutes() {
    let mut life = Life::ready(options());
    life.pass(Duration::from_secs(600), true);
    let last = life.now;
    let silent = life.lifecycle.deadline().unwrap();
    assert_eq!(silent - last, Duration::from_secs(120));
    life.now = silent;
    assert_eq!(life.step(Input::Tick), [Action::Disconnect]);
    assert_eq!(life.trouble(), "quorum check failed: 120s since last heartbeat update has been received");
}

#[test]
fn waits_double_and_begin_anew_once_it_is_ready() {
    let mut life = Life::new(options());
    life.step(Input::Tick);
    let mut waits = Vec::new();
    for _ in 0..7 {
        life.step(Input::Failed("no".to_owned()));
        let until = life.lifecycle.waits_until().unwrap();
        waits.push((until - life.now).as_millis());
        life.now = until;
        assert_eq!(life.step(Input::Tick), [Action::Connect]);
    }
    assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
    life.accepted(says(2));
    life.listed();
    life.step(Input::Failed("no".to_owned()));
    assert_eq!(life.lifecycle.waits_until().unwrap() - life.now, Duration::from_millis(50));
    assert_eq!(life.lifecycle.failures(), 8);
}

#[test]
fn what_comes_too_late_is_ignored() {
    let mut life = Life::new(options());
    for input in [Input::Connected, Input::Canary(Resource::Services), Input::Listed(Resource::Services)] {
        let mut life = Life::new(options());
        life.now = Duration::ZERO;
        life.lifecycle = Lifecycle::new(options(), Duration::from_secs(1));
        assert_eq!(life.step(input), [], "before anything was asked for");
    }
    life.step(Input::Tick);
    life.step(Input::Connected);
    assert_eq!(life.step(Input::Canary(Resource::Services)), [], "before the configuration");
    assert_eq!(life.step(Input::Reserved(None)), [], "nothing was reserved");
}
