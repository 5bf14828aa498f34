//! A command of this program in a guest: the same output, files and exit code as outside.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use meshbed_driver::Programs;
use meshbed_scenario::{AgentSpec, Kernels};
use meshbed_vm::{
    Accelerator, Cache, Content, Effort, End, GuestOptions, Kernel, Said, fetch, initramfs,
    protocol::{self, Hello},
};
use tokio_util::sync::CancellationToken;

use super::{find, kernel, report, runner};
use crate::{
    args::{AgentArgs, Environment, GuestArgs, GuestSize},
    exit::{Exit, usage},
    interrupt, printer,
};

/// Programs that pods of the demo, and `exec` of scenarios, call by name.
const TOOLS: [&str; 7] = ["sh", "curl", "cat", "ls", "sleep", "true", "env"];
/// Tools without which nothing works.
const TOOLS_REQUIRED: [&str; 2] = ["sh", "curl"];
/// Flags that say where a command runs, and that the command in the guest does not get.
const OUR_FLAGS: [&str; 5] = ["--env", "--kernel", "--kernels-file", "--guest-memory", "--guest-cpus"];
/// Variables that the command in the guest gets, too.
const PASSED_ON: [&str; 4] = ["RUST_LOG", "NO_COLOR", "CI", "GITHUB_ACTIONS"];

/// Variable that tells the command in the guest by which name its kernel was asked for.
const KERNEL: &str = "MESHBED_GUEST_KERNEL";

/// How many times slower than its host this machine is when it is a guest; 1 otherwise.
pub(super) fn slowness() -> f64 {
    let told = std::env::var(protocol::SLOWNESS).ok().and_then(|text| text.parse::<u32>().ok());
    told.map_or(1.0, |milli| f64::from(milli) / 1000.0)
}

/// The kernel of this machine when it is a guest, by the name that it was asked for.
pub(super) fn kernel_of_ours() -> Option<String> {
    std::env::var(KERNEL).ok()
}

/// A guest that was asked for.
pub(super) struct Wanted {
    kernel: Kernel,
    memory_mib: usize,
    cpus: usize,
    cache: Cache,
}

/// A command in a guest.
pub(super) struct Job<'a> {
    /// Arguments for this program; those that we were started with, without the flags of guests, when absent.
    pub(super) arguments: Option<Vec<String>>,
    /// The agents under test.
    pub(super) agent: &'a AgentArgs,
    /// Files that it reads beside those of the project.
    pub(super) files: Vec<PathBuf>,
    /// Files and folders that it writes.
    pub(super) results: Vec<PathBuf>,
    /// Folder of reports, for the guest's console.
    pub(super) reports: &'a Path,
}

impl Wanted {
    /// The guest that the arguments ask for, with its kernel, which is fetched when it is not here.
    pub(super) fn by(args: &GuestArgs) -> anyhow::Result<Option<Self>> {
        if args.kernel.is_none() && args.env == Environment::Netns {
            return Ok(None);
        }
        let kernels = kernel::kernels(&args.file)?;
        let cache = Cache::of_user();
        let spec = match &args.kernel {
            Some(name) => kernel::find(&kernels, name)?,
            None => newest_here(&cache, &kernels).or(kernels.all().last()).context("the file has no kernels")?,
        };
        if fetch::cached(&cache, spec)?.is_none() {
            printer::talk(&format!("fetching kernel {}", spec.name()));
        }
        let kernel = fetch::fetch(&cache, &kernels, spec, false)?;
        Ok(Some(Self::new(kernel, args.size)?))
    }

    /// A guest with this kernel.
    pub(super) fn new(kernel: Kernel, size: GuestSize) -> anyhow::Result<Self> {
        let memory_mib = usize::try_from(size.guest_memory)?;
        Ok(Self { kernel, memory_mib, cpus: size.guest_cpus.into(), cache: Cache::of_user() })
    }

    /// Runs the command to its end.
    pub(super) fn run(&self, job: &Job<'_>) -> anyhow::Result<Exit> {
        super::runtime()?.block_on(async {
            let interrupted = interrupt::token("--all".to_owned())?;
            let mut failed = None;
            let hear = |said| {
                if let Err(error) = hear(said) {
                    failed.get_or_insert(error);
                }
            };
            let (end, folder) = self.run_until(job, interrupted, hear).await?;
            match failed {
                Some(error) => Err(error),
                None => Ok(exit(end, &folder)),
            }
        })
    }

    /// Runs the command to its end beside others. `say` gets each line of what is said, and the results on standard output are not
    /// shown.
    pub(super) async fn run_beside(
        &self,
        job: &Job<'_>,
        interrupted: CancellationToken,
        mut hello: impl FnMut(Hello, Accelerator, Duration),
        say: impl Fn(&str),
    ) -> anyhow::Result<End> {
        let mut failed = None;
        let hear = |said| match said {
            Said::Hello(what, accelerator, took) => {
                say(&format!("{} in {}", what.release, accelerator.name()));
                hello(what, accelerator, took);
            }
            Said::Stdout(_) => {}
            Said::Stderr(bytes) => String::from_utf8_lossy(&bytes).lines().for_each(&say),
            Said::Trouble(text) => say(&format!("guest: {text}")),
            Said::File(path, bytes) => {
                if let Err(error) = keep(&path, &bytes) {
                    failed.get_or_insert(error);
                }
            }
        };
        let (end, _) = self.run_until(job, interrupted, hear).await?;
        failed.map_or(Ok(end), Err)
    }

    /// Runs the command to its end and returns how the guest ended, and the folder of its console.
    async fn run_until(
        &self,
        job: &Job<'_>,
        interrupted: CancellationToken,
        hear: impl FnMut(Said),
    ) -> anyhow::Result<(End, PathBuf)> {
        let cwd = std::env::current_dir()?;
        let folder = cwd.join(job.reports).join(report::guest_folder(&self.kernel.name));
        fs::create_dir_all(&folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
        let (content, programs) = content(job)?;
        let init = beside(&programs.meshbed, "meshbed-init");
        let what = protocol::Job {
            command: command(&programs.meshbed, job.arguments.clone()),
            env: environment(&programs, &self.kernel.name),
            cwd: cwd.display().to_string(),
            modules: Vec::new(),
            results: job.results.iter().map(|path| cwd.join(path).display().to_string()).collect(),
            host: Effort::measure().context("failed to measure this machine")?,
        };
        let options = GuestOptions {
            image: self.kernel.image.clone(),
            initramfs: initramfs(&self.cache, &self.kernel, &init, &content, what)?,
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            folder: folder.clone(),
        };
        let end = meshbed_vm::run(&self.cache, &options, interrupted, hear).await?;
        Ok((end, folder))
    }
}

/// Shows what a guest says and writes its files.
fn hear(said: Said) -> anyhow::Result<()> {
    match said {
        Said::Hello(hello, accelerator, took) => printer::talk(&format!(
            "guest with kernel {} in {}: ready after {:.1} s, computes {:.1} times slower than this machine",
            hello.release,
            accelerator.name(),
            took.as_secs_f64(),
            meshbed_vm::slowness(&hello)
        )),
        Said::Stdout(bytes) => printer::data(&String::from_utf8_lossy(&bytes)),
        Said::Stderr(bytes) => printer::talk_bytes(&bytes),
        Said::Trouble(text) => printer::talk(&format!("guest: {text}")),
        Said::File(path, bytes) => keep(&path, &bytes)?,
    }
    Ok(())
}

/// Writes a file of a guest to the same path here.
fn keep(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("failed to write `{}`", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, bytes).with_context(failed)
}

/// What an end means for the command.
fn exit(end: End, folder: &Path) -> Exit {
    let console = folder.join("console.log").display().to_string();
    match end {
        End::Exited(code) => Exit::Other(u8::try_from(code).unwrap_or(u8::MAX)),
        End::Panicked { why, lines } => {
            printer::talk(&format!("error: the guest's kernel panicked: {why}"));
            printer::talk(&format!("{}\nconsole: {console}", lines.join("\n")));
            Exit::Failed
        }
        End::OutOfMemory { line } => {
            printer::talk(&format!(
                "error: the guest ran out of memory (more: --guest-memory): {line}\nconsole: {console}"
            ));
            Exit::Environment
        }
        End::Hung { waited } => {
            printer::talk(&format!("error: the guest hung: not a word for {waited:.0?}\nconsole: {console}"));
            Exit::TimedOut
        }
        End::Gone { why } => {
            printer::talk(&format!("error: the guest is gone: {why}\nconsole: {console}"));
            Exit::Environment
        }
        End::Interrupted => Exit::Interrupted,
    }
}

/// The newest kernel that need not be fetched.
fn newest_here<'a>(cache: &Cache, kernels: &'a Kernels) -> Option<&'a meshbed_scenario::KernelSpec> {
    kernels.all().iter().rev().find(|spec| fetch::cached(cache, spec).is_ok_and(|kernel| kernel.is_some()))
}

fn content(job: &Job<'_>) -> anyhow::Result<(Content, Programs)> {
    let mut programs = Programs::next_to(&std::env::current_exe()?);
    programs.agent_bin_dir = job.agent.agent_bin_dir.as_ref().map(fs::canonicalize).transpose()?;
    let mut content = Content::default();
    content.programs.extend([&programs.meshbed, &programs.meshbed_pod, &programs.etcd].map(Clone::clone));
    let given = job.agent.agent.iter().chain(job.agent.agent_in.iter().map(|(_, given)| given));
    // The built-in one, unless all clusters have another.
    let mut agents: Vec<AgentSpec> = job.agent.agent.is_none().then(AgentSpec::default).into_iter().collect();
    for given in given {
        agents.push(runner::agent(given)?);
        content.files.push(runner::agent_file(given)?);
    }
    for agent in &agents {
        content.programs.extend(meshbed_driver::agent_programs(agent, &programs));
    }
    for tool in TOOLS {
        let found = programs.find(tool);
        if found.is_file() {
            content.programs.push(found);
        } else if TOOLS_REQUIRED.contains(&tool) {
            return Err(usage(
                format!("there is no `{tool}` on this machine"),
                "a guest gets the programs of its host",
            ));
        }
    }
    content.links.push(("/bin/sh".into(), programs.find("sh")));
    for folder in [find::SCENARIOS, "fixtures"] {
        content.files.extend(find::folder(folder));
    }
    content.files.extend(job.files.iter().cloned());
    for path in &mut content.files {
        // Above the working directory a path begins with `..`, and those of a guest have no such parts.
        *path = fs::canonicalize(&*path).with_context(|| format!("no `{}`", path.display()))?;
    }
    Ok((content, programs))
}

fn beside(program: &Path, name: &str) -> PathBuf {
    program.parent().unwrap_or(Path::new("")).join(name)
}

/// This program with these arguments, or with ours without [`OUR_FLAGS`].
fn command(program: &Path, arguments: Option<Vec<String>>) -> Vec<String> {
    let mut command = vec![program.display().to_string()];
    command.extend(arguments.unwrap_or_else(|| without_ours(std::env::args().skip(1))));
    command
}

fn without_ours(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut left = Vec::new();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let flag = word.split('=').next().unwrap_or_default();
        if !OUR_FLAGS.contains(&flag) {
            left.push(word);
        } else if flag == word {
            words.next();
        }
    }
    left
}

fn environment(programs: &Programs, kernel: &str) -> Vec<(String, String)> {
    let folder = programs.meshbed.parent().unwrap_or(Path::new("/")).display().to_string();
    let path = format!("{folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut env = vec![("PATH".to_owned(), path), ("HOME".to_owned(), "/root".to_owned())];
    env.push((KERNEL.to_owned(), kernel.to_owned()));
    let passed = PASSED_ON.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    env.extend(passed);
    env
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("run failover --kernel 5.10 --seed 1" => "run failover --seed 1")]
    #[test_case("run --env=vm failover --kernel=6.1" => "run failover")]
    #[test_case("run failover --guest-memory 4096 --guest-cpus 1 --events" => "run failover --events")]
    #[test_case("run failover" => "run failover")]
    fn flags_of_guests_stay_outside(words: &str) -> String {
        without_ours(words.split(' ').map(str::to_owned)).join(" ")
    }
}
