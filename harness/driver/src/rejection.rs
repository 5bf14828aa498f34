//! What a kernel's verifier said of a program that it did not take, found in the log of whoever loaded it.

use serde::{Deserialize, Serialize};

/// How many lines before the reason are kept: the instructions that lead to it.
const LINES_BEFORE: usize = 12;
/// Longest line that is kept, in characters. Of the state of all registers at a branch, the beginning will do.
const LINE_MAX: usize = 200;

/// A program that a kernel did not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The reason in the verifier's words, such as `R9 !read_ok`.
    pub why: String,
    /// The instructions before it, and it.
    pub lines: Vec<String>,
}

/// What the verifier said last in a log, trimmed to the point; none if it said nothing.
///
/// Its last line is always `processed <n> insns …`, the one before it is the reason (`print_verification_stats` and `verbose` in the
/// kernel's `kernel/bpf/verifier.c`). A logger may have put
/// everything on one line, and something before the closing one. One that puts something before every line loses us the instructions,
/// not the reason.
pub(crate) fn rejection(log: &str) -> Option<Rejection> {
    // Structured loggers write a text of several lines as one, with the ends of lines escaped.
    let log = log.replace("\\n", "\n");
    let lines: Vec<&str> = log.lines().map(str::trim_end).collect();
    let end = lines.iter().rposition(|line| is_summary(line))?;
    let said: Vec<&str> = lines[..end].iter().copied().filter(|line| !is_noise(line)).collect();
    let why = said.last()?.trim().to_owned();
    let from = said.len().saturating_sub(LINES_BEFORE + 1);
    // What stands before its first instruction is of whoever wrote the log.
    let first = said[from..].iter().position(|line| is_instruction(line)).unwrap_or(said.len() - from - 1);
    let lines = said[from + first..].iter().map(|line| line.chars().take(LINE_MAX).collect()).collect();
    Some(Rejection { why, lines })
}

/// `processed 12 insns (limit 1000000) …`
fn is_summary(line: &str) -> bool {
    let Some((_, rest)) = line.split_once("processed ") else { return false };
    let mut words = rest.split_whitespace();
    words.next().is_some_and(|number| number.parse::<u64>().is_ok()) && words.next() == Some("insns")
}

/// `12: (b7) r1 = 0`
fn is_instruction(line: &str) -> bool {
    let Some((number, rest)) = line.trim_start().split_once(": (") else { return false };
    let code = rest.split_once(')').map(|(code, _)| code);
    number.parse::<u32>().is_ok() && code.is_some_and(|code| u8::from_str_radix(code, 16).is_ok())
}

/// Figures that say nothing of the reason.
fn is_noise(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with("verification time") || line.starts_with("stack depth")
}

#[cfg(test)]
mod tests {
    use super::*;

    // As Linux 6.18 says it, with what our agent and its logger put around it.
    const LOG: &str = "INFO starting\n\
        Error: failed to load program `connect4`: the verifier rejected it:\n\
        0: R1=ctx() R10=fp0\n\
        0: (bf) r0 = r9\n\
        R9 !read_ok\n\
        processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n\
        \n\
        Caused by:\n    Permission denied (os error 13)\n";

    #[test]
    fn the_reason_and_what_leads_to_it() {
        let found = rejection(LOG).expect("a rejection");
        assert_eq!(found.why, "R9 !read_ok");
        assert_eq!(found.lines, ["0: (bf) r0 = r9", "R9 !read_ok"]);
    }

    #[test]
    fn a_log_on_one_line() {
        let escaped = format!("level=error msg=\"{}\"", LOG.replace('\n', "\\n"));
        assert_eq!(rejection(&escaped), rejection(LOG));
    }

    #[test]
    fn long_ones_are_trimmed() {
        let instructions: String = (0..500).map(|at| format!("{at}: (b7) r1 = {at}\n")).collect();
        let log = format!(
            "{instructions}math between fp pointer and register\nverification time 12 usec\nstack depth 0\nprocessed 500 insns (limit 1)\n"
        );
        let found = rejection(&log).expect("a rejection");
        assert_eq!(found.lines.len(), LINES_BEFORE + 1);
        assert_eq!(found.lines[0], "488: (b7) r1 = 488");
        assert_eq!(found.why, "math between fp pointer and register");
    }

    #[test]
    fn what_is_none() {
        assert_eq!(rejection("processed all services\nprocessed 3 items\n"), None);
        assert_eq!(rejection("processed 3 insns\n"), None, "without a reason");
        assert_eq!(rejection(""), None);
    }
}
