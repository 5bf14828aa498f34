//! Schema of the conditions of a link.

use serde_json::json;

use super::{Json, any_of, boolean, described, duration, integer, object, placeholder, words};

/// The keys of conditions, and their schemas.
pub(crate) fn link_conditions() -> Vec<(&'static str, Json)> {
    let share = any_of([
        json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        json!({ "type": "string", "pattern": "^[0-9.]+ *%$" }),
        placeholder(),
    ]);
    let rate = json!({ "type": "string", "pattern": "^[0-9.]+ *[gmk]?bit$|\\$\\{" });
    let address = json!({ "type": "string", "format": "ipv4" });
    let nat = [
        ("address", described(address, "The address; one from 198.18.0.0/16 when it is not given.")),
        ("inbound", described(words(&["pass", "drop"]), "What happens to connections from the other side.")),
    ];
    vec![
        ("delay", described(duration(), "Time that every packet takes in addition.")),
        ("jitter", described(duration(), "Delays are drawn evenly from `delay - jitter` to `delay + jitter`.")),
        ("reorder", described(boolean(), "Whether jitter may change the order of packets.")),
        ("loss", described(share, "Share of the packets that is lost, such as `0.1%`.")),
        ("rate", described(rate, "Bits per second of IP packets, such as `100mbit`.")),
        ("mtu", described(integer(68, 65_535), "Largest IP packet in bytes, headers included.")),
        (
            "dropPTB",
            described(boolean(), "No message tells the sender that a packet was too large: a path MTU black hole."),
        ),
        ("down", described(boolean(), "Nothing passes.")),
        ("nat", described(any_of([boolean(), object(nat, &[])]), "Source addresses are hidden behind one address.")),
    ]
}
