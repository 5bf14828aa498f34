//! Conditions of links: in a topology's `links:`, and wherever else a link is impaired.

use std::{net::Ipv4Addr, num::NonZeroU64, time::Duration};

use mesh_types::ClusterName;

use crate::{
    Inbound, LinkConditions, LossRatio, Nat, suggest,
    walk::{Cursor, Fields, Findings},
};

/// Keys of [`link_conditions`].
pub(crate) const LINK_CONDITION_KEYS: [&str; 9] =
    ["delay", "jitter", "reorder", "loss", "rate", "mtu", "dropPTB", "down", "nat"];
/// Keys of [`link_ends`].
pub(crate) const LINK_END_KEYS: [&str; 4] = ["from", "to", "both", "between"];

/// Smallest MTU: what every IPv4 link passes (RFC 791).
const MTU_MIN: u64 = 68;
/// Largest MTU: the largest IPv4 packet.
const MTU_MAX: u64 = 65_535;
/// Units of rates in bits per second, as tc(8) writes them, the longest first.
const RATE_UNITS: [(&str, u64); 4] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];

/// Reads what happens to packets, from the keys [`LINK_CONDITION_KEYS`] of a mapping. Keys that are not there change
/// nothing. `None` only after a finding.
pub(crate) fn link_conditions(findings: &mut Findings, fields: &Fields<'_>) -> Option<LinkConditions> {
    let delay = optional(fields, "delay", |at| at.duration(findings, Duration::ZERO));
    let jitter = optional(fields, "jitter", |at| at.duration(findings, Duration::ZERO));
    let reorder = optional(fields, "reorder", |at| at.boolean(findings));
    let loss = optional(fields, "loss", |at| loss(findings, at));
    let rate = optional(fields, "rate", |at| rate(findings, at).map(Some));
    let mtu = optional(fields, "mtu", |at| mtu(findings, at).map(Some));
    let drop_ptb = optional(fields, "dropPTB", |at| at.boolean(findings));
    let down = optional(fields, "down", |at| at.boolean(findings));
    let nat = optional(fields, "nat", |at| nat(findings, at));
    let conditions = LinkConditions {
        delay: delay?,
        jitter: jitter?,
        reorder: reorder?,
        loss: loss?,
        rate: rate?,
        mtu: mtu?,
        drop_ptb: drop_ptb?,
        down: down?,
        nat: nat?,
    };
    check_jitter(findings, fields, &conditions);
    Some(conditions)
}

/// Reads the directions that are meant, from the keys [`LINK_END_KEYS`] of a mapping: `from` and `to`, also with
/// `both: true`, or `between`. `known` are the clusters there are. `None` only after a finding.
pub(crate) fn link_ends(
    findings: &mut Findings,
    of: &Cursor<'_>,
    fields: &Fields<'_>,
    known: &[ClusterName],
) -> Option<Vec<(ClusterName, ClusterName)>> {
    let (ends, both) = match fields.optional("between") {
        Some(between) => {
            for key in ["from", "to", "both"] {
                if let Some(at) = fields.optional(key) {
                    findings.report(&at, format!("`{key}` beside `between`, which names both directions"), None);
                    return None;
                }
            }
            let items = between.items(findings)?;
            let [one, other] = items.as_slice() else {
                findings.report(&between, format!("expected two clusters, found {}", items.len()), None);
                return None;
            };
            ([one.clone(), other.clone()], true)
        }
        None => {
            if ["from", "to"].iter().all(|key| fields.optional(key).is_none()) {
                let hint = "write `from` and `to`, or `between: [one, other]` for both directions";
                findings.report(of, "there are no clusters", Some(hint.to_owned()));
                return None;
            }
            let (from, to) = (fields.required(findings, "from"), fields.required(findings, "to"));
            let both = optional(fields, "both", |at| at.boolean(findings));
            ([from?, to?], both?)
        }
    };
    let [from, to] = ends.each_ref().map(|at| cluster(findings, at, known));
    let (from, to) = (from?, to?);
    if from == to {
        findings.report(&ends[1], format!("a link from `{from}` to itself"), None);
        return None;
    }
    let back = both.then(|| (to.clone(), from.clone()));
    Some([(from, to)].into_iter().chain(back).collect())
}

/// The default when the key is not there; `None` when its value is no good.
fn optional<'a, T: Default>(fields: &Fields<'a>, key: &str, read: impl FnOnce(&Cursor<'a>) -> Option<T>) -> Option<T> {
    fields.optional(key).map_or_else(|| Some(T::default()), |at| read(&at))
}

fn cluster(findings: &mut Findings, at: &Cursor<'_>, known: &[ClusterName]) -> Option<ClusterName> {
    let text = at.text(findings)?;
    let found = known.iter().find(|name| name.as_str() == text).cloned();
    if found.is_none() {
        let hint = suggest::hint(text, known.iter().map(ClusterName::as_str), "clusters");
        findings.report(at, format!("unknown cluster `{text}`"), Some(hint));
    }
    found
}

fn loss(findings: &mut Findings, at: &Cursor<'_>) -> Option<LossRatio> {
    let text = at.scalar();
    let ratio = text.and_then(|text| match text.strip_suffix('%') {
        Some(percent) => Some(percent.trim_end().parse::<f64>().ok()? / 100.0),
        None => text.parse().ok(),
    });
    let Some(ratio) = ratio else {
        let message = format!("expected a share of packets, found {}", at.kind());
        findings.report(at, message, Some("a share is like `0.1%` or `0.001`".to_owned()));
        return None;
    };
    let loss = LossRatio::new(ratio);
    if loss.is_none() {
        findings.report(at, format!("expected a share from 0% to 100%, found {}", at.kind()), None);
    }
    loss
}

fn rate(findings: &mut Findings, at: &Cursor<'_>) -> Option<NonZeroU64> {
    let hint = || Some("a rate is like `100mbit`, `1.5gbit` or `64kbit`, per second".to_owned());
    let Some(text) = at.scalar() else {
        findings.report(at, format!("expected a rate, found {}", at.kind()), hint());
        return None;
    };
    let Some((number, unit)) = RATE_UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
    else {
        let message = if text.parse::<f64>().is_ok() { "has no unit" } else { "is no rate" };
        findings.report(at, format!("`{text}` {message}"), hint());
        return None;
    };
    let Ok(number) = number.trim_end().parse::<f64>() else {
        findings.report(at, format!("`{text}` is no rate"), hint());
        return None;
    };
    let bits = number * exactly(unit);
    let (least, most) = (1.0, exactly(RATE_MAX));
    if !(least..=most).contains(&bits) {
        findings.report(at, format!("expected a rate from 1bit to 1000gbit, found `{text}`"), None);
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
    let bits = bits.round() as u64;
    NonZeroU64::new(bits)
}

/// Largest rate, in bits per second: a thousand times what the router can do.
const RATE_MAX: u64 = 1_000_000_000_000;

/// Numbers up to 2^53 are exact.
#[expect(clippy::cast_precision_loss, reason = "only used for numbers below 2^53")]
fn exactly(number: u64) -> f64 {
    number as f64
}

fn mtu(findings: &mut Findings, at: &Cursor<'_>) -> Option<u16> {
    let number = at.number(findings, MTU_MIN, MTU_MAX)?;
    Some(u16::try_from(number).expect("the range was checked"))
}

/// `true`, `false`, or a mapping.
fn nat(findings: &mut Findings, at: &Cursor<'_>) -> Option<Option<Nat>> {
    if at.scalar().is_some() {
        return Some(at.boolean(findings)?.then(Nat::default));
    }
    let fields = at.fields(findings, &["address", "inbound"])?;
    let address = optional(&fields, "address", |at| {
        let text = at.text(findings)?;
        let address = text.parse::<Ipv4Addr>();
        if address.is_err() {
            let hint = Some("an address is like `203.0.113.7`".to_owned());
            findings.report(at, format!("`{text}` is no IPv4 address"), hint);
        }
        address.ok().map(Some)
    });
    let inbound = optional(&fields, "inbound", |at| match at.text(findings)? {
        "pass" => Some(Inbound::Pass),
        "drop" => Some(Inbound::Drop),
        other => {
            let hint = suggest::hint(other, ["pass", "drop"], "words");
            findings.report(at, format!("unknown word `{other}`"), Some(hint));
            None
        }
    });
    Some(Some(Nat { address: address?, inbound: inbound? }))
}

fn check_jitter(findings: &mut Findings, fields: &Fields<'_>, conditions: &LinkConditions) {
    let LinkConditions { delay, jitter, reorder, .. } = conditions;
    if let Some(at) = fields.optional("jitter").filter(|_| jitter > delay) {
        let (jitter, delay) = (humantime::format_duration(*jitter), humantime::format_duration(*delay));
        let hint = Some("delays are drawn from `delay - jitter` to `delay + jitter`".to_owned());
        findings.report(&at, format!("the jitter of {jitter} is larger than the delay of {delay}"), hint);
    }
    if let Some(at) = fields.optional("reorder").filter(|_| *reorder && jitter.is_zero()) {
        findings.report(&at, "without jitter no packet overtakes another", None);
    }
}
