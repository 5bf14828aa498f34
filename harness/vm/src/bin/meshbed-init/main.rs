//! PID 1 of a guest: mounts what programs expect, loads modules, runs the job, tells the host, powers off.
//!
//! It needs nothing but what the host put into the first file system. Whatever goes wrong is told to the host, or to the
//! console while there is no host yet; then the guest powers off, because nobody can do anything in it.

mod host;
mod job;
mod system;

use std::{io, process::ExitCode};

use meshbed_vm::{
    Effort,
    protocol::{Frame, Hello, JOB_FILE, Job},
};

use host::Host;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        complain("this program is PID 1 of a guest; `meshbed run --kernel` starts it");
        return ExitCode::from(2);
    }
    if let Err(error) = run() {
        complain(&format!("meshbed-init: {error}"));
    }
    system::power_off()
}

#[expect(clippy::print_stderr, reason = "the console is all that there is")]
fn complain(text: &str) {
    eprintln!("{text}");
}

fn run() -> io::Result<()> {
    system::mount_all()?;
    let job: Job = serde_json::from_slice(&std::fs::read(JOB_FILE)?)?;
    let trouble = system::load(&job.modules);
    let host = Host::connect()?;
    let slowness_milli = Effort::measure()?.slowness_milli(&job.host);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    host.say(&Frame::Hello(Hello { release, slowness_milli, uptime_ms: system::uptime_ms() }))?;
    for text in trouble.into_iter().chain(system::prepare()) {
        host.say(&Frame::Trouble(text))?;
    }
    let code = match job::run(&job, &host, slowness_milli) {
        Ok(code) => code,
        Err(error) => {
            host.say(&Frame::Trouble(format!("cannot run `{}`: {error}", job.command.join(" "))))?;
            job::CANNOT_RUN
        }
    };
    host.say(&Frame::Ended(code))
}
