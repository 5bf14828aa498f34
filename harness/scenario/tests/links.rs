//! The `links:` of a topology.

use std::{num::NonZeroU64, time::Duration};

use meshbed_scenario::{Inbound, LinkConditions, LossRatio, Nat, Topology};
use test_case::test_case;

const CLUSTERS: &str = "\
apiVersion: meshbed.dev/v1alpha1
kind: Topology
name: t
clusters:
- {name: alpha, id: 1, nodeCIDR: 172.18.1.0/24, podCIDR: 10.1.0.0/16, serviceCIDR: 10.101.0.0/16, nodes: [{name: a}]}
- {name: beta, id: 2, nodeCIDR: 172.18.2.0/24, podCIDR: 10.2.0.0/16, serviceCIDR: 10.102.0.0/16, nodes: [{name: b}]}
- {name: gamma, id: 3, nodeCIDR: 198.18.0.0/16, podCIDR: 10.3.0.0/16, serviceCIDR: 10.103.0.0/16, nodes: [{name: c}]}
links:
";

fn topology(links: &str) -> Result<Topology, String> {
    Topology::parse(&format!("{CLUSTERS}{links}"), "t.yaml").map_err(|diagnostics| {
        let findings = diagnostics.findings.iter();
        let lines = findings.map(|one| format!("{}:{} {}: {}", one.line, one.column, one.path, one.message));
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// Each direction in words.
fn in_words(links: &str) -> Vec<String> {
    let topology = topology(links).unwrap_or_else(|findings| panic!("{findings}"));
    let line = |link: &meshbed_scenario::Link| format!("{} -> {}: {}", link.from, link.to, link.conditions);
    topology.links().iter().map(line).collect()
}

#[test]
fn every_condition_is_read() {
    let links = "- {from: alpha, to: beta, delay: 40ms, jitter: 5ms, reorder: true, loss: 0.1%, rate: 1.5mbit, mtu: 1400, \
                 dropPTB: true, down: true, nat: {address: 203.0.113.7, inbound: drop}}\n";
    let topology = topology(links).unwrap();
    let expected = LinkConditions {
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(5),
        reorder: true,
        loss: LossRatio::new(0.001).unwrap(),
        rate: NonZeroU64::new(1_500_000),
        mtu: Some(1400),
        drop_ptb: true,
        down: true,
        nat: Some(Nat { address: Some("203.0.113.7".parse().unwrap()), inbound: Inbound::Drop }),
    };
    assert_eq!(topology.links().len(), 1);
    assert_eq!(topology.links()[0].conditions, expected);
}

#[test]
fn directions_are_named_one_by_one_or_both_at_once() {
    let links = "\
- {from: alpha, to: beta, delay: 1ms}
- {from: beta, to: alpha, loss: 1}
- {between: [alpha, gamma], rate: 64kbit}
- {from: gamma, to: beta, both: true, nat: {address: 192.0.2.1}}
";
    let error = topology(links).unwrap_err();
    assert_eq!(
        error, "12:3 links[3]: NAT address 192.0.2.1 is already used at links[3]",
        "both cannot hide behind one"
    );
    let links = links.replace("nat: {address: 192.0.2.1}", "down: true");
    insta::assert_snapshot!(in_words(&links).join("\n"), @"
    alpha -> beta: delay 1ms
    beta -> alpha: loss 100%
    alpha -> gamma: rate 64000 bit/s
    gamma -> alpha: rate 64000 bit/s
    gamma -> beta: down
    beta -> gamma: down
    ");
}

#[test]
fn topologies_without_links_are_clear() {
    assert_eq!(topology(" []").unwrap().links(), []);
}

const ENDS: &str = "- {from: alpha, to: beta, ";

#[test_case("- {from: alpha, to: betta, down: true}"
    => "9:21 links[0].to: unknown cluster `betta`" ; "unknown cluster")]
#[test_case("- {from: alpha, to: alpha, down: true}"
    => "9:21 links[0].to: a link from `alpha` to itself" ; "same cluster twice")]
#[test_case("- {between: [alpha], down: true}"
    => "9:13 links[0].between: expected two clusters, found 1" ; "one end")]
#[test_case("- {between: [alpha, beta], from: alpha, down: true}"
    => "9:34 links[0].from: `from` beside `between`, which names both directions" ; "two ways of saying it")]
#[test_case("- {down: true}" => "9:3 links[0]: there are no clusters" ; "no ends")]
#[test_case("- {from: alpha, down: true}" => "9:3 links[0]: key `to` is missing" ; "half the ends")]
#[test_case("- {from: beta, to: alpha, down: true}\n- {between: [alpha, beta], loss: 1%}"
    => "10:3 links[1]: the direction from `beta` to `alpha` is already at links[0]" ; "direction given twice")]
#[test_case("- {from: alpha, to: beta}"
    => "9:3 links[0]: there is no condition: a link that is not listed is as good" ; "nothing to say")]
#[test_case("- {from: alpha, to: beta, dellay: 4ms, down: true}"
    => "9:27 links[0].dellay: unknown key `dellay`" ; "unknown key")]
#[test_case("- {from: beta, to: alpha, nat: {address: 10.103.0.9}}"
    => "9:3 links[0]: NAT address 10.103.0.9 is in serviceCIDR 10.103.0.0/16 of `gamma`" ; "NAT address of a cluster")]
fn ends_that_are_wrong(links: &str) -> String {
    topology(links).unwrap_err()
}

#[test]
fn default_nat_addresses_can_be_taken() {
    let error = topology("- {from: alpha, to: gamma, nat: true}").unwrap_err();
    assert_eq!(error, "9:3 links[0]: NAT address 198.18.1.3 is in nodeCIDR 198.18.0.0/16 of `gamma`");
}

#[test_case("loss: 101%" => "expected a share from 0% to 100%, found the text `101%`" ; "too much loss")]
#[test_case("loss: -1%" => "expected a share from 0% to 100%, found the text `-1%`" ; "negative loss")]
#[test_case("loss: 5" => "expected a share from 0% to 100%, found the number `5`" ; "loss above one")]
#[test_case("loss: some" => "expected a share of packets, found the text `some`" ; "loss in words")]
#[test_case("rate: 100" => "`100` has no unit" ; "rate without unit")]
#[test_case("rate: 100mbps" => "`100mbps` is no rate" ; "unknown unit")]
#[test_case("rate: 0mbit" => "expected a rate from 1bit to 1000gbit, found `0mbit`" ; "no rate at all")]
#[test_case("rate: manymbit" => "`manymbit` is no rate" ; "rate in words")]
#[test_case("rate: [1mbit]" => "expected a rate, found a list" ; "rates")]
#[test_case("mtu: 67" => "expected a number from 68 to 65535, found 67" ; "small MTU")]
#[test_case("delay: 40" => "`40` has no unit" ; "delay without unit")]
#[test_case("delay: 1ms, jitter: 2ms" => "the jitter of 2ms is larger than the delay of 1ms" ; "jitter beyond delay")]
#[test_case("delay: 1ms, reorder: true" => "without jitter no packet overtakes another" ; "order without jitter")]
#[test_case("down: perhaps" => "expected `true` or `false`, found the text `perhaps`" ; "half down")]
#[test_case("nat: maybe" => "expected `true` or `false`, found the text `maybe`" ; "half hidden")]
#[test_case("nat: {address: beta}" => "`beta` is no IPv4 address" ; "NAT without address")]
#[test_case("nat: {inbound: reject}" => "unknown word `reject`" ; "unknown NAT")]
fn conditions_that_are_wrong(condition: &str) -> String {
    let findings = topology(&format!("{ENDS}{condition}}}")).unwrap_err();
    let (place, message) = findings.split_once(": ").unwrap();
    assert!(place.starts_with("9:") && place.contains("links[0]."), "{findings}");
    message.to_owned()
}
