//! Which clusters are together in a guest, and how guests are joined.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use ipnet::Ipv4Net;
use mesh_types::ClusterName;
use meshbed_driver::OutpostLink;
use meshbed_scenario::Topology;
use meshbed_vm::NICS_MAX;

use crate::exit::usage;

/// First bytes of the hardware addresses of interfaces between guests: locally administered, and `bm` (IEEE 802, 8.4).
const MAC_PREFIX: &str = "02:62:6d";
/// First bytes of the addresses over which the harness talks between guests: the third one counts the guests. The range is for
/// benchmarks of networks (RFC 2544), so no cluster has it.
const MANAGEMENT: [u8; 2] = [198, 18];
/// Each pair of guests has a network of its own.
const MANAGEMENT_PREFIX: u8 = 30;
/// Number of the guest that leads in such a network.
const LEADER_HOST: u8 = 1;
/// Number of the other guest there.
const OTHER_HOST: u8 = 2;
/// Where the other guest listens.
const PORT: u16 = 7010;
/// Number of the interface over which the harness talks, among those between two guests; those of clusters follow.
const MANAGEMENT_INTERFACE: usize = 0;

/// Clusters that are on the same kernel, in one guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) kernel: String,
    pub(super) clusters: Vec<ClusterName>,
}

impl Share {
    /// How people are told which guest it is.
    pub(super) fn name(&self) -> String {
        format!("kernel {} ({})", self.kernel, self.clusters())
    }

    /// Its clusters, for people.
    pub(super) fn clusters(&self) -> String {
        let names: Vec<&str> = self.clusters.iter().map(ClusterName::as_str).collect();
        format!("clusters {}", names.join(", "))
    }
}

/// What the kernels of clusters are told apart by.
pub(super) struct Wishes<'a> {
    /// `--kernel-in`: clusters and their kernels. They win.
    pub(super) given: &'a [(String, String)],
    /// What is run, one after the other on the same guests.
    pub(super) topologies: &'a [&'a Topology],
    /// The clusters without a kernel of their own go with the first cluster, if that has one.
    pub(super) with_the_first: bool,
}

impl Wishes<'_> {
    /// Whether any cluster is to be on a certain kernel.
    pub(super) fn are_there(&self) -> bool {
        !self.given.is_empty() || self.are_in_topologies()
    }

    /// Whether a topology says so.
    pub(super) fn are_in_topologies(&self) -> bool {
        self.topologies.iter().flat_map(|topology| topology.clusters()).any(|cluster| cluster.kernel().is_some())
    }

    /// Who is with whom; the share of the first cluster leads and comes first. `otherwise` is the kernel of clusters that nothing is
    /// said of.
    pub(super) fn shares(&self, otherwise: impl Fn() -> anyhow::Result<String>) -> anyhow::Result<Vec<Share>> {
        self.check_given()?;
        let mut kernels: Vec<(ClusterName, String, &Topology)> = Vec::new();
        for topology in self.topologies {
            for cluster in topology.clusters() {
                let kernel = match (self.given_for(cluster.name()).or(cluster.kernel()), kernels.first()) {
                    (Some(kernel), _) => kernel.to_owned(),
                    (None, Some((_, first, _))) if self.with_the_first => first.clone(),
                    (None, _) => otherwise()?,
                };
                match kernels.iter().find(|(name, _, _)| name == cluster.name()) {
                    None => kernels.push((cluster.name().clone(), kernel, topology)),
                    Some((_, same, _)) if *same == kernel => {}
                    Some((name, other, of)) => {
                        return Err(contradiction(name, (other.as_str(), *of), (&kernel, *topology)));
                    }
                }
            }
        }
        let mut shares: Vec<Share> = Vec::new();
        for (cluster, kernel, _) in kernels {
            match shares.iter_mut().find(|share| share.kernel == kernel) {
                Some(share) => share.clusters.push(cluster),
                None => shares.push(Share { kernel, clusters: vec![cluster] }),
            }
        }
        self.check_shares(&shares)?;
        Ok(shares)
    }

    fn given_for(&self, cluster: &ClusterName) -> Option<&str> {
        self.given.iter().find(|(name, _)| name == cluster.as_str()).map(|(_, kernel)| kernel.as_str())
    }

    /// Each cluster is there, and is named once.
    fn check_given(&self) -> anyhow::Result<()> {
        for (index, (name, _)) in self.given.iter().enumerate() {
            let mut known: Vec<&str> = Vec::new();
            for cluster in self.topologies.iter().flat_map(|topology| topology.clusters()) {
                if !known.contains(&cluster.name().as_str()) {
                    known.push(cluster.name().as_str());
                }
            }
            if !known.contains(&name.as_str()) {
                let hint = format!("there are: {}", known.join(", "));
                return Err(usage(format!("`--kernel-in`: there is no cluster `{name}`"), hint));
            }
            if self.given[..index].iter().any(|(before, _)| before == name) {
                return Err(usage(format!("`--kernel-in` says twice on which kernel cluster `{name}` is"), ""));
            }
        }
        Ok(())
    }

    /// Guests are made once for all that is run on them: each of them must have its part in each topology.
    fn check_shares(&self, shares: &[Share]) -> anyhow::Result<()> {
        let Some((leader, others)) = shares.split_first().filter(|(_, others)| !others.is_empty()) else {
            return Ok(());
        };
        let hint = "guests are made once for a whole command: run these one by one";
        for topology in self.topologies {
            let lacks = |name: &&ClusterName| topology.cluster(name).is_none();
            if let Some(missing) = others.iter().flat_map(|share| &share.clusters).find(lacks) {
                let message = format!("topology `{}` has no cluster `{missing}`, which another has", topology.name());
                return Err(usage(format!("{message} on a kernel of its own"), hint));
            }
            if let Some(first) = topology.clusters().first().filter(|first| !leader.clusters.contains(first.name())) {
                let message = format!("topology `{}` begins with cluster `{}`", topology.name(), first.name());
                return Err(usage(
                    format!("{message}, which is on another kernel than the first one of another"),
                    hint,
                ));
            }
        }
        let links: usize = others.iter().map(|share| 1 + share.clusters.len()).sum();
        if links > NICS_MAX {
            let message = format!("these kernels need {links} links between guests, there can be {NICS_MAX}");
            return Err(usage(message, "put more clusters on the kernel of the first one"));
        }
        Ok(())
    }
}

fn contradiction(cluster: &ClusterName, one: (&str, &Topology), other: (&str, &Topology)) -> anyhow::Error {
    let [one, other] = [one, other].map(|(kernel, topology)| format!("{kernel} in topology `{}`", topology.name()));
    let hint = format!("run these one by one, or say `--kernel-in {cluster}=NAME`");
    usage(format!("cluster `{cluster}` is on kernel {one} and on {other}"), hint)
}

/// What joins the guest that leads and another one, as seen from either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joint {
    pub(super) leader: OutpostLink,
    pub(super) other: OutpostLink,
}

impl Joint {
    /// What joins the leader and the `number`-th other guest, counted from 1, in which `clusters` are.
    pub(super) fn new(number: usize, clusters: &[ClusterName]) -> anyhow::Result<Self> {
        let network = u8::try_from(number)?;
        let address = |host| Ipv4Addr::new(MANAGEMENT[0], MANAGEMENT[1], network, host);
        let seen_from = |host| -> anyhow::Result<OutpostLink> {
            let with_cluster = clusters.iter().zip(MANAGEMENT_INTERFACE + 1..);
            let segment = |(cluster, interface): (&ClusterName, usize)| -> anyhow::Result<_> {
                Ok((cluster.clone(), mac(network, interface, host)?))
            };
            Ok(OutpostLink {
                clusters: clusters.to_vec(),
                management: mac(network, MANAGEMENT_INTERFACE, host)?,
                address: Ipv4Net::new(address(host), MANAGEMENT_PREFIX)?,
                listens: SocketAddrV4::new(address(OTHER_HOST), PORT),
                segments: with_cluster.map(segment).collect::<anyhow::Result<BTreeMap<_, _>>>()?,
            })
        };
        Ok(Self { leader: seen_from(LEADER_HOST)?, other: seen_from(OTHER_HOST)? })
    }

    /// Hardware addresses of the two ends of each cable: the leader's, the other's.
    pub(super) fn cables(&self) -> Vec<(&str, &str)> {
        let management = (self.leader.management.as_str(), self.other.management.as_str());
        let segments = self.leader.segments.values().zip(self.other.segments.values());
        std::iter::once(management).chain(segments.map(|(one, other)| (one.as_str(), other.as_str()))).collect()
    }
}

/// The hardware address of an end: of which pair of guests, of which of the interfaces between them, in which of the two.
fn mac(network: u8, interface: usize, host: u8) -> anyhow::Result<String> {
    let interface = u8::try_from(interface)?;
    Ok(format!("{MAC_PREFIX}:{network:02x}:{interface:02x}:{host:02x}"))
}

/// `alpha=5.10,beta=7.3`: on which kernels clusters are, for the variable that tells it.
pub(super) fn written(shares: &[Share]) -> String {
    let each = shares.iter().flat_map(|share| share.clusters.iter().map(|name| format!("{name}={}", share.kernel)));
    each.collect::<Vec<_>>().join(",")
}

/// The flags that ask for the same kernels again, when a cluster of `topology` was asked for by name.
pub(super) fn flags(written: &str, topology: &Topology) -> Vec<String> {
    let is_there = |given: &&str| {
        let name = given.split_once('=').map_or(*given, |(name, _)| name);
        topology.clusters().iter().any(|cluster| cluster.name().as_str() == name)
    };
    written.split(',').filter(is_there).flat_map(|given| ["--kernel-in".to_owned(), given.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use test_case::test_case;

    use super::*;

    /// A topology of these clusters, each a name or `name:kernel`.
    fn topology(name: &str, clusters: &str) -> Topology {
        let mut text = format!("apiVersion: meshbed.dev/v1alpha1\nkind: Topology\nname: {name}\nclusters:\n");
        for (number, cluster) in clusters.split_whitespace().enumerate() {
            let (name, kernel) = cluster.split_once(':').unwrap_or((cluster, ""));
            let id = number + 1;
            let cidrs =
                format!("nodeCIDR: 172.18.{id}.0/24, podCIDR: 10.{id}.0.0/16, serviceCIDR: 10.{}.0.0/16", 100 + id);
            let kernel = if kernel.is_empty() { String::new() } else { format!(", kernel: \"{kernel}\"") };
            text.push_str(&format!("- {{name: {name}, id: {id}, {cidrs}, nodes: [{{name: {name}-1}}]{kernel}}}\n"));
        }
        Topology::parse(&text, "t.yaml").unwrap_or_else(|error| panic!("{error}"))
    }

    fn pairs(given: &str) -> Vec<(String, String)> {
        let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        given.split_whitespace().map(|word| pair(word).expect("a pair")).collect()
    }

    /// Who is with whom, or what is wrong.
    fn shares(topologies: &[&str], given: &str, with_the_first: bool) -> String {
        let names = ["one", "two", "three"];
        let topologies: Vec<Topology> =
            names.iter().zip(topologies).map(|(name, clusters)| topology(name, clusters)).collect();
        let topologies: Vec<&Topology> = topologies.iter().collect();
        let given = pairs(given);
        let wishes = Wishes { given: &given, topologies: &topologies, with_the_first };
        let shares = match wishes.shares(|| Ok("new".to_owned())) {
            Ok(shares) => shares,
            Err(error) => return error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let each = |share: &Share| format!("{}: {}", share.kernel, share.clusters());
        shares.iter().map(each).collect::<Vec<_>>().join("; ")
    }

    #[test_case("alpha beta", "" => "new: clusters alpha, beta" ; "nothing said")]
    #[test_case("alpha:5.10 beta:7.3", "" => "5.10: clusters alpha; 7.3: clusters beta" ; "by the topology")]
    #[test_case("alpha beta", "beta=5.10" => "new: clusters alpha; 5.10: clusters beta" ; "by a flag")]
    #[test_case("alpha:5.10 beta:7.3", "beta=5.10" => "5.10: clusters alpha, beta" ; "the flag wins")]
    #[test_case("alpha:a beta:b gamma:a", "" => "a: clusters alpha, gamma; b: clusters beta" ; "together by kernel")]
    #[test_case("alpha:a beta gamma:new", "" => "a: clusters alpha; new: clusters beta, gamma" ; "as the one that is taken otherwise")]
    #[test_case("alpha beta", "gamma=5.10" => "`--kernel-in`: there is no cluster `gamma`" ; "no such cluster")]
    #[test_case("alpha beta", "beta=a beta=b" => "`--kernel-in` says twice on which kernel cluster `beta` is" ; "twice")]
    fn one_topology(clusters: &str, given: &str) -> String {
        shares(&[clusters], given, false)
    }

    #[test_case(&["alpha:a beta:b", "alpha:a beta:b"], "" => "a: clusters alpha; b: clusters beta" ; "the same")]
    #[test_case(&["alpha beta", "alpha beta gamma"], "beta=b" => "new: clusters alpha, gamma; b: clusters beta" ; "more with the leader")]
    #[test_case(&["alpha:a beta:b", "alpha:a beta"], "" => "cluster `beta` is on kernel b in topology `one` and on new in topology `two`" ; "another kernel")]
    #[test_case(&["alpha:a beta:b", "alpha:a beta"], "beta=c" => "a: clusters alpha; c: clusters beta" ; "a flag decides")]
    #[test_case(&["alpha:a beta:b", "beta:b alpha:a"], "" => "topology `two` begins with cluster `beta`, which is on another kernel than the first one of another" ; "another leader")]
    #[test_case(&["alpha beta", "alpha beta gamma"], "gamma=c" => "topology `one` has no cluster `gamma`, which another has on a kernel of its own" ; "a guest without a part")]
    #[test_case(&["alpha beta", "gamma delta"], "" => "new: clusters alpha, beta, gamma, delta" ; "anything in one guest")]
    fn several_topologies(clusters: &[&str], given: &str) -> String {
        shares(clusters, given, false)
    }

    #[test_case("alpha=a" => "a: clusters alpha, beta, gamma")]
    #[test_case("beta=b" => "new: clusters alpha, gamma; b: clusters beta")]
    fn clusters_that_nobody_named_go_with_the_first(given: &str) -> String {
        shares(&["alpha beta gamma"], given, true)
    }

    #[test]
    fn too_many_links_are_refused() {
        let names: Vec<String> = (0..=NICS_MAX).map(|number| format!("c{number}:{}", number.min(1))).collect();
        let told = shares(&[&names.join(" ")], "", false);
        assert_eq!(told, format!("these kernels need {} links between guests, there can be {NICS_MAX}", NICS_MAX + 1));
    }

    fn cluster(name: &str) -> ClusterName {
        ClusterName::new(name).expect("a name")
    }

    #[test]
    fn both_ends_of_a_joint() {
        let joint = Joint::new(3, &[cluster("gamma"), cluster("beta")]).expect("few");
        let Joint { leader, other } = &joint;
        assert_eq!(
            (leader.address.to_string(), other.address.to_string()),
            ("198.18.3.1/30".into(), "198.18.3.2/30".into())
        );
        assert_eq!(leader.listens.to_string(), "198.18.3.2:7010");
        assert_eq!((leader.listens, &leader.clusters), (other.listens, &other.clusters));
        assert_eq!((leader.management.as_str(), other.management.as_str()), ("02:62:6d:03:00:01", "02:62:6d:03:00:02"));
        assert_eq!(leader.segments[&cluster("gamma")], "02:62:6d:03:01:01");
        assert_eq!(other.segments[&cluster("gamma")], "02:62:6d:03:01:02");
        let expected = [
            ("02:62:6d:03:00:01", "02:62:6d:03:00:02"),
            ("02:62:6d:03:02:01", "02:62:6d:03:02:02"),
            ("02:62:6d:03:01:01", "02:62:6d:03:01:02"),
        ];
        assert_eq!(joint.cables(), expected);
    }

    #[test]
    fn no_two_ends_have_the_same_address() {
        let joints: Vec<Joint> =
            (1..=4).map(|number| Joint::new(number, &["a", "b", "c"].map(cluster)).expect("few")).collect();
        let all: Vec<&str> = joints.iter().flat_map(|joint| joint.cables()).flat_map(|(a, b)| [a, b]).collect();
        assert_eq!(all.len(), 4 * 4 * 2);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|mac| mac.to_lowercase() == **mac && mac.len() == 17));
    }

    #[test]
    fn what_is_told_can_be_asked_for_again() {
        let share = |kernel: &str, names: &[&str]| Share {
            kernel: kernel.to_owned(),
            clusters: names.iter().map(|name| cluster(name)).collect(),
        };
        let told = written(&[share("5.10", &["alpha", "gamma"]), share("7.3", &["beta"])]);
        assert_eq!(told, "alpha=5.10,gamma=5.10,beta=7.3");
        let words = flags(&told, &topology("t", "alpha beta"));
        assert_eq!(words, ["--kernel-in", "alpha=5.10", "--kernel-in", "beta=7.3"]);
        assert!(flags("", &topology("t", "alpha beta")).is_empty());
    }
}
