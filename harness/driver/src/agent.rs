//! The agent under test: from its description to what is started. Nothing here knows any agent by name. Pure.

use std::path::{Path, PathBuf};

use meshbed_scenario::{AgentSpec, Placeholder, Ready, Role, StopSignal, Template};
use nix::sys::signal::Signal;

use crate::{
    command::{BPF_MOUNT_POINT, CGROUP_MOUNT_POINT},
    launch::ReadyCheck,
    programs::{ProgramSpec, Programming, text},
    state::{ClusterState, NodeState, ProcessRole},
};

/// Where a role's placeholders get their values from.
struct Values<'run> {
    programming: &'run Programming<'run>,
    agent: &'run AgentSpec,
    cluster: &'run ClusterState,
    /// What it is: decides what is its own.
    role: ProcessRole,
    node: Option<&'run NodeState>,
}

impl Values<'_> {
    fn render(&self, template: &Template) -> String {
        template.render(|placeholder| self.value(placeholder))
    }

    fn value(&self, placeholder: Placeholder) -> String {
        let cluster = self.cluster;
        match placeholder {
            Placeholder::Cluster => cluster.name.to_string(),
            Placeholder::ClusterId => cluster.id.to_string(),
            Placeholder::Kubeconfig => text(&cluster.kubeconfig),
            Placeholder::EtcdConfig => text(&cluster.etcd_config),
            Placeholder::PodCidr => self.node.map_or(cluster.pod_cidr, |node| node.pod_cidr).to_string(),
            Placeholder::ServiceCidr => cluster.service_cidr.to_string(),
            Placeholder::MaxConnectedClusters => self.programming.run.agents.max_connected_clusters.to_string(),
            Placeholder::CacheTtl => {
                format!("{}s", self.programming.run.agents.cache_ttl.unwrap_or_default().as_secs())
            }
            Placeholder::RunDir => text(&self.programming.run.run_dir),
            Placeholder::BinDir => text(self.programming.options.programs.bin_dir()),
            Placeholder::State => text(self.state_dir()),
            Placeholder::Bpf => BPF_MOUNT_POINT.to_string_lossy().into_owned(),
            Placeholder::Cgroup if self.agent.needs().cgroup_namespace => {
                CGROUP_MOUNT_POINT.to_string_lossy().into_owned()
            }
            Placeholder::Node => self.of_node(|node| node.name.clone()),
            Placeholder::NodeIp => self.of_node(|node| node.ip.to_string()),
            Placeholder::Clustermesh if self.role == ProcessRole::KvstoreMesh => text(&cluster.kvstoremesh_dir),
            Placeholder::Clustermesh => self.of_node(|node| text(&node.clustermesh_dir)),
            Placeholder::Cgroup => self.of_node(|node| text(&node.cgroup)),
        }
    }

    fn state_dir(&self) -> &Path {
        match (self.role, self.node) {
            (_, Some(node)) => &node.agent_state_dir,
            (ProcessRole::KvstoreMesh, None) => &self.cluster.kvstoremesh_state_dir,
            (_, None) => &self.cluster.exporter_state_dir,
        }
    }

    /// Roles that are no node's have no such placeholders: the reader of descriptions refuses them there.
    fn of_node(&self, value: impl FnOnce(&NodeState) -> String) -> String {
        self.node.map(value).unwrap_or_default()
    }
}

impl Programming<'_> {
    fn agent_of(&self, cluster: &ClusterState) -> &AgentSpec {
        self.options.agent_of(&cluster.name)
    }

    /// A node's agent.
    pub(crate) fn agent(&self, cluster: &ClusterState, state: &NodeState) -> ProgramSpec {
        let agent = self.agent_of(cluster);
        let values = Values { programming: self, agent, cluster, role: ProcessRole::Agent, node: Some(state) };
        let spec = self.of_node(ProcessRole::Agent, Path::new(""), cluster, state);
        let mut spec = self.fill(spec, agent.node(), &values);
        spec.launch.cgroup_root = agent.needs().cgroup_namespace.then(|| state.cgroup.clone());
        spec
    }

    /// The exporter, if the agent has one.
    pub(crate) fn exporter(&self, cluster: &ClusterState) -> Option<ProgramSpec> {
        let agent = self.agent_of(cluster);
        Some(self.beside_control_plane(ProcessRole::Exporter, cluster, agent.exporter()?))
    }

    /// What copies remote clusters, if the mesh is one with KVStoreMesh and the agent has such a program.
    pub(crate) fn kvstoremesh(&self, cluster: &ClusterState) -> Option<ProgramSpec> {
        let role = self.agent_of(cluster).kvstoremesh().filter(|_| self.run.agents.kvstoremesh)?;
        Some(self.beside_control_plane(ProcessRole::KvstoreMesh, cluster, role))
    }

    fn beside_control_plane(&self, what: ProcessRole, cluster: &ClusterState, role: &Role) -> ProgramSpec {
        let values = Values { programming: self, agent: self.agent_of(cluster), cluster, role: what, node: None };
        self.fill(self.of_control_plane(what, Path::new(""), cluster), role, &values)
    }

    /// What prepares the cluster for the agent, if something has to.
    pub(crate) fn setup(&self, cluster: &ClusterState) -> Option<ProgramSpec> {
        let agent = self.agent_of(cluster);
        let role = agent.setup()?;
        let values = Values { programming: self, agent, cluster, role: ProcessRole::Exporter, node: None };
        let mut spec = self.of_control_plane(ProcessRole::Exporter, Path::new(""), cluster);
        spec.name = format!("setup-{}", cluster.name);
        spec.log = self.run.logs_dir.join(format!("{}.log", spec.name));
        spec.launch.notify_socket = self.notify_socket(&spec.name);
        Some(self.fill(spec, role, &values))
    }

    fn fill(&self, mut spec: ProgramSpec, role: &Role, values: &Values<'_>) -> ProgramSpec {
        let render = |template: &Template| values.render(template);
        let mut command = role.command().iter().map(render);
        let program = command.next().expect("a command has a program, the reader of descriptions holds that");
        let launch = &mut spec.launch;
        launch.program = self.options.programs.find(&program);
        launch.arguments = command.collect();
        launch.env = role.env().iter().map(|(name, value)| (name.clone(), render(value))).collect();
        let mut env = self.run.agents.env.clone();
        env.extend(values.cluster.agent_env.clone());
        launch.env.extend(env);
        launch.env.extend(self.options.env.iter().cloned());
        launch.files =
            role.files().iter().map(|file| (PathBuf::from(render(&file.path)), render(&file.content))).collect();
        launch.ready = match role.ready() {
            Ready::Notify => ReadyCheck::Notify,
            Ready::Http(url) => ReadyCheck::Http(render(url)),
            Ready::Exec(command) => ReadyCheck::Exec(command.iter().map(render).collect()),
            Ready::Exists(path) => ReadyCheck::Exists(PathBuf::from(render(path))),
            Ready::Ended => ReadyCheck::Ended,
        };
        launch.trace = role.trace().map(|path| PathBuf::from(render(path)));
        launch.status = role.status().unwrap_or_default().iter().map(render).collect();
        if let Some(program) = launch.status.first_mut() {
            *program = text(&self.options.programs.find(program));
        }
        launch.ready_timeout = role.timeout().mul_f64(self.options.slowness);
        launch.stop_signal = match values.agent.stop() {
            StopSignal::Term => Signal::SIGTERM,
            StopSignal::Int => Signal::SIGINT,
            StopSignal::Quit => Signal::SIGQUIT,
        } as i32;
        spec
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use meshbed_scenario::{AgentSpec, Topology};

    use crate::{UpOptions, launch::ReadyCheck, programs::Programming, testing};

    fn with_options<T>(options: &UpOptions, work: impl FnOnce(Programming<'_>) -> T) -> T {
        let run = testing::planned(options);
        work(Programming { run: &run, options })
    }

    #[test]
    fn the_agent_that_is_built_in() {
        let mut options = testing::options("k3f9x2".parse().unwrap());
        options.env.push(("MESH_AGENT_DEFECT".into(), "stale".into()));
        with_options(&options, |programming| {
            let cluster = &programming.run.clusters[0];
            let agent = programming.agent(cluster, &cluster.nodes[1]);
            assert_eq!(
                testing::line(&agent),
                "/opt/mesh-agent run --cluster-name alpha --cluster-id 1 --node-name alpha-2 \
                 --k8s-kubeconfig-path /run/meshbed/k3f9x2/alpha/kubeconfig \
                 --clustermesh-config /run/meshbed/k3f9x2/alpha/alpha-2/clustermesh --bpf-root /sys/fs/bpf \
                 --cgroup-root /cg/meshbed/k3f9x2/alpha/alpha-2 --state-dir /run/meshbed/k3f9x2/alpha/alpha-2/agent \
                 --max-connected-clusters 255 --clustermesh-cache-ttl 0s"
            );
            let trace = "/run/meshbed/k3f9x2/alpha/alpha-2/agent/trace.jsonl";
            assert_eq!(agent.launch.trace.as_deref(), Some(Path::new(trace)));
            assert_eq!(agent.launch.env[0], ("MESH_AGENT_TRACE".to_owned(), trace.to_owned()));
            assert_eq!(agent.launch.env[1..], options.env);
            assert_eq!(agent.launch.cgroup, Path::new("/cg/meshbed/k3f9x2/alpha/alpha-2/agent"));
            assert_eq!((agent.launch.cgroup_root, agent.launch.ready), (None, ReadyCheck::Notify));
            assert_eq!(agent.log, Path::new("/run/meshbed/k3f9x2/logs/agent-alpha-2.log"));

            let exporter = programming.exporter(cluster).unwrap();
            assert_eq!(
                testing::line(&exporter),
                "/opt/mesh-agent apiserver --cluster-name alpha --cluster-id 1 \
                 --k8s-kubeconfig-path /run/meshbed/k3f9x2/alpha/kubeconfig \
                 --kvstore-opt etcd.config=/run/meshbed/k3f9x2/alpha/etcd-config.yaml --max-connected-clusters 255"
            );
            let status = "/opt/mesh-agent status --output json --state-dir /run/meshbed/k3f9x2/alpha/alpha-2/agent";
            assert_eq!(agent.launch.status.join(" "), status);
            assert!(programming.kvstoremesh(cluster).is_none(), "only in a mesh with KVStoreMesh");
            assert!(programming.setup(cluster).is_none());
        });
    }

    #[test]
    fn a_mesh_with_kvstoremesh_and_more_settings() {
        let options = testing::options("k3f9x2".parse().unwrap());
        let settings = "agents: {maxConnectedClusters: 511, cacheTTL: 3s, kvstoremesh: true, env: {A: b}}";
        let topology = format!("{}{settings}\n", testing::two_clusters().text());
        let run = testing::planned_for(&Topology::parse(&topology, "two-clusters.yaml").unwrap(), &options);
        let programming = Programming { run: &run, options: &options };
        let cluster = &run.clusters[0];
        let mesh = programming.kvstoremesh(cluster).unwrap();
        assert_eq!(mesh.name, "kvstoremesh-alpha");
        assert_eq!(
            testing::line(&mesh),
            "/opt/mesh-agent kvstoremesh --cluster-name alpha --cluster-id 1 --max-connected-clusters 511 \
             --clustermesh-config /run/meshbed/k3f9x2/alpha/kvstoremesh-config \
             --kvstore-opt etcd.config=/run/meshbed/k3f9x2/alpha/etcd-config.yaml"
        );
        assert_eq!(mesh.launch.env, [("A".to_owned(), "b".to_owned())]);
        let own = topology.replacen("id: 2", "id: 2\n  env: {A: c, D: e}", 1);
        let run = testing::planned_for(&Topology::parse(&own, "two-clusters.yaml").unwrap(), &options);
        let beta = Programming { run: &run, options: &options }.kvstoremesh(&run.clusters[1]).unwrap();
        assert_eq!(beta.launch.env, [("A", "c"), ("D", "e")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        let agent = testing::line(&programming.agent(cluster, &cluster.nodes[0]));
        assert!(agent.ends_with("--max-connected-clusters 511 --clustermesh-cache-ttl 3s"), "{agent}");
    }

    #[test]
    fn clusters_may_have_other_agents() {
        let mut options = testing::options("k3f9x2".parse().unwrap());
        let text = include_str!("../../../fixtures/agents/static.yaml");
        let beta = testing::planned(&options).clusters[1].name.clone();
        options.agents.insert(beta, AgentSpec::parse(text, "static.yaml").unwrap());
        with_options(&options, |programming| {
            let [alpha, beta] = &programming.run.clusters[..] else { panic!("two clusters") };
            assert!(testing::line(&programming.agent(alpha, &alpha.nodes[0])).starts_with("/opt/mesh-agent run"));
            let line = testing::line(&programming.agent(beta, &beta.nodes[0]));
            assert!(line.starts_with("/opt/meshbed-static-agent --kubeconfig"), "{line}");
            assert!(programming.exporter(alpha).is_some() && programming.exporter(beta).is_none());
        });
    }

    /// The whole plan for Cilium's programs, which nobody needs to have for this.
    #[test]
    fn plan_for_cilium() {
        let mut options = testing::options("k3f9x2".parse().unwrap());
        let text = include_str!("../../../fixtures/agents/cilium.yaml");
        options.agent = AgentSpec::parse(text, "cilium.yaml").unwrap();
        options.programs.agent_bin_dir = Some("/nonexistent/cilium".into());
        with_options(&options, |programming| {
            let cluster = &programming.run.clusters[1];
            let node = programming.agent(cluster, &cluster.nodes[0]);
            let exporter = programming.exporter(cluster).unwrap();
            // Where kubectl is depends on the machine.
            let mut setup = programming.setup(cluster).unwrap();
            setup.launch.program = "kubectl".into();
            let lines = [setup, exporter, node].map(|spec| testing::plan(&spec));
            insta::assert_snapshot!(lines.join("\n"));
        });
    }
}
