//! The job: started, listened to, told signals, waited for.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use meshbed_vm::protocol::{Frame, Job};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{host::Host, system};

/// Exit code of a job that could not be started, as shells have it.
pub(crate) const CANNOT_RUN: i32 = 127;
/// Added to the number of a signal that ended the job, as shells do.
const SIGNALLED: i32 = 128;
/// Time between two signs of life.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Runs the job to its end, sends its results and returns its exit code.
pub(crate) fn run(job: &Job, host: &Host, slowness_milli: u64) -> io::Result<i32> {
    let Some((program, arguments)) = job.command.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    fs::create_dir_all(&job.cwd)?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(job.env.iter().map(|(name, value)| (name, value)))
        .env(meshbed_vm::protocol::SLOWNESS, slowness_milli.to_string())
        .current_dir(&job.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let of_out = host.clone();
    let of_err = host.clone();
    let streams = [
        thread::spawn(move || out.map_or(Ok(()), |out| of_out.forward(out, Frame::Stdout))),
        thread::spawn(move || err.map_or(Ok(()), |err| of_err.forward(err, Frame::Stderr))),
    ];
    // Dropped at the end, which ends the signs of life.
    let (_alive, over) = channel();
    live(host.clone(), over);
    obey(host.clone(), pid);
    let code = wait(pid)?;
    for stream in streams {
        stream.join().map_err(|_| io::Error::other("a stream's thread panicked"))??;
    }
    for path in &job.results {
        host.send(Path::new(path))?;
    }
    Ok(code)
}

/// Tells the host again and again that the guest lives.
fn live(host: Host, over: Receiver<()>) {
    thread::spawn(move || {
        while host.say(&Frame::Alive).is_ok() && over.recv_timeout(ALIVE_EVERY) == Err(RecvTimeoutError::Timeout) {}
    });
}

/// Does what the host says. Without a host the guest is for nobody.
fn obey(host: Host, pid: Pid) {
    thread::spawn(move || {
        host.listen(|frame| {
            if let Frame::Signal(number) = frame
                && let Ok(signal) = Signal::try_from(number)
            {
                // It may have ended just now.
                let _gone = kill(pid, signal).is_err();
            }
        });
        system::power_off();
    });
}

/// Waits for the job, and for all orphans that end meanwhile: PID 1 inherits them.
fn wait(job: Pid) -> io::Result<i32> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == job => return Ok(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == job => return Ok(SIGNALLED + signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
