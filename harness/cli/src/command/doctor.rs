//! `meshbed doctor`: what this machine can run, what is missing, how to get it.

use std::path::Path;

use meshbed_driver::{Missing, Programs};
use meshbed_scenario::AgentSpec;
use meshbed_vm::{Accelerator, Cache, QEMU};

use crate::{exit::Exit, printer};

/// Programs that people want beside a mesh; nothing here needs them.
const HELPFUL: [(&str, &str); 5] = [
    ("kubectl", "Debian package `kubernetes-client`"),
    ("bpftool", "Debian package `bpftool`"),
    ("etcdctl", "Debian package `etcd-client`"),
    ("tcpdump", "Debian package `tcpdump`"),
    ("curl", "Debian package `curl`"),
];
/// inotify instances that a mesh of 16 clusters needs, with room to spare.
const INOTIFY_INSTANCES: u64 = 512;

pub(super) fn run() -> anyhow::Result<Exit> {
    let programs = Programs::next_to(&std::env::current_exe()?);
    let mut missing = meshbed_driver::preflight(&programs);
    missing.extend(meshbed_driver::agent_preflight(&AgentSpec::default(), &programs));
    let mut text = format!("kernel {}\n", meshbed_driver::kernel_release());
    text.push_str(&section("environment netns", &missing));
    text.push_str(&format!("etcd {}\n", programs.etcd.display()));
    text.push_str(&vm());
    if let Some(found) = number("/proc/sys/fs/inotify/max_user_instances").filter(|found| *found < INOTIFY_INSTANCES) {
        text.push_str(&format!(
            "  warning: fs.inotify.max_user_instances is {found}; large meshes need {INOTIFY_INSTANCES}: \
             `sysctl fs.inotify.max_user_instances={INOTIFY_INSTANCES}`\n"
        ));
    }
    text.push_str("helpful programs:\n");
    for (program, how) in HELPFUL {
        let line = if in_path(program) { "found".to_owned() } else { format!("not found; {how}") };
        text.push_str(&format!("  {program:<10} {line}\n"));
    }
    printer::data(&text);
    Ok(if missing.is_empty() { Exit::Success } else { Exit::Environment })
}

/// Guests need QEMU, and nothing that only root has.
fn vm() -> String {
    if !in_path(QEMU) {
        return format!(
            "environment vm: something is missing\n  {QEMU}: it runs guests\n    Debian package `qemu-system-x86`\n"
        );
    }
    format!("environment vm: ready, {}\n", Accelerator::of_machine(&Cache::of_user()).name())
}

fn section(title: &str, missing: &[Missing]) -> String {
    if missing.is_empty() {
        return format!("{title}: ready\n");
    }
    let lines = missing.iter().map(|one| format!("  {}: {}\n    {}\n", one.what, one.why, one.how));
    format!("{title}: something is missing\n{}", lines.collect::<String>())
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}
