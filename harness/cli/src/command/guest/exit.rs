//! How guests end, in words and as exit codes.

use std::path::Path;

use meshbed_vm::End;

use crate::{exit::Exit, printer};

/// What an end means for the command, which is told. `which` guest it was is said before it when there are several.
pub(super) fn exit(end: End, folder: &Path, which: &str) -> Exit {
    let console = folder.join("console.log").display().to_string();
    match end {
        End::Exited(code) => Exit::Other(u8::try_from(code).unwrap_or(u8::MAX)),
        End::Panicked { why, lines } => {
            printer::talk(&format!("error: {which}the guest's kernel panicked: {why}"));
            printer::talk(&format!("{}\nconsole: {console}", lines.join("\n")));
            Exit::Failed
        }
        End::OutOfMemory { line } => {
            printer::talk(&format!(
                "error: {which}the guest ran out of memory (more: --guest-memory): {line}\nconsole: {console}"
            ));
            Exit::Environment
        }
        End::Hung { waited } => {
            printer::talk(&format!("error: {which}the guest hung: not a word for {waited:.0?}\nconsole: {console}"));
            Exit::TimedOut
        }
        End::Gone { why } => {
            printer::talk(&format!("error: {which}the guest is gone: {why}\nconsole: {console}"));
            Exit::Environment
        }
        End::Interrupted => Exit::Interrupted,
    }
}

/// The same of a guest that serves the one that leads, and ended before that did: there is no good way to do so.
pub(super) fn exit_early(end: End, folder: &Path, which: &str) -> Exit {
    let End::Exited(code) = end else { return exit(end, folder, which) };
    printer::talk(&format!("error: {which}the guest's command ended with {code} before the guest that leads"));
    if code == 0 { Exit::Environment } else { Exit::Other(u8::try_from(code).unwrap_or(u8::MAX)) }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(End::Exited(3) => Exit::Other(3))]
    #[test_case(End::Exited(256) => Exit::Other(u8::MAX))]
    #[test_case(End::Panicked { why: "oops".into(), lines: Vec::new() } => Exit::Failed)]
    #[test_case(End::Hung { waited: std::time::Duration::from_secs(1) } => Exit::TimedOut)]
    #[test_case(End::Gone { why: "killed".into() } => Exit::Environment)]
    #[test_case(End::Interrupted => Exit::Interrupted)]
    fn ends_and_their_codes(end: End) -> Exit {
        exit(end, Path::new("/nowhere"), "")
    }

    #[test_case(End::Exited(0) => Exit::Environment ; "as if all were well")]
    #[test_case(End::Exited(3) => Exit::Other(3) ; "for a reason")]
    #[test_case(End::Panicked { why: "oops".into(), lines: Vec::new() } => Exit::Failed ; "by a panic")]
    fn early_ends_are_never_good(end: End) -> Exit {
        exit_early(end, Path::new("/nowhere"), "kernel 7.3 (clusters beta): ")
    }
}
