//! Conditions: checked, brought into force and told.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use mesh_types::ClusterName;
use meshbed_scenario::{LinkConditions, default_nat_address};

use crate::{
    Config, ConfigCluster, Counters, Direction, SetError, WanError,
    barrier::wait_for_packets_under_way,
    divert::{Diversion, Diverter},
    error::Act,
    forwarder::{Ended, Forwarder},
    router::{Cluster, Router, Segment, Setting, Way},
};

/// Least MTU of a link: every IPv4 link passes 68 bytes (RFC 791).
pub(crate) const MTU_MIN: u16 = 68;

/// What is in force, and the means to change it.
#[derive(Debug)]
pub(crate) struct Controller {
    config: Config,
    settings: BTreeMap<Way, Setting>,
    /// Clusters that have a device.
    devices: BTreeSet<Cluster>,
    diverter: Diverter,
    forwarder: Forwarder,
}

impl Controller {
    /// Starts in the calling thread's namespace, with the conditions of `config` in force.
    pub(crate) async fn start(config: Config, seed: u64) -> Result<Self, SetError> {
        let segments = config.clusters.iter();
        let segments = segments.map(|cluster| Segment { cidrs: cluster.cidrs.clone(), router: cluster.router });
        let router = Router::new(segments.collect(), seed);
        let forwarder = Forwarder::start(router).act(|| "start the thread that forwards packets".to_owned())?;
        let mut controller = Self {
            config,
            settings: BTreeMap::new(),
            devices: BTreeSet::new(),
            diverter: Diverter::new().await?,
            forwarder,
        };
        controller.reset().await?;
        Ok(controller)
    }

    /// Replaces the conditions from `from` to `to`; they are in force when this returns.
    pub(crate) async fn set(
        &mut self,
        from: &ClusterName,
        to: &ClusterName,
        conditions: LinkConditions,
    ) -> Result<(), SetError> {
        let way = self.way(from, to)?;
        let setting = self.check(way, conditions)?;
        self.apply(way, setting).await
    }

    /// Gives every direction the conditions of the configuration.
    pub(crate) async fn reset(&mut self) -> Result<(), SetError> {
        let links = self.config.links.clone();
        let mut initial = BTreeMap::new();
        for link in links {
            initial.insert(self.way(&link.from, &link.to)?, link.conditions);
        }
        // What goes comes first: it may use an address that something else had from the start.
        let others: Vec<Way> = self.settings.keys().filter(|way| !initial.contains_key(way)).copied().collect();
        for way in others {
            self.apply(way, Setting { conditions: LinkConditions::default(), nat_address: None }).await?;
        }
        for (way, conditions) in initial {
            let setting = self.check(way, conditions)?;
            if self.settings.get(&way) != Some(&setting) {
                self.apply(way, setting).await?;
            }
        }
        Ok(())
    }

    /// All directions that have conditions or have seen packets.
    pub(crate) async fn directions(&self) -> Result<Vec<Direction>, SetError> {
        let clusters = 0..self.config.clusters.len();
        let ways: Vec<Way> = clusters.clone().flat_map(|from| clusters.clone().map(move |to| (from, to))).collect();
        let counters = self.forwarder.counters(ways.clone()).await?;
        let mut directions = Vec::new();
        for (way, counters) in ways.into_iter().zip(counters) {
            let conditions = self.settings.get(&way).map(|setting| setting.conditions.clone()).unwrap_or_default();
            if !conditions.is_clear() || counters != Counters::default() {
                let name = |cluster: Cluster| self.config.clusters[cluster].name.clone();
                directions.push(Direction { from: name(way.0), to: name(way.1), conditions, counters });
            }
        }
        Ok(directions)
    }

    fn way(&self, from: &ClusterName, to: &ClusterName) -> Result<Way, SetError> {
        let position = |name: &ClusterName| {
            let found = self.config.clusters.iter().position(|cluster| cluster.name == *name);
            found.ok_or_else(|| SetError::UnknownCluster(name.clone()))
        };
        let way = (position(from)?, position(to)?);
        if way.0 == way.1 { Err(SetError::SameCluster(from.clone())) } else { Ok(way) }
    }

    fn check(&self, way: Way, conditions: LinkConditions) -> Result<Setting, SetError> {
        if let Some(mtu) = conditions.mtu.filter(|mtu| *mtu < MTU_MIN) {
            return Err(SetError::MtuTooSmall(mtu));
        }
        let nat_address = match &conditions.nat {
            None => None,
            Some(nat) => {
                let (from, to) = (&self.config.clusters[way.0], &self.config.clusters[way.1]);
                let address = nat.address.or_else(|| default_nat_address(from.id, to.id));
                let address = address.ok_or_else(|| SetError::NoNatAddress(from.name.clone()))?;
                self.check_nat_address(way, address)?;
                Some(address)
            }
        };
        Ok(Setting { conditions, nat_address })
    }

    fn check_nat_address(&self, way: Way, address: Ipv4Addr) -> Result<(), SetError> {
        let in_use = |holder: String| SetError::NatAddressInUse { address, holder };
        let owns = |cluster: &&ConfigCluster| cluster.cidrs.iter().any(|cidr| cidr.contains(&address));
        if let Some(owner) = self.config.clusters.iter().find(owns) {
            return Err(in_use(format!("cluster `{}`", owner.name)));
        }
        let same = |(other, setting): &(&Way, &Setting)| **other != way && setting.nat_address == Some(address);
        if let Some(((from, to), _)) = self.settings.iter().find(same) {
            let name = |cluster: Cluster| &self.config.clusters[cluster].name;
            return Err(in_use(format!("the link from `{}` to `{}`", name(*from), name(*to))));
        }
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
            return Err(in_use("no host".to_owned()));
        }
        Ok(())
    }

    async fn apply(&mut self, way: Way, setting: Setting) -> Result<(), SetError> {
        let before = self.settings.get(&way).cloned();
        let result = self.try_apply(way, setting).await;
        if result.is_err() {
            let clear = Setting { conditions: LinkConditions::default(), nat_address: None };
            if let Err(error) = self.try_apply(way, before.unwrap_or(clear)).await {
                tracing::error!(%error, "the conditions before could not be restored");
            }
        }
        result
    }

    /// The order matters: packets are diverted only to a router that knows what to do with them, and one that knows keeps
    /// getting them until nothing is to be done with them.
    async fn try_apply(&mut self, way: Way, setting: Setting) -> Result<(), SetError> {
        if setting.conditions.is_clear() {
            self.settings.remove(&way);
        } else {
            self.settings.insert(way, setting.clone());
        }
        let wanted = self.diversions();
        for cluster in self.clusters_with_diversions() {
            if !self.devices.contains(&cluster) {
                let tun = self.diverter.make_device(self.config.clusters[cluster].id).await?;
                self.forwarder.add_device(cluster, tun).await?;
                self.devices.insert(cluster);
            }
        }
        self.forwarder.set(way, setting).await?;
        self.diverter.add(&wanted).await?;
        self.diverter.remove_others(&wanted).await?;
        wait_for_packets_under_way().act(|| "wait for packets under way".to_owned())?;
        Ok(())
    }

    /// Directions whose packets are handed over: those with conditions, and the ways back of those with NAT.
    fn diverted(&self) -> BTreeSet<Way> {
        let there = self.settings.keys().copied();
        let with_nat = self.settings.iter().filter(|(_, setting)| setting.nat_address.is_some());
        there.chain(with_nat.map(|(&(from, to), _)| (to, from))).collect()
    }

    fn clusters_with_diversions(&self) -> BTreeSet<Cluster> {
        self.diverted().into_iter().map(|(from, _)| from).collect()
    }

    fn diversions(&self) -> BTreeSet<Diversion> {
        let clusters = &self.config.clusters;
        let incoming = self.diverted().into_iter().flat_map(|(from, to)| {
            clusters[to].cidrs.iter().map(move |destination| Diversion::Incoming {
                interface: clusters[from].interface.clone(),
                destination: *destination,
                id: clusters[from].id,
            })
        });
        let hidden = self.settings.iter().filter_map(|(&(_, to), setting)| {
            Some(Diversion::Hidden { address: setting.nat_address?, id: clusters[to].id })
        });
        incoming.chain(hidden).collect()
    }
}

impl From<Ended> for SetError {
    fn from(ended: Ended) -> Self {
        Self::System(WanError {
            act: "tell the thread that forwards packets".to_owned(),
            source: std::io::Error::other(ended),
        })
    }
}
