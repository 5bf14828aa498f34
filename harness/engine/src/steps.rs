//! Runs the steps of a scenario: actions in order, settling, a steady window, expectations.

use std::{sync::OnceLock, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use meshbed_events::{Event, Micros, Request, SourcePlace, StepOutcome};
use meshbed_scenario::{Located, Settle, When};
use tokio::time::{Instant, timeout_at};

use crate::{
    expect::{About, Look},
    fault::FaultError,
    fence,
    language::{Act, Expected, Step},
    probe::lock,
    stage::{Stage, StepError},
    world::World,
};

/// How long maps may differ from the truth once the Kubernetes API has settled, when the step does not say. Propagation
/// takes milliseconds; on an emulated or overloaded machine it is still far below this.
pub(crate) const MAPS_WAIT_MAX: Duration = Duration::from_secs(10);
/// The steady window may take this many times as long as its requests need at the probe's rate.
const STEADY_SLACK: u32 = 10;
/// Time between two looks at what has no notification (an etcd, the status of a process) while an expectation may
/// still come true.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Stage {
    /// Runs step `index` and records how it ended.
    pub(crate) async fn run(&self, index: usize) -> StepOutcome {
        let step = self.scenario.steps()[index].clone();
        let limits = step.maps.unwrap_or(self.scenario.maps());
        lock(&self.world).step_started(index, &step.name, place(&step.at), limits);
        let result = self.perform(index, &step).await;
        if lock(&self.world).has_unjudged() {
            fence::compare(&self.clusters, &self.world).await;
        }
        let violations = lock(&self.world).step_ends();
        let (outcome, findings) = match result {
            Ok(true) if violations == 0 => (StepOutcome::Passed, Vec::new()),
            Ok(_) => (StepOutcome::Failed, Vec::new()),
            Err(error) => (outcome_of(&error), error.findings()),
        };
        let mut world = lock(&self.world);
        if !findings.is_empty() {
            let expectation = "the actions succeed and the mesh settles".to_owned();
            let place = Some(place(&step.at));
            world.emit(Event::Expectation { step: index, expectation, place, findings });
        }
        world.emit(Event::StepFinished { step: index, outcome });
        world.recorder().flush();
        outcome
    }

    async fn perform(&self, index: usize, step: &Step) -> Result<bool, StepError> {
        let began = lock(&self.world).step_began();
        let watching: Vec<_> = step.expectations.iter().filter(|one| one.value.when == When::Never).collect();
        // A state that held for a moment has happened, whatever it is in the end.
        let seen: Vec<OnceLock<String>> = watching.iter().map(|_| OnceLock::new()).collect();
        let watches = watching.iter().zip(&seen).map(|(one, seen)| self.watch(began, &one.value, seen));
        let never = futures::future::join_all(watches);
        tokio::pin!(never);
        // What must never happen is watched from the first action on, and until all else is judged.
        let rest = self.act_and_judge(index, step);
        tokio::pin!(rest);
        let held = tokio::select! {
            biased;
            held = &mut rest => held?,
            _ = &mut never => (&mut rest).await?,
        };
        let mut all = held;
        for (one, seen) in watching.iter().zip(&seen) {
            let happened = match seen.get() {
                Some(happened) => Some(happened.clone()),
                None => self.happened(began, &one.value).await?,
            };
            all &= self.report(index, one, happened.into_iter().collect());
        }
        Ok(all)
    }

    async fn act_and_judge(&self, index: usize, step: &Step) -> Result<bool, StepError> {
        for action in &step.actions {
            self.act(&action.value).await?;
        }
        let acted = lock(&self.world).step_acted();
        let mut held = self.come_true(index, step, acted).await?;
        match step.settle {
            Settle::No => {}
            Settle::Yes => self.settle(MAPS_WAIT_MAX.mul_f64(self.scenario.slowness())).await?,
            Settle::Within(wait_max) => self.settle(wait_max).await?,
        }
        lock(&self.world).step_settled();
        self.steady_window(step).await?;
        for expected in step.expectations.iter().filter(|one| one.value.when == When::AtEnd) {
            let steady = lock(&self.world).steady().to_vec();
            let look = Look { stage: self, requests: &steady };
            let findings = expected.value.expect.0.judge(&look).await?;
            held &= self.report(index, expected, findings);
        }
        for expected in step.expectations.iter() {
            if let When::Within(time) = expected.value.when
                && expected.value.expect.0.about() == About::Requests
            {
                held &= self.judge_from(index, expected, acted, time).await?;
            }
        }
        Ok(held)
    }

    fn act<'a>(&'a self, act: &'a Act) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            match act {
                Act::Do(action) => action.0.perform(self).await,
                Act::StartProbe(name) => self.start_probe(name).await,
                Act::StopProbe(name) => {
                    self.stop_probe(name).await;
                    Ok(())
                }
                Act::Fault { name, fault } => self.inject(name, fault).await,
                Act::Heal(name) => self.heal(name).await,
                Act::Parallel(acts) => {
                    let all = acts.iter().map(|act| self.act(&act.value));
                    futures::future::try_join_all(all).await.map(drop)
                }
            }
        }
        .boxed()
    }

    // ---- expectations ----

    /// Records what came of an expectation.
    fn report(&self, index: usize, expected: &Located<Expected>, findings: Vec<String>) -> bool {
        let held = findings.is_empty();
        let words = expected.value.expect.0.words();
        let expectation = match expected.value.when {
            When::AtEnd => words,
            When::Within(time) => format!("within {}: {words}", humantime::format_duration(time)),
            When::Never => format!("never: {words}"),
        };
        let place = Some(place(expected));
        lock(&self.world).emit(Event::Expectation { step: index, expectation, place, findings });
        held
    }

    /// Waits for each expectation about a state that must come true in time.
    async fn come_true(&self, index: usize, step: &Step, acted: Micros) -> Result<bool, StepError> {
        let mut held = true;
        for expected in &step.expectations {
            let When::Within(time) = expected.value.when else { continue };
            if expected.value.expect.0.about() != About::State {
                continue;
            }
            let left = time.saturating_sub(lock(&self.world).clock.now().since(acted));
            let deadline = Instant::now() + left;
            let findings = loop {
                let findings = expected.value.expect.0.judge(&Look { stage: self, requests: &[] }).await?;
                if findings.is_empty() || !self.changed_before(deadline).await {
                    break findings;
                }
            };
            held &= self.report(index, expected, findings);
        }
        Ok(held)
    }

    /// Waits until something may have changed; `false` when the deadline has passed.
    async fn changed_before(&self, deadline: Instant) -> bool {
        if Instant::now() >= deadline {
            return false;
        }
        let mut changes = lock(&self.world).changes();
        changes.mark_unchanged();
        let next = deadline.min(Instant::now() + LOOK_EVERY);
        // Whether it was a change or the time: both are a reason to look again.
        let _either = timeout_at(next, changes.changed()).await.is_err();
        true
    }

    /// Judges requests that were sent `time` after the actions or later.
    async fn judge_from(
        &self,
        index: usize,
        expected: &Located<Expected>,
        acted: Micros,
        time: Duration,
    ) -> Result<bool, StepError> {
        let from = Micros(acted.0.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)));
        let later = |world: &World| -> Vec<Request> {
            world.requests().iter().filter(|request| request.sent >= from).cloned().collect()
        };
        let wanted = usize::try_from(expected.value.expect.0.requests_wanted()).unwrap_or(usize::MAX);
        self.wait(self.scenario.deadline() + time, |world| {
            let found = later(world).len();
            if found < wanted { vec![format!("{found} of {wanted} requests")] } else { Vec::new() }
        })
        .await?;
        let requests = later(&lock(&self.world));
        let findings = expected.value.expect.0.judge(&Look { stage: self, requests: &requests }).await?;
        Ok(self.report(index, expected, findings))
    }

    /// Ends when what must never happen has happened, and says how in `seen`.
    async fn watch(&self, began: Micros, expected: &Expected, seen: &OnceLock<String>) {
        loop {
            if let Ok(Some(happened)) = self.happened(began, expected).await {
                seen.get_or_init(|| happened);
                return;
            }
            self.changed_before(Instant::now() + LOOK_EVERY).await;
        }
    }

    async fn happened(&self, began: Micros, expected: &Expected) -> Result<Option<String>, StepError> {
        let requests: Vec<Request> =
            lock(&self.world).requests().iter().filter(|request| request.sent >= began).cloned().collect();
        expected.expect.0.happened(&Look { stage: self, requests: &requests }).await
    }

    // ---- conditions ----

    /// Waits until Kubernetes has settled and all maps hold what they should.
    pub(crate) async fn settle(&self, maps_wait_max: Duration) -> Result<(), StepError> {
        self.wait(self.scenario.deadline(), World::unsettled_objects).await?;
        let both = |world: &World| {
            let mut reasons = world.unsettled_objects();
            reasons.extend(world.wrong_maps());
            if !world.maps_read_since_acting() {
                reasons.push("the maps were not read yet since the actions".to_owned());
            }
            reasons
        };
        match self.wait(maps_wait_max, both).await {
            Err(StepError::Unsettled { waited, .. }) => {
                let (objects, maps) = {
                    let world = lock(&self.world);
                    (world.unsettled_objects(), world.wrong_maps())
                };
                if objects.is_empty() {
                    Err(StepError::MapsWrong { waited, reasons: maps })
                } else {
                    Err(StepError::Unsettled { waited, reasons: objects })
                }
            }
            other => other,
        }
    }

    async fn steady_window(&self, step: &Step) -> Result<(), StepError> {
        let wanted = u64::from(step.steady_requests);
        let slowest = self.scenario.probes().iter().map(|probe| probe.rate.get()).min().unwrap_or(1);
        let timeouts: Duration = self.scenario.probes().iter().map(|probe| probe.timeout).sum();
        let wait_max =
            timeouts + Duration::from_secs(1) * step.steady_requests.div_ceil(slowest).saturating_mul(STEADY_SLACK);
        let missing = |world: &World| match world.steady_requests() {
            Some(found) if found < wanted => vec![found.to_string()],
            _ => Vec::new(),
        };
        match self.wait(wait_max, missing).await {
            Err(StepError::Unsettled { waited, reasons }) => {
                let found = reasons.first().and_then(|text| text.parse().ok()).unwrap_or(0);
                Err(StepError::Unsteady { waited, found, wanted: step.steady_requests })
            }
            other => other,
        }
    }
}

/// Where something stands, for events.
fn place<T>(located: &Located<T>) -> SourcePlace {
    SourcePlace {
        file: located.file.display().to_string(),
        line: located.position.line,
        column: located.position.column,
    }
}

fn outcome_of(error: &StepError) -> StepOutcome {
    match error {
        StepError::Fault { source: FaultError::NoWitness { .. } | FaultError::NoTarget { .. }, .. } => {
            StepOutcome::Invalid
        }
        StepError::Unsettled { .. } | StepError::Unsteady { .. } => StepOutcome::TimedOut,
        StepError::Kubernetes(_)
        | StepError::Manifest { .. }
        | StepError::Fault { .. }
        | StepError::Probe { .. }
        | StepError::NoClients { .. }
        | StepError::Pod { .. }
        | StepError::Action { .. }
        | StepError::MapsWrong { .. } => StepOutcome::Failed,
    }
}
