//! What a fault cost: a pure function over the requests of its step.

use meshbed_events::{Micros, Outcome, Request, Stopwatch};

use crate::world::InForce;

/// Reads the stopwatch of `fault` from all requests of its step. `next` is when the next fault of the step was injected:
/// what is lost from then on is that one's. `detected` is when the first map changed after the injection, `last_right` when, and on which node, maps became right last.
pub(crate) fn read(
    fault: &InForce,
    next: Option<Micros>,
    requests: &[Request],
    detected: Option<Micros>,
    last_right: Option<&(Micros, String)>,
) -> Stopwatch {
    let hit = |request: &&Request| fault.strike.clusters.iter().any(|cluster| cluster.as_str() == request.cluster);
    let from_dead = |request: &&Request| match &request.outcome {
        Outcome::Answered(answer) => fault
            .strike
            .dead
            .iter()
            .any(|(cluster, ip)| cluster.as_str() == answer.cluster && ip.to_string() == answer.ip),
        Outcome::Failed(_) => false,
    };
    let answered = |request: &&Request| matches!(request.outcome, Outcome::Answered(_));
    let last_answer_of_dead = requests.iter().filter(from_dead).map(|request| request.done).max();
    let first_answer_after = requests
        .iter()
        .filter(|request| request.sent >= fault.injected)
        .filter(hit)
        .filter(|request| answered(request) && !from_dead(request))
        .map(|request| request.done)
        .min();
    let is_its = |request: &&Request| {
        request.done >= fault.injected && next.is_none_or(|next| request.done < next) && !answered(request)
    };
    let lost = || requests.iter().filter(is_its);
    let requests_lost = lost().count();
    let last_error = lost().map(|request| request.done).max();
    let after = last_right.filter(|(at, _)| *at >= fault.injected);
    Stopwatch {
        fault: fault.id,
        step: fault.step,
        target: fault.strike.target.clone(),
        injected: fault.injected,
        last_answer_of_dead,
        first_answer_after,
        detected: detected.filter(|at| *at >= fault.injected),
        last_error,
        requests_lost: requests_lost.try_into().unwrap_or(u64::MAX),
        last_map_right: after.map(|(at, _)| *at),
        last_map_node: after.map(|(_, node)| node.clone()),
    }
}

#[cfg(test)]
mod tests {
    use meshbed_events::{Answer, ErrorKind};

    use super::*;
    use crate::world::Strike;

    fn request(sent: u64, outcome: Outcome) -> Request {
        Request {
            cluster: "alpha".into(),
            client: "x-wing".into(),
            node: "alpha-1".into(),
            service: "default/rebel-base:80".into(),
            sequence: 0,
            sent: Micros(sent),
            done: Micros(sent + 1),
            opened: None,
            outcome,
        }
    }

    fn answer(cluster: &str, ip: &str) -> Outcome {
        Outcome::Answered(Answer { cluster: cluster.into(), pod: "p".into(), ip: ip.into(), status: 200 })
    }

    #[test]
    fn a_kill_is_timed_from_the_injection() {
        let strike = Strike {
            target: "t".into(),
            clusters: ["alpha".parse().expect("valid")].into(),
            dead: [("alpha".parse().expect("valid"), std::net::Ipv4Addr::new(10, 1, 1, 2))].into(),
            ..Strike::default()
        };
        let fault = InForce { id: 0, step: 3, injected: Micros(100), strike, cuts: Vec::new() };
        let requests = [
            request(90, answer("alpha", "10.1.1.2")),
            request(101, Outcome::Failed(ErrorKind::Refused)),
            request(105, Outcome::Failed(ErrorKind::Refused)),
            request(110, answer("beta", "10.2.1.2")),
        ];
        let read = read(&fault, None, &requests, Some(Micros(103)), Some(&(Micros(104), "beta/beta-1".to_owned())));
        assert_eq!(read.last_answer_of_dead, Some(Micros(91)));
        assert_eq!(read.first_answer_after, Some(Micros(111)));
        assert_eq!((read.requests_lost, read.last_error, read.detected), (2, Some(Micros(106)), Some(Micros(103))));
        assert_eq!(
            super::read(&fault, Some(Micros(104)), &requests, None, None).requests_lost,
            1,
            "one is the next fault's"
        );
        assert_eq!((read.last_map_right, read.last_map_node.as_deref()), (Some(Micros(104)), Some("beta/beta-1")));
    }
}
