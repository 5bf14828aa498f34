//! Steps: actions and expectations, checked against the topology, the probes and the steps before.

use std::time::Duration;

use crate::{
    Act, Context, Cursor, Element, Expected, Json, Language, Located, LooksAt, MapLimits, Name, Number,
    STEADY_REQUESTS_DEFAULT, Settle, Step, Term, When,
    expand::Expanded,
    map_limits::MapLimitsRecord,
    record, schema, suggest,
    walk::{Fields, Findings},
};

/// Keys of a step.
pub(crate) const KEYS: [&str; 6] = ["name", "do", "settle", "steady", "maps", "expect"];
/// Actions that every language has.
pub(crate) const ACTIONS: [&str; 5] = ["startProbe", "stopProbe", "fault", "heal", "parallel"];
/// Forms of an expectation beside its plain one.
pub(crate) const FORMS: [&str; 2] = ["within", "never"];
/// Requests of one steady window of one client.
const STEADY_REQUESTS_MAX: u64 = 1_000_000;

record! {
    /// The window of requests that expectations are judged on.
    pub(crate) struct SteadyRecord {
        /// Requests that each client finishes after settling; 200 when it is not given.
        pub(crate) requests: Number<1, STEADY_REQUESTS_MAX>,
    }
}

record! {
    /// How long settling may take.
    pub(crate) struct SettleRecord {
        /// How long maps may differ from the truth once Kubernetes has settled.
        pub(crate) within: Duration,
    }
}

impl Term for Settle {
    fn schema() -> Json {
        schema::any_of([schema::words(&["yes", "no"]), schema::boolean(), SettleRecord::schema()])
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        match at.scalar() {
            Some("yes" | "true") => Some(Self::Yes),
            Some("no" | "false") => Some(Self::No),
            Some(_) => {
                let message = format!("expected `yes`, `no` or a mapping, found {}", at.kind());
                context.report(at, message, Some("write `settle: {within: 5s}` for another limit".to_owned()));
                None
            }
            None => SettleRecord::read(at, context).map(|settle| Self::Within(settle.within)),
        }
    }
}

/// Reads steps in order; later ones are checked against what the earlier ones did.
pub(crate) fn steps<L: Language>(steps: &[Expanded], context: &mut Context<'_>, maps: MapLimits) -> Vec<Step<L>> {
    let read = |step: &Expanded| {
        let at = Cursor { node: &step.node, path: step.path.clone() };
        self::step(&at, &step.suffix, context, maps)
    };
    steps.iter().filter_map(read).collect()
}

fn step<L: Language>(item: &Cursor<'_>, suffix: &str, context: &mut Context<'_>, maps: MapLimits) -> Option<Step<L>> {
    let fields = item.fields(context.findings(), &keys(item))?;
    let name = fields.optional("name").and_then(|at| at.text(context.findings()));
    let actions = each(&fields, "do", context, act::<L>);
    let settle = fields.optional("settle").map(|at| Settle::read(&at, context));
    let steady = fields.optional("steady").map(|at| SteadyRecord::read(&at, context));
    let limits = fields.optional("maps").map(|at| MapLimitsRecord::read(&at, context));
    let expectations = each(&fields, "expect", context, expected::<L>);
    let is_empty = |key| fields.optional(key).is_none_or(|list| list.is_empty_list());
    if is_empty("do") && is_empty("expect") {
        context.report(item, "step is empty: it does nothing and expects nothing", None);
    }
    let steady = steady.flatten().and_then(|steady| u32::try_from(steady.requests.get()).ok());
    Some(Step {
        name: format!("{}{suffix}", name.map_or_else(|| default_name(&actions), str::to_owned)),
        at: item.located(()),
        actions,
        settle: settle.flatten().unwrap_or_default(),
        steady_requests: steady.unwrap_or(STEADY_REQUESTS_DEFAULT),
        maps: limits.flatten().map(|limits| limits.within(maps)),
        expectations,
    })
}

/// What an item of `steps` can be: something with the keys of a step, or a block. Blocks are gone by now; their names
/// only show up in hints.
fn keys(item: &Cursor<'_>) -> Vec<&'static str> {
    let mut keys = KEYS.to_vec();
    if KEYS.iter().all(|key| item.peek(key).is_none()) {
        keys.extend(crate::expand::block_keys());
    }
    keys
}

/// What could be read of the list at `key`.
fn each<T>(
    fields: &Fields<'_>,
    key: &str,
    context: &mut Context<'_>,
    read: impl Fn(&Cursor<'_>, &mut Context<'_>) -> Option<T>,
) -> Vec<Located<T>> {
    let Some(list) = fields.optional(key) else { return Vec::new() };
    let items = list.items(context.findings()).unwrap_or_default();
    items.iter().filter_map(|at| Some(at.located(read(at, context)?))).collect()
}

fn default_name<L: Language>(actions: &[Located<Act<L>>]) -> String {
    if actions.is_empty() {
        return "look".to_owned();
    }
    actions.iter().map(|action| action.value.to_string()).collect::<Vec<_>>().join(", then ")
}

// ---- actions ----

fn act<L: Language>(item: &Cursor<'_>, context: &mut Context<'_>) -> Option<Act<L>> {
    let known: Vec<&str> = L::actions().iter().map(|element| element.key).chain(ACTIONS).collect();
    let (key, at) = item.variant(context.findings(), &known, "actions")?;
    match key.as_str() {
        "startProbe" => context.start_probe(&at).map(Act::StartProbe),
        "stopProbe" => context.stop_probe(&at).map(Act::StopProbe),
        "fault" => fault(&at, context),
        "heal" => context.heal(&at).map(Act::Heal),
        "parallel" => parallel(&at, context),
        key => {
            let element = L::actions().iter().find(|element| element.key == key)?;
            (element.read)(&at, context).map(Act::Do)
        }
    }
}

fn parallel<L: Language>(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Act<L>> {
    let items = at.items(context.findings())?;
    if items.is_empty() {
        context.report(at, "there is no action, at least one is needed", None);
    }
    let acts = context.in_parallel(|context| {
        let read = |at: &Cursor<'_>| Some(at.located(act::<L>(at, context)?));
        items.iter().filter_map(read).collect()
    });
    Some(Act::Parallel(acts))
}

fn fault<L: Language>(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Act<L>> {
    let kinds: Vec<&str> = L::faults().iter().map(|element| element.key).collect();
    let fields = at.fields(context.findings(), &[kinds.as_slice(), &["as"]].concat())?;
    let name_at = fields.required(context.findings(), "as");
    let name = name_at.as_ref().and_then(|at| Name::read(at, context));
    let element = one_of(at, &fields, L::faults(), context, "kind of fault", "faults");
    let fault = element.and_then(|(element, value)| (element.read)(&value, context));
    let (name_at, name) = (name_at?, name?.into_string());
    // A fault that could not be read is known by name all the same: its `heal` is not wrong.
    context.inject(at, &name_at, &name);
    Some(Act::Fault { name, fault: fault? })
}

/// The one element that is there; `one` is what it is called.
pub(crate) fn one_of<'a, T>(
    at: &Cursor<'a>,
    fields: &Fields<'a>,
    elements: &'static [Element<T>],
    context: &mut Context<'_>,
    one: &str,
    what: &str,
) -> Option<(&'static Element<T>, Cursor<'a>)> {
    let found = elements.iter().filter_map(|element| Some((element, fields.optional(element.key)?)));
    let mut found: Vec<_> = found.collect();
    if found.len() > 1 {
        let keys: Vec<String> = found.iter().map(|(element, _)| format!("`{}`", element.key)).collect();
        context.report(at, format!("expected one {one}, found {}", keys.join(" and ")), None);
        return None;
    }
    if found.is_empty() {
        let hint = suggest::hint("", elements.iter().map(|element| element.key), what);
        context.report(at, format!("{one} is missing"), Some(hint));
    }
    found.pop()
}

// ---- expectations ----

fn expected<L: Language>(item: &Cursor<'_>, context: &mut Context<'_>) -> Option<Expected<L>> {
    let known: Vec<&str> = L::expectations().iter().map(|element| element.key).chain(FORMS).collect();
    let (key, at) = item.variant(context.findings(), &known, "expectations")?;
    let (element, value, when) = match key.as_str() {
        "within" => {
            let kinds: Vec<&str> = L::expectations().iter().map(|element| element.key).collect();
            let fields = at.fields(context.findings(), &[&["time"], kinds.as_slice()].concat())?;
            let time = fields.required(context.findings(), "time").and_then(|time| Duration::read(&time, context));
            let (element, value) = one_of(&at, &fields, L::expectations(), context, "expectation", "expectations")?;
            // A time that could not be read has been reported.
            (element, value, When::Within(time.unwrap_or_default()))
        }
        "never" => {
            let kinds: Vec<&str> = L::expectations().iter().map(|element| element.key).collect();
            let (key, value) = at.variant(context.findings(), &kinds, "expectations")?;
            (element::<L>(&key)?, value, When::Never)
        }
        key => (element::<L>(key)?, at, When::AtEnd),
    };
    if element.looks_at == LooksAt::Requests && !context.has_requests() {
        let hint = Some("start one with `startProbe` in this step or before".to_owned());
        context.report(item, format!("`{}` has nothing to look at: no probe is running", element.key), hint);
    }
    let expect = (element.read)(&value, context)?;
    Some(Expected { expect, when })
}

fn element<L: Language>(key: &str) -> Option<&'static Element<L::Expect>> {
    L::expectations().iter().find(|element| element.key == key)
}

/// Checks the steps of a file that scenarios include, by themselves: without a topology, so that any name can be meant.
pub(crate) fn check<L: Language>(findings: &mut Findings, steps: &[Expanded]) {
    let mut context = Context::new(findings, None);
    context.set_lenient();
    drop(self::steps::<L>(steps, &mut context, MapLimits::default()));
}
