//! A guest that has everything and only needs to be started, and what it says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use meshbed_vm::{Cache, End, GuestOptions, Nic, Said, initramfs, protocol};
use tokio_util::sync::CancellationToken;

use super::{
    Job, Wanted,
    content::{Common, command, environment},
};
use crate::command::report;

/// What one guest does, of a command that runs in one or several.
pub(super) struct Task<'a> {
    /// Arguments for this program; ours when absent, as in [`Job`].
    arguments: Option<Vec<String>>,
    /// Files and folders that it writes.
    results: &'a [PathBuf],
    /// Folder of reports, for the guest's console.
    reports: &'a Path,
    /// Environment beside what every guest gets.
    pub(super) env: Vec<(String, String)>,
    /// Network interfaces.
    pub(super) nics: Vec<Nic>,
}

impl<'a> Task<'a> {
    /// All of a job.
    pub(super) fn of(job: &'a Job<'a>) -> Self {
        let (arguments, env, nics) = (job.arguments.clone(), Vec::new(), Vec::new());
        Self { arguments, results: &job.results, reports: job.reports, env, nics }
    }

    /// Another command, which leaves nothing behind.
    pub(super) fn new(arguments: Vec<String>, reports: &'a Path) -> Self {
        Self { arguments: Some(arguments), results: &[], reports, env: Vec::new(), nics: Vec::new() }
    }
}

/// See the module.
pub(super) struct Prepared {
    cache: Cache,
    options: GuestOptions,
}

impl Wanted {
    /// Makes everything that the guest needs for `task`.
    pub(super) fn prepare(&self, task: &Task<'_>, common: &Common) -> anyhow::Result<Prepared> {
        let cwd = std::env::current_dir()?;
        let folder = cwd.join(task.reports).join(report::guest_folder(&self.kernel.name));
        fs::create_dir_all(&folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
        let mut env = environment(&common.programs, &self.kernel.name);
        env.extend(task.env.iter().cloned());
        let job = protocol::Job {
            command: command(&common.programs.meshbed, task.arguments.clone()),
            env,
            cwd: cwd.display().to_string(),
            modules: Vec::new(),
            results: task.results.iter().map(|path| cwd.join(path).display().to_string()).collect(),
            host: common.effort,
        };
        let options = GuestOptions {
            image: self.kernel.image.clone(),
            initramfs: initramfs(&self.cache, &self.kernel, &common.init(), &common.content, job)?,
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            folder,
            nics: task.nics.clone(),
        };
        Ok(Prepared { cache: self.cache.clone(), options })
    }
}

impl Prepared {
    /// Folder of its console.
    pub(super) fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// Runs it to its end.
    pub(super) async fn run(&self, interrupted: CancellationToken, hear: impl FnMut(Said)) -> anyhow::Result<End> {
        Ok(meshbed_vm::run(&self.cache, &self.options, interrupted, hear).await?)
    }
}

/// Takes what a guest says that is not the only one: whole lines, so that those of several can stand among each other. Its standard
/// output is not shown.
#[derive(Default)]
pub(super) struct Listener {
    line: Vec<u8>,
    failed: Option<anyhow::Error>,
}

impl Listener {
    /// Takes one thing; `say` gets each line that is whole.
    pub(super) fn hear(&mut self, said: Said, say: impl Fn(&str)) {
        match said {
            Said::Hello(..) | Said::Stdout(_) => {}
            Said::Stderr(bytes) => {
                self.line.extend(bytes);
                while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.line.drain(..=end).collect();
                    say(String::from_utf8_lossy(&line[..end]).trim_end_matches('\r'));
                }
            }
            Said::Trouble(text) => say(&format!("guest: {text}")),
            Said::File(path, bytes) => {
                if let Err(error) = keep(&path, &bytes) {
                    self.failed.get_or_insert(error);
                }
            }
        }
    }

    /// Says what is left; fails when a file could not be written.
    pub(super) fn finish(self, say: impl Fn(&str)) -> anyhow::Result<()> {
        if !self.line.is_empty() {
            say(&String::from_utf8_lossy(&self.line));
        }
        self.failed.map_or(Ok(()), Err)
    }
}

/// Writes a file of a guest to the same path here.
pub(super) fn keep(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("failed to write `{}`", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, bytes).with_context(failed)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let lines = RefCell::new(Vec::new());
        let say = |line: &str| lines.borrow_mut().push(line.to_owned());
        let mut listener = Listener::default();
        for piece in ["one\ntw", "o\r\n", "", "thr", "ee"] {
            listener.hear(Said::Stderr(piece.into()), say);
        }
        listener.hear(Said::Stdout("data\n".into()), say);
        assert_eq!(*lines.borrow(), ["one", "two"]);
        listener.finish(say).expect("no file");
        assert_eq!(*lines.borrow(), ["one", "two", "three"]);
    }
}
