//! One fault that a person typed, read against a topology and the faults that are in force already.

use std::path::Path;

use crate::{
    Context, Cursor, Diagnostics, FileKind, Language, Name, Term, Topology, read_step::one_of, walk::Findings,
};

/// A fault that is in force, as it was typed.
#[derive(Clone, Copy, Debug)]
pub struct KnownFault<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// A fault with its name, if it was given one.
#[derive(Clone, Debug)]
pub struct Fault<L: Language> {
    /// What `as` says.
    pub name: Option<String>,
    /// The key of its kind, such as `podKill`.
    pub key: &'static str,
    /// The fault.
    pub fault: L::Fault,
}

/// Reads one fault as scenarios have it, such as `podKill: {clusters: [alpha], deployment: web}`; `as` may be left out.
///
/// What the `known` faults have taken for themselves it cannot have: two kills of the same pods could not be healed one
/// by one. `file` is what findings call the text.
pub fn read_fault<L: Language>(
    text: &str,
    file: impl AsRef<Path>,
    topology: &Topology,
    known: &[KnownFault<'_>],
) -> Result<Fault<L>, Diagnostics> {
    let file = file.as_ref();
    let mut findings = Findings::new(file);
    // What they are was found right when they were injected; only what they claim matters here.
    let mut past = Findings::new(file);
    let trees: Vec<_> = known.iter().filter_map(|one| Some((one.name, past.tree(one.text)?))).collect();
    let tree = findings.tree(text);
    let mut context = Context::new(&mut findings, Some(topology));
    for (name, tree) in &trees {
        let at = Cursor::root(tree);
        drop(fault::<L>(&at, &mut context, Some(name)));
    }
    let read = tree.as_ref().and_then(|tree| fault::<L>(&Cursor::root(tree), &mut context, None));
    match read {
        Some(read) if findings.is_empty() => Ok(read),
        _ => Err(Diagnostics::new(FileKind::Fault, file, findings.into_list())),
    }
}

/// Reads a fault and notes what it takes for itself; `called` is the name of one that is in force.
fn fault<L: Language>(at: &Cursor<'_>, context: &mut Context<'_>, called: Option<&str>) -> Option<Fault<L>> {
    let kinds: Vec<&str> = L::faults().iter().map(|element| element.key).collect();
    let fields = at.fields(context.findings(), &[kinds.as_slice(), &["as"]].concat())?;
    let name_at = fields.optional("as");
    let name = match &name_at {
        Some(at) => Some(Name::read(at, context)?.into_string()),
        None => None,
    };
    let (element, value) = one_of(at, &fields, L::faults(), context, "kind of fault", "faults")?;
    let fault = (element.read)(&value, context)?;
    let noted = called.or(name.as_deref()).unwrap_or(UNNAMED);
    context.inject(at, name_at.as_ref().unwrap_or(at), noted);
    Some(Fault { name, key: element.key, fault })
}

/// What a fault without a name is called while it is read: no name can contain a space.
const UNNAMED: &str = "this fault";
