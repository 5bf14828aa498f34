//! Witnesses in words.

use meshbed_driver::{
    ClusterBooted, ClusterCrashed, Ended, EtcdReset, Frozen, LinkSeen, NodeBooted, NodeCrashed, Resumed, Started,
    Suspended, Thawed,
};

/// What a witness says, for the record.
pub(super) trait Words {
    /// As a sentence without a full stop.
    fn words(&self) -> String;
}

impl Words for Ended {
    fn words(&self) -> String {
        format!("process {} of {} is gone", self.pid, self.process)
    }
}

impl Words for Started {
    fn words(&self) -> String {
        format!("{} is ready as process {}", self.process, self.pid)
    }
}

impl Words for Suspended {
    fn words(&self) -> String {
        format!("all {} threads of process {} ({}) are stopped", self.threads, self.pid, self.process)
    }
}

impl Words for Resumed {
    fn words(&self) -> String {
        format!("all {} threads of process {} ({}) go on", self.threads, self.pid, self.process)
    }
}

impl Words for Frozen {
    fn words(&self) -> String {
        format!("a cgroup with {} processes is frozen", self.processes)
    }
}

impl Words for Thawed {
    fn words(&self) -> String {
        format!("a cgroup with {} processes is thawed", self.processes)
    }
}

impl Words for LinkSeen {
    fn words(&self) -> String {
        format!("the far end {} a carrier on {}", if self.carrier { "has" } else { "has lost" }, self.interface)
    }
}

impl Words for NodeCrashed {
    fn words(&self) -> String {
        let killed = self.emptied.killed.len();
        format!("{}: {}, {killed} processes and {} pins are gone", self.node, self.link.words(), self.pins)
    }
}

impl Words for NodeBooted {
    fn words(&self) -> String {
        let started: Vec<String> = self.started.iter().map(Words::words).collect();
        format!("{}: {}; {}", self.node, self.link.words(), started.join(", "))
    }
}

impl Words for ClusterCrashed {
    fn words(&self) -> String {
        let processes: usize = self.nodes.iter().map(|node| node.emptied.killed.len()).sum();
        let all = processes + self.control_plane.killed.len();
        format!("{}: {}, {all} processes of {} nodes are gone", self.cluster, self.link.words(), self.nodes.len())
    }
}

impl Words for ClusterBooted {
    fn words(&self) -> String {
        let started: Vec<String> = self.control_plane.iter().map(Words::words).collect();
        format!("{}: {}; {} nodes booted", self.cluster, started.join(", "), self.nodes.len())
    }
}

impl Words for EtcdReset {
    fn words(&self) -> String {
        format!("the etcd of {} has cluster ID {} instead of {}", self.cluster, self.after, self.before)
    }
}
