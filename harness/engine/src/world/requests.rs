//! What clients asked and who answered, judged by the oracle.

use mesh_types::ClusterName;
use meshbed_events::{Event, Micros, Request};
use meshbed_oracle::{Asked, Judgement};

use super::{World, asked};

impl World {
    /// A client that sends requests from now on.
    pub(crate) fn client(&mut self, cluster: &ClusterName, pod: &str) {
        self.clients.insert((cluster.to_string(), pod.to_owned()));
    }

    /// A client that sends no more.
    pub(crate) fn client_stopped(&mut self, cluster: &ClusterName, pod: &str) {
        self.clients.remove(&(cluster.to_string(), pod.to_owned()));
        self.bump();
    }

    pub(crate) fn request(&mut self, request: Request) {
        self.recorder.push(request.done, Event::Request(request.clone()));
        if let Some(running) = &mut self.running {
            running.all.push(request.clone());
            let client = (request.cluster.clone(), request.client.clone());
            *running.by_client.entry(client.clone()).or_default() += 1;
            if running.settled.is_some_and(|settled| request.sent >= settled) {
                *running.steady_by_client.entry(client).or_default() += 1;
                running.steady.push(request.clone());
            }
        }
        if let Some(asked) = asked::asked(&request) {
            self.pending.push_back((request, asked));
        }
        self.bump();
    }

    /// Fewest steady requests that any client has finished; `None` when there are no clients.
    pub(crate) fn steady_requests(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        self.clients.iter().map(|client| running.steady_by_client.get(client).copied().unwrap_or(0)).min()
    }

    /// Fewest requests that any client has finished since the step began; `None` when there are no clients.
    pub(crate) fn requests_of_slowest_client(&self) -> Option<u64> {
        let running = self.running.as_ref()?;
        self.clients.iter().map(|client| running.by_client.get(client).copied().unwrap_or(0)).min()
    }

    /// Whether requests or maps wait to be judged.
    pub(crate) fn has_unjudged(&self) -> bool {
        !self.pending.is_empty() || !self.all_maps_right()
    }

    /// Our watches have brought everything that was true at `until`: requests that were done by then can be judged.
    pub(crate) fn heard(&mut self, until: Micros) {
        let now = self.clock.now();
        self.heard = self.heard.max(until);
        while let Some((_, asked)) = self.pending.front()
            && asked.done <= until
            && self.oracle.judgeable_from(asked) <= now
        {
            if let Some((request, asked)) = self.pending.pop_front() {
                self.judge(&request, &asked, now);
            }
        }
    }

    /// Judges a request by what was heard of until `heard`.
    pub(super) fn judge(&mut self, request: &Request, asked: &Asked, heard: Micros) {
        let Judgement::Wrong { message } = self.oracle.judge(asked, heard) else { return };
        self.violation(format!("client `{}`, request {}: {message}", request.client, request.sequence));
    }
}
