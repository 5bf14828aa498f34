//! Who answered within the last second.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use meshbed_events::{Event, Micros, Outcome, Stamped};

use super::AnswersView;

/// How far back answers are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Requests that ended lately.
#[derive(Debug, Default)]
pub(super) struct Recent {
    requests: VecDeque<Ended>,
}

#[derive(Debug)]
struct Ended {
    at: Micros,
    asking: String,
    /// `None` when it was not answered.
    answering: Option<String>,
}

/// Takes note of an event, if it is a request.
pub(super) fn note(recent: &Mutex<Recent>, stamped: &Stamped) {
    let Event::Request(request) = &stamped.event else { return };
    let answering = match &request.outcome {
        Outcome::Answered(answer) => Some(answer.cluster.clone()),
        Outcome::Failed(_) => None,
    };
    let ended = Ended { at: request.done, asking: request.cluster.clone(), answering };
    let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
    recent.forget(request.done);
    recent.requests.push_back(ended);
}

impl Recent {
    fn forget(&mut self, now: Micros) {
        while self.requests.front().is_some_and(|ended| now.since(ended.at) > WINDOW) {
            self.requests.pop_front();
        }
    }

    /// One line for each cluster that asks, also when nobody answers it.
    pub(super) fn answers(&mut self, now: Micros, asking: &BTreeSet<String>) -> Vec<AnswersView> {
        self.forget(now);
        let view = |cluster: &String| {
            let mut view = AnswersView { asking: cluster.clone(), ..AnswersView::default() };
            for ended in self.requests.iter().filter(|ended| ended.asking == *cluster) {
                match &ended.answering {
                    Some(answering) => *view.from.entry(answering.clone()).or_default() += 1,
                    None => view.errors += 1,
                }
            }
            view
        };
        asking.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_second_counts() {
        let mut recent = Recent::default();
        for (at, answering) in [(0, Some("alpha")), (900_000, Some("beta")), (1_500_000, None)] {
            let answering = answering.map(str::to_owned);
            recent.requests.push_back(Ended { at: Micros(at), asking: "alpha".to_owned(), answering });
        }
        let asking = ["alpha".to_owned(), "beta".to_owned()].into_iter().collect();
        let answers = recent.answers(Micros(1_600_000), &asking);
        assert_eq!((answers[0].from.len(), answers[0].from["beta"], answers[0].errors), (1, 1, 1));
        assert_eq!(answers[1], AnswersView { asking: "beta".to_owned(), ..AnswersView::default() });
    }
}
