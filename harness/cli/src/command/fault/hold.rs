//! `meshbed fault hold`: injects a fault, and undoes it when it is told to. Part of the mesh: it ends with it.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::fd::AsFd,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use meshbed_driver::{Control, ProcessIdentity, RunState};
use meshbed_engine::{AnyFault, ByHand, ByHandError, FaultFile, FaultState, HeldFault, Mesh};
use meshbed_scenario::{Topology, read_fault};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use super::{
    TYPED,
    protocol::{HEAL, Healed, Injected},
};
use crate::{
    args::HoldArgs,
    command::{find, runner::random_seed, runtime},
    exit::Exit,
};

/// cgroup of all holders, in that of the run.
const CGROUP: &str = "faults";
/// How long somebody who connects may take to say what he wants.
const WORD_WAIT_MAX: Duration = Duration::from_secs(5);

pub(super) fn run(args: &HoldArgs) -> anyhow::Result<Exit> {
    let run = find::run(Some(&args.run))?;
    leave_the_caller(&run).context("failed to become a part of the mesh")?;
    let topology = find::topology(&run)?;
    let fault = read_fault::<Mesh>(&args.fault, TYPED, &topology, &[])?.fault;
    let mut file = file(args, &fault)?;
    match file.claim(&run.run_dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            tell(&Injected::NameTaken)?;
            return Ok(Exit::Usage);
        }
        other => other.context("failed to write down the fault")?,
    }
    let held = runtime()?.block_on(hold(&run, topology, fault, &mut file));
    if let Err(error) = &held {
        // Nothing was done, or what was done is undone.
        let why = format!("{error:#}");
        forget(&file, &run.run_dir);
        tell(&Injected::Failed { why })?;
    }
    held
}

/// A session of its own, so that Ctrl-C at the terminal does not reach it, and a cgroup of the run, so that it ends
/// with it.
fn leave_the_caller(run: &RunState) -> anyhow::Result<()> {
    let cgroup = run.cgroup.join(CGROUP);
    fs::create_dir_all(&cgroup).with_context(|| format!("failed to make `{}`", cgroup.display()))?;
    let procs = cgroup.join("cgroup.procs");
    fs::write(&procs, "0").with_context(|| format!("failed to write `{}`", procs.display()))?;
    // It fails only for the leader of a process group, which a child of another program is not.
    nix::unistd::setsid().context("failed to make a session")?;
    Ok(())
}

fn file(args: &HoldArgs, fault: &AnyFault) -> anyhow::Result<FaultFile> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(FaultFile {
        name: args.name.clone(),
        kind: fault.kind().to_owned(),
        words: fault.to_string(),
        text: args.fault.clone(),
        targets: Vec::new(),
        witnesses: Vec::new(),
        silent: BTreeSet::new(),
        state: FaultState::Injecting,
        holder: ProcessIdentity::current()?,
        since_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
    })
}

async fn hold(run: &RunState, topology: Topology, fault: AnyFault, file: &mut FaultFile) -> anyhow::Result<Exit> {
    let others = FaultFile::all(&run.run_dir).into_iter().filter(|other| other.name != file.name);
    let silent = others.flat_map(|other| other.silent).collect();
    let control = Control::attach(&run.run).await?;
    let by_hand = ByHand { name: file.name.clone(), fault, seed: random_seed(), silent };
    let (held, told) = match HeldFault::inject(&by_hand, control, topology).await {
        Ok(injected) => injected,
        Err(ByHandError::NoWitness(why)) => {
            forget(file, &run.run_dir);
            tell(&Injected::NoWitness { why })?;
            return Ok(Exit::Invalid);
        }
        Err(ByHandError::Failed(why)) => anyhow::bail!(why),
    };
    (file.targets, file.witnesses, file.silent) = (told.targets, told.witnesses, told.silent);
    file.state = FaultState::InForce;
    let listener = match listen(run, file) {
        Ok(listener) => listener,
        Err(error) => return undo(held, error).await,
    };
    let said = Injected::InForce { targets: file.targets.clone(), witnesses: file.witnesses.clone() };
    if is_unwanted() || tell(&said).is_err() {
        return undo(held, anyhow::anyhow!("whoever wanted it is gone")).await;
    }
    let caller = told_to_heal(&listener).await?;
    heal(held, caller, file, &run.run_dir).await
}

/// Waits for orders from now on, and says so in the file.
fn listen(run: &RunState, file: &FaultFile) -> anyhow::Result<UnixListener> {
    let listener = UnixListener::bind(FaultFile::socket(&run.run_dir, &file.name))?;
    file.store(&run.run_dir)?;
    Ok(listener)
}

/// A fault that nobody could find is not left in force.
async fn undo(held: HeldFault, why: anyhow::Error) -> anyhow::Result<Exit> {
    held.heal().await?;
    Err(why)
}

/// Whether who started this process has closed our stdin: it was interrupted.
fn is_unwanted() -> bool {
    let stdin = io::stdin();
    let mut looked_at = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    // Only that the other end is closed is told without being asked for.
    let looked = poll(&mut looked_at, PollTimeout::ZERO);
    looked.is_ok_and(|events| events > 0)
}

/// Waits until somebody says the word.
async fn told_to_heal(listener: &UnixListener) -> anyhow::Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        let mut stream = BufReader::new(stream);
        let mut word = Vec::new();
        let read = tokio::time::timeout(WORD_WAIT_MAX, stream.read_until(b'\n', &mut word)).await;
        if matches!(read, Ok(Ok(_))) && word == HEAL {
            return Ok(stream.into_inner());
        }
    }
}

async fn heal(held: HeldFault, mut caller: UnixStream, file: &mut FaultFile, run_dir: &Path) -> anyhow::Result<Exit> {
    let (answer, exit) = match held.heal().await {
        Ok(witnesses) => {
            forget(file, run_dir);
            (Healed::Done { witnesses }, Exit::Success)
        }
        Err(error) => {
            let why = error.to_string();
            file.state = FaultState::NotHealed(why.clone());
            file.store(run_dir)?;
            (Healed::Failed { why }, Exit::Environment)
        }
    };
    // The caller may have lost patience; what was done is done.
    if let Err(error) = caller.write_all(&serde_json::to_vec(&answer)?).await {
        tracing::warn!(%error, "nobody waits for the answer");
    }
    Ok(exit)
}

/// Takes away what is written down of the fault.
fn forget(file: &FaultFile, run_dir: &Path) {
    let gone = [file.remove(run_dir), fs::remove_file(FaultFile::socket(run_dir, &file.name))];
    for error in gone.into_iter().filter_map(Result::err).filter(|error| error.kind() != io::ErrorKind::NotFound) {
        tracing::error!(%error, "failed to forget the fault");
    }
}

/// Says one line to who started this process.
fn tell(injected: &Injected) -> io::Result<()> {
    let mut line = serde_json::to_vec(injected)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}
