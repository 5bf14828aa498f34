//! `meshbed fault`: faults by hand, in a mesh that was kept.

mod hold;
mod protocol;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use meshbed_driver::RunState;
use meshbed_engine::{FaultFile, FaultState, Mesh};
use meshbed_scenario::{Fault, KnownFault, read_fault};
use tabled::{builder::Builder, settings::Style};

use self::protocol::{Healed, Injected};
use super::find;
use crate::{
    args::{FaultCommand, HealArgs, InjectArgs},
    exit::{Exit, usage},
    printer,
};

/// What findings call the text that was typed.
const TYPED: &str = "FAULT";

pub(super) fn run(command: &FaultCommand) -> anyhow::Result<Exit> {
    match command {
        FaultCommand::Inject(args) => inject(args),
        FaultCommand::List { run } => list(run.as_deref()),
        FaultCommand::Heal(args) => heal(args),
        FaultCommand::Hold(args) => hold::run(args),
    }
}

// ---- inject ----

fn inject(args: &InjectArgs) -> anyhow::Result<Exit> {
    let run = find::run(args.run.as_deref())?;
    if !run.kept && run.harness_is_alive() {
        let hint = "faults of a run in progress are those of its scenario; `--keep` leaves a mesh to play with";
        return Err(usage(format!("run `{}` belongs to process {}, which is at work", run.run, run.harness.pid), hint));
    }
    let in_force = FaultFile::all(&run.run_dir);
    let known: Vec<_> = in_force.iter().map(|fault| KnownFault { name: &fault.name, text: &fault.text }).collect();
    let fault: Fault<Mesh> = read_fault(&args.fault, TYPED, &find::topology(&run)?, &known)?;
    let name = name(args, &fault, &in_force)?;
    let mut holder = start_holder(&run, &name, &args.fault)?;
    // Nothing is sent: that this end is closed tells the holder that nobody wants the fault any more.
    let _alive = holder.stdin.take();
    let mut line = String::new();
    let stdout = holder.stdout.take().context("the holder has no output")?;
    BufReader::new(stdout).read_line(&mut line).context("failed to hear from the process that holds the fault")?;
    let Ok(injected) = serde_json::from_str::<Injected>(&line) else {
        return Err(silent_holder(holder, &run, &name));
    };
    match injected {
        Injected::InForce { targets, witnesses } => {
            printer::data(&in_force_words(&name, &targets, &witnesses));
            printer::talk(&format!("`meshbed fault heal {name}` undoes it"));
            Ok(Exit::Success)
        }
        Injected::NoWitness { why } => {
            printer::talk(&format!("error: fault `{name}` was not injected: {why}"));
            Ok(Exit::Invalid)
        }
        Injected::NameTaken => Err(taken(&name, &FaultFile::all(&run.run_dir))),
        Injected::Failed { why } => anyhow::bail!("fault `{name}` was not injected: {why}"),
    }
}

/// The name that was given, or one made of the kind.
fn name(args: &InjectArgs, fault: &Fault<Mesh>, in_force: &[FaultFile]) -> anyhow::Result<String> {
    let is_taken = |name: &str| in_force.iter().any(|known| known.name == name);
    if let (Some(a), Some(b)) = (&args.name, &fault.name)
        && a != b
    {
        return Err(usage(format!("the fault is called `{b}` in its text and `{a}` by `--as`"), "give it one name"));
    }
    match args.name.as_ref().or(fault.name.as_ref()) {
        Some(name) if is_taken(name) => Err(taken(name, in_force)),
        Some(name) => Ok(name.clone()),
        None => {
            let kind = fault.fault.kind();
            let numbered = (2..).map(|number| format!("{kind}-{number}"));
            let mut names = std::iter::once(kind.to_owned()).chain(numbered);
            names.find(|name| !is_taken(name)).context("there is no name left")
        }
    }
}

fn taken(name: &str, in_force: &[FaultFile]) -> anyhow::Error {
    let state = in_force.iter().find(|known| known.name == name).map(FaultFile::state_words);
    let hint = "choose another one with `--as`, or heal it first";
    usage(format!("there is a fault `{name}` already: {}", state.as_deref().unwrap_or("being injected")), hint)
}

/// Starts the process that injects the fault and holds it. It moves itself to a session and a cgroup of its own.
fn start_holder(run: &RunState, name: &str, text: &str) -> anyhow::Result<Child> {
    let log = log(run, name);
    let stderr = File::create(&log).with_context(|| format!("failed to make `{}`", log.display()))?;
    let program = std::env::current_exe()?;
    let mut command = Command::new(&program);
    command.args(["fault", "hold", "--run", run.run.as_str(), "--name", name, "--fault", text]);
    command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
    command.spawn().with_context(|| format!("failed to start `{}`", program.display()))
}

/// What the holder logs, as `meshbed logs fault-<name>` shows it.
fn log(run: &RunState, name: &str) -> std::path::PathBuf {
    run.logs_dir.join(format!("fault-{name}.log"))
}

/// The holder ended without a word.
fn silent_holder(mut holder: Child, run: &RunState, name: &str) -> anyhow::Error {
    let status = holder.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    let log = std::fs::read_to_string(log(run, name)).unwrap_or_default();
    anyhow::anyhow!("the process that holds fault `{name}` ended ({status}):\n{}", log.trim_end())
}

fn in_force_words(name: &str, targets: &[String], witnesses: &[String]) -> String {
    let mut text = format!("fault {name}\n");
    for (target, witness) in targets.iter().zip(witnesses) {
        text.push_str(&format!("  {target}\n    witness: {witness}\n"));
    }
    text
}

// ---- list ----

fn list(run: Option<&str>) -> anyhow::Result<Exit> {
    let run = find::run(run)?;
    let faults = FaultFile::all(&run.run_dir);
    if faults.is_empty() {
        printer::talk(&format!("no fault is in force in run {}", run.run));
        return Ok(Exit::Success);
    }
    printer::data(&table(&faults));
    Ok(Exit::Success)
}

fn table(faults: &[FaultFile]) -> String {
    let mut table = Builder::default();
    table.push_record(["name", "since", "state", "what", "witness"]);
    for fault in faults {
        let witnesses = fault.witnesses.join("\n");
        table.push_record([fault.name.clone(), ago(fault), fault.state_words(), fault.words.clone(), witnesses]);
    }
    let mut table = table.build();
    table.with(Style::rounded());
    format!("{table}\n")
}

/// How long ago a fault was injected, in words.
pub(super) fn ago(fault: &FaultFile) -> String {
    let seconds = std::time::Duration::from_secs(fault.age().as_secs());
    format!("{} ago", humantime::format_duration(seconds))
}

// ---- heal ----

fn heal(args: &HealArgs) -> anyhow::Result<Exit> {
    let run = find::run(args.run.as_deref())?;
    let faults = FaultFile::all(&run.run_dir);
    let name = &args.name;
    let Some(fault) = faults.iter().find(|fault| fault.name == *name) else {
        let known: Vec<_> = faults.iter().map(|fault| fault.name.as_str()).collect();
        let hint = match known.as_slice() {
            [] => "no fault is in force".to_owned(),
            known => format!("in force: {}", known.join(", ")),
        };
        return Err(usage(format!("there is no fault `{name}` in run `{}`", run.run), hint));
    };
    if !matches!(fault.state, FaultState::InForce) || !fault.is_held() {
        let words = fault.state_words();
        anyhow::bail!("fault `{name}` cannot be healed: {words}; `meshbed down {}` ends the mesh", run.run);
    }
    match tell_to_heal(&run.run_dir, name)? {
        Healed::Done { witnesses } if witnesses.is_empty() => {
            printer::data(&format!("fault {name} is healed: there was nothing to undo\n"));
        }
        Healed::Done { witnesses } => {
            let lines: String = witnesses.iter().map(|witness| format!("  {witness}\n")).collect();
            printer::data(&format!("fault {name} is healed\n{lines}"));
        }
        Healed::Failed { why } => anyhow::bail!("fault `{name}` could not be healed: {why}"),
    }
    Ok(Exit::Success)
}

fn tell_to_heal(run_dir: &Path, name: &str) -> anyhow::Result<Healed> {
    let failed = || format!("failed to reach the process that holds fault `{name}`");
    let mut stream = UnixStream::connect(FaultFile::socket(run_dir, name)).with_context(failed)?;
    stream.write_all(protocol::HEAL).with_context(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(failed)?;
    serde_json::from_str(&answer).with_context(|| format!("the process that holds fault `{name}` ended"))
}
