//! Watches: the changes of a kind as a stream of lines.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::Response;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use super::accept::Form;
use super::api::{Api, Call};
use super::body::{self, Body};
use super::list::Filter;
use super::table::{Include, Tables, metadata_only};
use crate::cluster::Cluster;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::misbehaviour::{Influence, Turn};
use crate::store::{Change, EventType, Object, State, frame};

/// How long a watch lasts that says nothing about it; kube-apiserver takes 30 to 60 minutes.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How often watchers are told the revision that they are at, as in kube-apiserver.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);

/// Whether the client takes bookmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bookmarks {
    Yes,
    No,
}

/// Makes lines in the form that the client wants.
struct Printer {
    kind: Kind,
    form: Form,
    tables: Tables,
}

impl Printer {
    fn change(&self, change: &Change, event_type: EventType) -> Bytes {
        match self.form {
            // The common form is made once for all watchers.
            Form::Whole => change.frame(event_type),
            _ => self.object(&change.object, event_type),
        }
    }

    fn object(&self, object: &Object, event_type: EventType) -> Bytes {
        let word = event_type.as_str();
        match self.form {
            Form::Whole => frame(word, &object.json()),
            Form::Metadata => frame(word, metadata_only(object.value()).to_string().as_bytes()),
            Form::Table => {
                let metadata = json!({"resourceVersion": object.value()["metadata"]["resourceVersion"]});
                frame(word, self.tables.render([object.value()], metadata).to_string().as_bytes())
            }
        }
    }

    fn bookmark(&self, revision: u64, annotations: Option<Value>) -> Bytes {
        let resource = self.kind.resource();
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if let Some(annotations) = annotations {
            metadata["annotations"] = annotations;
        }
        let object = match self.form {
            Form::Whole => json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata}),
            Form::Metadata => metadata_only(&json!({"metadata": metadata})),
            Form::Table => self.tables.render([], metadata),
        };
        frame("BOOKMARK", object.to_string().as_bytes())
    }
}

/// One line of a watch stream.
struct Line {
    text: Bytes,
    /// Not to go out earlier.
    due: Option<Instant>,
}

impl Line {
    /// A line that may go out at once.
    fn now(text: Bytes) -> Self {
        Self { text, due: None }
    }
}

/// One watch under way.
struct Watch {
    cluster: Arc<Cluster>,
    printer: Printer,
    filter: Filter,
    influence: Influence,
    /// Lines to go out, in their order.
    ready: VecDeque<Line>,
    changes: Receiver<Arc<Change>>,
    bookmarks: Bookmarks,
    tick: Interval,
    end: Instant,
    closing: CancellationToken,
    ended: bool,
}

impl Api {
    /// `GET` with `watch=1`.
    pub(super) fn watch(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let kind = call.target.kind;
        let filter = Filter::new(call)?;
        let form = Form::parse(&call.accept);
        let tables = Tables::new(kind.resource(), Include::parse(call.query.get("includeObject")));
        let printer = Printer { kind, form, tables };
        let since = call.query.resource_version()?;
        let bookmarks = if call.query.flag("allowWatchBookmarks") { Bookmarks::Yes } else { Bookmarks::No };
        let initial = call.query.get("sendInitialEvents").map(|_| call.query.flag("sendInitialEvents"));
        if initial.is_some() && call.query.get("resourceVersionMatch") != Some("NotOlderThan") {
            let words = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(ApiError::bad_request(words));
        }
        if initial == Some(true) && bookmarks == Bookmarks::No {
            return Err(ApiError::bad_request("sendInitialEvents requires setting allowWatchBookmarks to true"));
        }
        let timeout = call.query.timeout()?.unwrap_or(TIMEOUT).min(TIMEOUT);
        if since.is_some() && initial != Some(true) && self.misbehaviour.expires(&call.caller) {
            let error = ApiError::expired("The resourceVersion for the provided watch is too old.");
            return Ok(body::lines(stream::iter([refusal(&error)])));
        }
        let influence = self.misbehaviour.influence(call.caller.clone());
        // From here to the subscription nothing may be committed, or it would be missed.
        let begun = self.cluster.read(|state| begin(state, &printer, &filter, since, initial));
        let (ready, changes) = match begun {
            Ok(begun) => begun,
            // As kube-apiserver does it: the watch is accepted and its first event is the refusal.
            Err(error) if error.code == 410 => return Ok(body::lines(stream::iter([refusal(&error)]))),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        let mut tick = interval_at(now + BOOKMARK_PERIOD, BOOKMARK_PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watch = Watch {
            cluster: Arc::clone(&self.cluster),
            printer,
            filter,
            influence,
            ready: ready.into_iter().map(Line::now).collect(),
            changes,
            bookmarks,
            tick,
            end: now + timeout,
            closing: self.closing.clone(),
            ended: false,
        };
        Ok(body::lines(stream::unfold(watch, |mut watch| async { watch.next().await.map(|line| (line, watch)) })))
    }
}

type Beginning = (VecDeque<Bytes>, Receiver<Arc<Change>>);

/// The first lines of a watch, and the changes that follow on them.
fn begin(
    state: &State,
    printer: &Printer,
    filter: &Filter,
    since: Option<u64>,
    initial: Option<bool>,
) -> Result<Beginning, ApiError> {
    let collection = state.collection(printer.kind);
    let newest = state.revision();
    if let Some(since) = since.filter(|since| *since > newest) {
        // This server has no memory of that time: it was started anew. Whoever knows more must list again.
        return Err(ApiError::expired(format!("Too large resource version: {since}, current: {newest}")));
    }
    let from_start = initial.unwrap_or(since.is_none());
    if !from_start {
        // `sendInitialEvents=false` without a revision means from now on.
        let (changes, receiver) = collection.since(since.unwrap_or(newest))?;
        let lines = changes.iter().filter_map(|change| {
            change.event_type(|object| filter.sees(object)).map(|event| printer.change(change, event))
        });
        return Ok((lines.collect(), receiver));
    }
    let objects = filter.objects(state, printer.kind, None);
    let mut lines: VecDeque<Bytes> = objects.map(|(_, object)| printer.object(object, EventType::Added)).collect();
    if initial == Some(true) {
        lines.push_back(printer.bookmark(newest, Some(json!({"k8s.io/initial-events-end": "true"}))));
    }
    Ok((lines, collection.subscribe()))
}

fn refusal(error: &ApiError) -> Bytes {
    frame("ERROR", error.status().to_string().as_bytes())
}

impl Watch {
    /// The next line; none when the watch has come to its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frozen = self.influence.is_frozen();
            if !frozen {
                let now = Instant::now();
                if let Some(line) = self.ready.pop_front_if(|line| line.due.is_none_or(|due| due <= now)) {
                    return Some(line.text);
                }
                if self.ended && self.ready.is_empty() {
                    return None;
                }
            }
            let late = self.ready.front().and_then(|line| line.due).filter(|_| !frozen);
            let open = !frozen && !self.ended;
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return None,
                turn = self.influence.turn() => match turn {
                    Turn::Close => return None,
                    turn => self.misbehave(turn),
                },
                change = self.changes.recv(), if open => self.take(change),
                () = sleep_until(late.unwrap_or(self.end)), if late.is_some() => {}
                () = sleep_until(self.end), if open => {
                    self.bookmark();
                    self.ended = true;
                }
                _ = self.tick.tick(), if open && self.bookmarks == Bookmarks::Yes => self.bookmark(),
            }
        }
    }

    /// Does what rules order, but for ending at once.
    fn misbehave(&mut self, turn: Turn) {
        if turn == Turn::Expire {
            self.ready.clear();
            self.expire("The resourceVersion for the provided watch is too old.");
        } else if !self.influence.delays_events() {
            self.ready.iter_mut().for_each(|line| line.due = None);
        }
    }

    fn take(&mut self, change: Result<Arc<Change>, RecvError>) {
        match change {
            Ok(change) => {
                if let Some(event) = change.event_type(|object| self.filter.sees(object)) {
                    self.tell(self.printer.change(&change, event));
                }
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(kind = ?self.printer.kind, missed, "a watch fell behind and is ended");
                self.expire(&format!("watch fell {missed} events behind"));
            }
            Err(RecvError::Closed) => self.ended = true,
        }
    }

    /// Puts an event into the line: late and twice, if rules say so.
    fn tell(&mut self, text: Bytes) {
        let due = self.influence.delay().map(|delay| Instant::now() + delay);
        if self.influence.duplicates() {
            self.ready.push_back(Line { text: text.clone(), due });
        }
        self.ready.push_back(Line { text, due });
    }

    fn expire(&mut self, words: &str) {
        self.ready.push_back(Line::now(refusal(&ApiError::expired(words))));
        self.ended = true;
    }

    /// Tells the revision, if everything up to it has been told.
    fn bookmark(&mut self) {
        if self.bookmarks == Bookmarks::No || self.influence.drops_bookmark() {
            return;
        }
        let changes = &self.changes;
        let revision = self.cluster.read(|state| changes.is_empty().then(|| state.revision()));
        self.ready.extend(revision.map(|revision| Line::now(self.printer.bookmark(revision, None))));
    }
}
