//! What a command in a guest is made of: programs, files, arguments and environment.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use meshbed_driver::Programs;
use meshbed_scenario::AgentSpec;
use meshbed_vm::{Content, Effort};

use super::{Job, KERNEL};
use crate::{
    command::{find, runner},
    exit::usage,
};

/// Programs that pods of the demo, and `exec` of scenarios, call by name.
const TOOLS: [&str; 7] = ["sh", "curl", "cat", "ls", "sleep", "true", "env"];
/// Tools without which nothing works.
const TOOLS_REQUIRED: [&str; 2] = ["sh", "curl"];
/// Flags that say where a command runs, and that the command in the guest does not get.
const OUR_FLAGS: [&str; 6] = ["--env", "--kernel", "--kernel-in", "--kernels-file", "--guest-memory", "--guest-cpus"];
/// Variables that the command in the guest gets, too.
const PASSED_ON: [&str; 4] = ["RUST_LOG", "NO_COLOR", "CI", "GITHUB_ACTIONS"];

/// What all guests of a command have in common.
pub(super) struct Common {
    pub(super) content: Content,
    pub(super) programs: Programs,
    /// Of this machine.
    pub(super) effort: Effort,
}

impl Common {
    /// What a job needs. `network` says whether its guests have interfaces.
    pub(super) fn of(job: &Job<'_>, network: bool) -> anyhow::Result<Self> {
        let (mut content, programs) = content(job)?;
        content.network = network;
        // Before any guest is started: they would make this machine look slow.
        let effort = Effort::measure().context("failed to measure this machine")?;
        Ok(Self { content, programs, effort })
    }

    /// The program for PID 1.
    pub(super) fn init(&self) -> PathBuf {
        self.programs.meshbed.parent().unwrap_or(Path::new("")).join("meshbed-init")
    }
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

/// This program with these arguments, or with ours without [`OUR_FLAGS`].
pub(super) fn command(program: &Path, arguments: Option<Vec<String>>) -> Vec<String> {
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

pub(super) fn environment(programs: &Programs, kernel: &str) -> Vec<(String, String)> {
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
    #[test_case("run failover --kernel-in alpha=5.10 --kernel-in beta=7.3 --seed 1" => "run failover --seed 1")]
    #[test_case("run --kernel-in=alpha=5.10 failover --kernel 7.3" => "run failover")]
    #[test_case("run failover --agent-in alpha=static" => "run failover --agent-in alpha=static")]
    #[test_case("run failover" => "run failover")]
    fn flags_of_guests_stay_outside(words: &str) -> String {
        without_ours(words.split(' ').map(str::to_owned)).join(" ")
    }
}
