//! Bringing a mesh up: what can happen at the same time does.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::try_join_all;
use mesh_types::ClusterName;
use meshbed_scenario::{Cluster, Topology};
use tokio::{
    sync::{OnceCell, Semaphore, mpsc, oneshot, watch},
    task::spawn_blocking,
    try_join,
};

use crate::{
    ExitedProcess, Mesh, OnFailure, OutpostLink, UpOptions,
    error::{Act, PkiError, SystemError, UpError, UpErrorKind},
    etcd_setup,
    gate::Gate,
    layout::run_json,
    links::{Index, VethEnd, add_veth, everywhere},
    mesh::Spread,
    namespace::{Forwarding, Namespace},
    network::{self, UPLINK, wan_link},
    outpost::{Far, File, NotUp, Outpost, Part as FarPart, PartHere, Rising, Shadow, Tell, Told, nic},
    pki::{self, Issued},
    process::{ExitSender, Process},
    programs::{ProgramSpec, Programming},
    site::{self, Site},
    state::{ClusterState, NodeState, RunState},
    teardown::Ownership,
    wal,
};

/// Name of the bridge that is a cluster's segment.
const BRIDGE: &str = "br0";
/// Name of the bridge between a cluster's link to the router and the interface that leads to the machine with the router.
const PATCH: &str = "patch";
/// How many namespaces are made at the same time. Each takes a thread; the kernel serialises most of it anyway.
const NAMESPACES_AT_ONCE: usize = 8;
/// How many unexpected ends wait to be looked at. More than the processes of a small mesh; beyond it their watchers wait.
const EXITS_MAX: usize = 64;

/// How far the mesh is brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Namespaces, links and etcd: what needs none of our own programs.
    NetworkAndEtcd,
    /// Everything.
    Full,
}

/// Brings `topology` up and returns when every process is ready. `progress` is told in words what is done.
///
/// On an error, and when the future is dropped, everything made so far is removed (see [`OnFailure`]).
pub async fn up(topology: &Topology, options: UpOptions, progress: impl FnMut(&str) + Send) -> Result<Mesh, UpError> {
    up_to(Extent::Full, &Share::Lead, topology, options, progress).await
}

/// Brings up what is here of a mesh that another machine leads.
pub(crate) async fn up_part(
    topology: &Topology,
    share: &Share<'_>,
    options: UpOptions,
    progress: impl FnMut(&str) + Send,
) -> Result<Mesh, UpError> {
    up_to(Extent::Full, share, topology, options, progress).await
}

/// Brings up the namespaces, links and etcd of `topology`, but none of our own programs: no Kubernetes API, kubelets,
/// agents or exporters. For tests of the environment itself.
pub async fn up_network_and_etcd(
    topology: &Topology,
    options: UpOptions,
    progress: impl FnMut(&str) + Send,
) -> Result<Mesh, UpError> {
    up_to(Extent::NetworkAndEtcd, &Share::Lead, topology, options, progress).await
}

/// What of a mesh is brought up on this machine.
pub(crate) enum Share<'up> {
    /// The router, and all clusters but those of the outposts.
    Lead,
    /// Some clusters of a mesh that another machine leads.
    Part(&'up PartHere),
}

impl Share<'_> {
    fn has(&self, options: &UpOptions, cluster: &ClusterName) -> bool {
        match self {
            Self::Lead => options.outpost_of(cluster).is_none(),
            Self::Part(here) => here.part.clusters.contains(cluster),
        }
    }
}

async fn up_to(
    extent: Extent,
    share: &Share<'_>,
    topology: &Topology,
    options: UpOptions,
    mut progress: impl FnMut(&str) + Send,
) -> Result<Mesh, UpError> {
    let run = options.run.clone();
    raise(extent, share, topology, options, &mut progress).await.map_err(|kind| UpError { run, kind })
}

async fn raise(
    extent: Extent,
    share: &Share<'_>,
    topology: &Topology,
    options: UpOptions,
    progress: &mut (dyn FnMut(&str) + Send),
) -> Result<Mesh, UpErrorKind> {
    let ownership = Ownership::of(options.run.clone());
    let Site { state, listeners, reservations } = {
        let (topology, options, gate) = (topology.clone(), options.clone(), Arc::clone(ownership.gate()));
        let names = topology.clusters().iter().map(|cluster| cluster.name().clone());
        let here = names.filter(|name| share.has(&options, name)).collect();
        match spawn_blocking(move || site::claim(&topology, &options, &here, &gate)).await {
            Ok(site) => site?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    };
    let (exits, exited) = mpsc::channel::<ExitedProcess>(EXITS_MAX);
    if let Share::Part(here) = share {
        // Who waits for it is gone when it cannot be told.
        drop(here.told.send(Told::Planned(Box::new(state.clone()))));
    }
    let builder = Builder {
        extent,
        share,
        topology,
        options: &options,
        run: &state,
        gate: ownership.gate(),
        exits: &exits,
        wan: OnceCell::new(),
        certificates: OnceCell::new(),
        etcds: watch::Sender::new(0),
        namespaces: Semaphore::new(NAMESPACES_AT_ONCE),
        processes: Mutex::default(),
        elsewhere: Mutex::default(),
        progress: Mutex::new(progress),
    };
    builder.say("directories, mounts and cgroups are there");
    let result = builder.build(listeners).await;
    let processes = builder.processes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let elsewhere = builder.elsewhere.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut state = state;
    state.processes = processes.iter().map(|process| process.state().clone()).collect();
    let (far, shadows): (Vec<_>, Vec<_>) = elsewhere
        .into_iter()
        .map(|Elsewhere { far, shadows, state: theirs }| {
            state.processes.extend(theirs.processes);
            (far, shadows)
        })
        .unzip();
    let spread = Spread { far, shadows: shadows.into_iter().flatten().collect() };
    if let Err(kind) = result {
        if options.on_failure == OnFailure::Keep {
            state.kept = true;
            state.store(&run_json(&state.run))?;
            ownership.release();
        }
        return Err(kind);
    }
    state.ready = true;
    state.store(&run_json(&state.run))?;
    Ok(Mesh::new(state, processes, reservations, exits, exited, spread, ownership))
}

/// Clusters that were brought up at an outpost.
struct Elsewhere {
    far: Far,
    shadows: Vec<Shadow>,
    /// What the run consists of there.
    state: Box<RunState>,
}

/// What the parts of the work share.
struct Builder<'up> {
    extent: Extent,
    share: &'up Share<'up>,
    topology: &'up Topology,
    options: &'up UpOptions,
    run: &'up RunState,
    gate: &'up Arc<Gate>,
    exits: &'up ExitSender,
    /// The router's namespace, made by whoever needs it first.
    wan: OnceCell<Namespace>,
    /// Certificates of all clusters: agents use those of the others.
    certificates: OnceCell<()>,
    /// How many etcds check who asks. Agents wait for all of them, because they read those of other clusters.
    etcds: watch::Sender<usize>,
    namespaces: Semaphore,
    processes: Mutex<Vec<Process>>,
    elsewhere: Mutex<Vec<Elsewhere>>,
    progress: Mutex<&'up mut (dyn FnMut(&str) + Send)>,
}

/// A cluster as planned and as described.
#[derive(Clone, Copy)]
struct Part<'up> {
    /// Position in the topology, from 0.
    position: u32,
    cluster: &'up Cluster,
    state: &'up ClusterState,
}

impl<'up> Builder<'up> {
    fn say(&self, what: &str) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        (*progress)(what);
    }

    async fn build(&self, listeners: Vec<TcpListener>) -> Result<(), UpErrorKind> {
        let parts = self.topology.clusters().iter().zip(&self.run.clusters).zip(0..);
        let parts = parts.map(|((cluster, state), position)| Part { position, cluster, state });
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            parts.zip(listeners).partition(|(part, _)| self.share.has(self.options, &part.state.name));
        let clusters = here.into_iter().map(|(part, listener)| self.raise_cluster(part, listener));
        if let Share::Part(_) = self.share {
            return try_join_all(clusters).await.map(drop);
        }
        let mut elsewhere = elsewhere;
        let far = self.options.outposts.iter().map(|outpost| {
            let is_there = |(part, _): &mut (Part<'up>, _)| outpost.clusters().contains(&part.state.name);
            self.raise_elsewhere(outpost, elsewhere.extract_if(.., is_there).collect())
        });
        let far: Vec<_> = far.collect();
        try_join!(try_join_all(clusters), try_join_all(far)).map(drop)
    }

    /// Has an outpost bring its clusters up.
    async fn raise_elsewhere(
        &self,
        outpost: &Arc<Outpost>,
        parts: Vec<(Part<'up>, TcpListener)>,
    ) -> Result<(), UpErrorKind> {
        self.certificates().await?;
        let part = FarPart {
            topology: self.topology.text().to_owned(),
            options: self.options.clone(),
            clusters: parts.iter().map(|(part, _)| part.state.name.clone()).collect(),
            secrets: self
                .run
                .clusters
                .iter()
                .map(|cluster| File::all_of(&cluster.pki))
                .collect::<Result<Vec<_>, _>>()?
                .concat(),
        };
        let rising = Rising::begin(outpost, part).await?;
        let teller = rising.teller();
        let (planned, plan) = oneshot::channel();
        let mut planned = Some(planned);
        let ready = async {
            let told = |told| match told {
                Told::Planned(state) => drop(planned.take().map(|planned| planned.send(state))),
                Told::Progress(what) => self.say(&what),
                Told::Etcd => self.etcds.send_modify(|etcds| *etcds += 1),
                _ => {}
            };
            rising.ready(self.exits.clone(), told).await.map_err(|error| not_up(outpost, error))
        };
        let etcds = async {
            self.all_etcds().await;
            Ok(teller.tell(Tell::AllEtcds).await?)
        };
        let shadows = async {
            let Ok(theirs) = plan.await else { return std::future::pending().await };
            let cast = parts.into_iter().map(|(part, listener)| self.cast_shadow(outpost, part, listener, &theirs));
            try_join_all(cast).await
        };
        let ((far, state), (), shadows) = try_join!(ready, etcds, shadows)?;
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).push(Elsewhere { far, shadows, state });
        Ok(())
    }

    /// What is here of a cluster at an outpost: its link to the router, and its shadow.
    async fn cast_shadow(
        &self,
        outpost: &Arc<Outpost>,
        part: Part<'up>,
        listener: TcpListener,
        theirs: &RunState,
    ) -> Result<Shadow, UpErrorKind> {
        let name = &part.state.name;
        let mac = outpost.segment(name)?;
        let router = async {
            let wan = self.wan.get_or_try_init(|| self.raise_router()).await?;
            let port = Index::numbered(part.position);
            let address = part.cluster.router_address();
            wan.add_bridge(&wan_link(part.state), port, address).await?;
            nic::plug_in(mac, wan, port).await?;
            self.route_to(part, wan, port).await
        };
        let shadow = async {
            let namespace = self.namespace(&part.state.netns, Forwarding::Off).await?;
            namespace.add_own_address(part.state.control_plane_ip).await?;
            let far = theirs.cluster(name.as_str()).unwrap_or(part.state);
            Ok(Shadow::cast(outpost, part.state, far, listener)?)
        };
        let ((), shadow) = try_join!(router, shadow)?;
        self.say(&format!("{name}: connected to the router by a link between machines"));
        Ok(shadow)
    }

    async fn namespace(&self, path: &std::path::Path, forwarding: Forwarding) -> Result<Namespace, SystemError> {
        let _permit = self.namespaces.acquire().await.expect("nobody closes the semaphore");
        let namespace = Namespace::make(path, forwarding, self.gate).await?;
        namespace.loopback_up().await?;
        Ok(namespace)
    }

    async fn raise_cluster(&self, part: Part<'up>, listener: TcpListener) -> Result<(), UpErrorKind> {
        let (namespace, ()) = try_join!(
            async { self.namespace(&part.state.netns, Forwarding::Off).await.map_err(UpErrorKind::from) },
            self.certificates(),
        )?;
        let prefix = part.cluster.node_cidr().prefix_len();
        namespace.add_bridge(BRIDGE, Index::BRIDGE, part.state.control_plane_ip).await?;
        namespace.add_address(Index::BRIDGE, part.state.control_plane_ip, prefix).await?;
        let (api_is_up, api) = watch::channel(false);
        let nodes = part.state.nodes.iter().map(|node| self.raise_node(part, node, &namespace, api.clone()));
        try_join!(
            self.raise_control_plane(part, listener, &api_is_up),
            self.connect_cluster(part, &namespace),
            try_join_all(nodes),
        )?;
        self.say(&format!("{}: everything is ready", part.state.name));
        Ok(())
    }

    /// Certificates, tokens and kubeconfigs of all clusters.
    async fn certificates(&self) -> Result<(), UpErrorKind> {
        let make_all = || async {
            if let Share::Part(here) = self.share {
                return self.take_over_certificates(&here.part.secrets);
            }
            // Clusters may have the same one. A key of an elliptic curve takes some microseconds: no thread for that.
            let mut authorities = BTreeMap::new();
            for cluster in &self.run.clusters {
                if let Entry::Vacant(entry) = authorities.entry(&cluster.authority) {
                    let made = pki::make_authority(&cluster.authority);
                    let failed = |kind| UpErrorKind::Pki { cluster: cluster.name.to_string(), kind };
                    entry.insert(Arc::new(made.map_err(failed)?));
                }
            }
            let of = |cluster: &ClusterState| Arc::clone(&authorities[&cluster.authority]);
            let clusters = self.run.clusters.iter().map(|cluster| self.certificates_of(cluster, of(cluster)));
            try_join_all(clusters).await?;
            self.say("certificates are there");
            Ok(())
        };
        self.certificates.get_or_try_init(make_all).await.copied()
    }

    /// Writes down what the machine that leads has made.
    fn take_over_certificates(&self, secrets: &[File]) -> Result<(), UpErrorKind> {
        let _pass = self.gate.pass()?;
        File::store_all(secrets)?;
        for cluster in self.run.clusters.iter().filter(|cluster| self.share.has(self.options, &cluster.name)) {
            let path = pki::token_file(&cluster.pki);
            let token = secrets.iter().find(|file| file.path == path).map_or("", |file| file.content.as_str());
            site::write_kubeconfigs(cluster, token)?;
        }
        Ok(())
    }

    async fn certificates_of(&self, cluster: &ClusterState, authority: Arc<Issued>) -> Result<(), UpErrorKind> {
        let (cluster, gate) = (cluster.clone(), Arc::clone(self.gate));
        let failed = {
            let cluster = cluster.name.to_string();
            move |kind| UpErrorKind::Pki { cluster, kind }
        };
        let work = move || {
            let _pass = gate.pass().map_err(PkiError::Store)?;
            let token = pki::make(&cluster, &authority)?;
            site::write_kubeconfigs(&cluster, &token).map_err(PkiError::Store)
        };
        match spawn_blocking(work).await {
            Ok(result) => result.map_err(failed),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    async fn raise_control_plane(
        &self,
        part: Part<'up>,
        listener: TcpListener,
        api_is_up: &watch::Sender<bool>,
    ) -> Result<(), UpErrorKind> {
        let programming = Programming { run: self.run, options: self.options };
        let etcd = async {
            self.run(programming.etcd(part.state)).await?;
            let data = part.state.etcd_data_dir.clone();
            match spawn_blocking(move || wal::release_reserved(&data)).await {
                Ok(released) => released?,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
            let name = &part.state.name;
            let failed = |kind| UpErrorKind::EtcdSetup { cluster: name.to_string(), kind };
            etcd_setup::set_up(part.state, self.gate).await.map_err(failed)?;
            self.etcds.send_modify(|etcds| *etcds += 1);
            if let Share::Part(here) = self.share {
                drop(here.told.send(Told::Etcd));
            }
            self.say(&format!("{name}: etcd knows its users"));
            Ok(())
        };
        if self.extent == Extent::NetworkAndEtcd {
            return etcd.await;
        }
        let api = async {
            let address = listener.local_addr().act(|| "look at a listener".to_owned())?;
            self.run_with(programming.api_server(part.state, address), Some(listener)).await?;
            if let Some(setup) = programming.setup(part.state) {
                self.set_up(setup).await?;
            }
            api_is_up.send_replace(true);
            Ok(())
        };
        try_join!(etcd, api)?;
        let exporter = async {
            match programming.exporter(part.state) {
                Some(exporter) => self.run(exporter).await,
                None => Ok(()),
            }
        };
        let kvstoremesh = async {
            match programming.kvstoremesh(part.state) {
                Some(kvstoremesh) => {
                    self.all_etcds().await;
                    self.run(kvstoremesh).await
                }
                None => Ok(()),
            }
        };
        try_join!(exporter, kvstoremesh).map(drop)
    }

    /// Waits until all etcds check who asks.
    async fn all_etcds(&self) {
        if let Share::Part(here) = self.share {
            let mut all = here.all_etcds.clone();
            // The sender lives as long as this work.
            drop(all.wait_for(|all| *all).await);
            return;
        }
        let mut etcds = self.etcds.subscribe();
        // The sender is here, so there is no error.
        drop(etcds.wait_for(|etcds| *etcds == self.run.clusters.len()).await);
    }

    /// Runs what prepares a cluster for its agent, to its end.
    async fn set_up(&self, spec: ProgramSpec) -> Result<(), UpErrorKind> {
        let name = spec.name.clone();
        let process = Process::start(spec, None, Some(self.exits))?;
        process.expect_end();
        process.wait_ready().await?;
        self.say(&format!("{name} is done"));
        Ok(())
    }

    /// Makes the router's namespace and starts what impairs links there. The conditions of the topology are in force
    /// before any cluster is connected.
    async fn raise_router(&self) -> Result<Namespace, UpErrorKind> {
        let namespace = self.namespace(&self.run.wan_netns, Forwarding::On).await?;
        if self.extent == Extent::NetworkAndEtcd || matches!(self.share, Share::Part(_)) {
            return Ok(namespace);
        }
        let interfaces = self.run.clusters.iter().map(wan_link).collect();
        let config = meshbed_wan::Config::new(self.topology, interfaces);
        {
            let _pass = self.gate.pass()?;
            let stored = config.store(&meshbed_wan::config_path(&self.run.run_dir));
            stored.map_err(|error| SystemError { act: error.act, source: error.source })?;
        }
        let programming = Programming { run: self.run, options: self.options };
        self.run(programming.wan()).await?;
        Ok(namespace)
    }

    /// Connects a cluster's segment to the router.
    async fn connect_cluster(&self, part: Part<'up>, namespace: &Namespace) -> Result<(), UpErrorKind> {
        let wan = self.wan.get_or_try_init(|| self.raise_router()).await?;
        let link = wan_link(part.state);
        let far = Index::numbered(part.position);
        add_veth(
            VethEnd { namespace, name: UPLINK.to_owned(), index: Index::UPLINK },
            VethEnd { namespace: wan, name: link, index: far },
            Index::BRIDGE,
        )
        .await?;
        match self.share {
            Share::Lead => self.route_to(part, wan, far).await?,
            Share::Part(here) => patch_through(&here.link, part, wan, far).await?,
        }
        namespace.add_route(everywhere(), part.cluster.router_address()).await?;
        for node in part.cluster.nodes() {
            namespace.add_route(node.pod_cidr(), node.address()).await?;
        }
        self.say(&format!("{}: connected to the router", part.state.name));
        Ok(())
    }

    /// Gives the router its address on a cluster's segment, and routes to the cluster's pods.
    async fn route_to(&self, part: Part<'up>, wan: &Namespace, link: Index) -> Result<(), UpErrorKind> {
        let prefix = part.cluster.node_cidr().prefix_len();
        wan.add_address(link, part.cluster.router_address(), prefix).await?;
        for node in part.cluster.nodes() {
            wan.add_route(node.pod_cidr(), node.address()).await?;
        }
        Ok(())
    }

    async fn raise_node(
        &self,
        part: Part<'up>,
        node: &'up NodeState,
        segment: &Namespace,
        mut api: watch::Receiver<bool>,
    ) -> Result<(), UpErrorKind> {
        self.connect_node(part, node, segment).await?;
        if self.extent == Extent::NetworkAndEtcd {
            return Ok(());
        }
        if api.wait_for(|up| *up).await.is_err() {
            // The control plane failed and its error is on the way.
            return std::future::pending().await;
        }
        let programming = Programming { run: self.run, options: self.options };
        let agent = async {
            self.all_etcds().await;
            self.run(programming.agent(part.state, node)).await
        };
        try_join!(self.run(programming.kubelet(part.state, node)), agent)?;
        Ok(())
    }

    /// Makes a node's namespace and connects it to its cluster's segment.
    async fn connect_node(
        &self,
        part: Part<'up>,
        node: &'up NodeState,
        segment: &Namespace,
    ) -> Result<(), UpErrorKind> {
        let namespace = self.namespace(&node.netns, Forwarding::On).await?;
        network::connect_node(part.state, node, segment, &namespace).await?;
        self.say(&format!("{}: connected", node.name));
        Ok(())
    }

    /// Starts a process and waits until it is ready.
    async fn run(&self, spec: ProgramSpec) -> Result<(), UpErrorKind> {
        self.run_with(spec, None).await
    }

    /// The same for one that inherits `listener`.
    async fn run_with(&self, spec: ProgramSpec, listener: Option<TcpListener>) -> Result<(), UpErrorKind> {
        let name = spec.name.clone();
        let process = Process::start(spec, listener, Some(self.exits))?;
        let ready = process.wait_ready();
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).push(process);
        ready.await?;
        self.say(&format!("{name} is ready"));
        Ok(())
    }
}

/// Joins the far end of a cluster's link to the interface that leads to the machine with the router.
async fn patch_through(link: &OutpostLink, part: Part<'_>, wan: &Namespace, far: Index) -> Result<(), UpErrorKind> {
    let bridge = Index::patch(part.position);
    // Its hardware address must be nobody's on the segment, or it would keep what is for them. No machine has the first address.
    let nobody = part.cluster.node_cidr().network();
    wan.add_bridge(&format!("{PATCH}{}", part.position), bridge, nobody).await?;
    wan.join_bridge(far, bridge).await?;
    Ok(nic::plug_in(link.segment(&part.state.name)?, wan, bridge).await?)
}

fn not_up(outpost: &Outpost, error: NotUp) -> UpErrorKind {
    match error {
        NotUp::System(error) => UpErrorKind::System(error),
        NotUp::Failed { why, rejection } => UpErrorKind::Elsewhere { clusters: outpost.names(), why, rejection },
    }
}
