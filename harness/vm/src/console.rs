//! What the console of a guest says about its end.

/// Words of a panic (Linux, `kernel/panic.c`).
const PANIC: &str = "Kernel panic - not syncing";
/// Words of the killer that comes when memory is full (Linux, `mm/oom_kill.c`).
const OUT_OF_MEMORY: [&str; 2] = ["Out of memory", "out of memory"];
/// How lines begin that say what an exception was which ends in a panic (Linux, `arch/x86/kernel/traps.c`, `dumpstack.c`, `mm/fault.c`).
const EXCEPTIONS: [&str; 6] =
    ["Oops:", "BUG:", "kernel BUG at", "int3:", "general protection fault", "invalid opcode:"];
/// Lines of a panic that are told.
const LINES_MAX: usize = 30;

/// Something that a kernel said and that ends what runs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// The kernel panicked: its words, and the lines before and after it.
    Panic {
        /// What follows `Kernel panic - not syncing`, with the exception that led to it, if one did.
        why: String,
        /// The lines around it.
        lines: Vec<String>,
    },
    /// Memory was full, and something was killed for it.
    OutOfMemory {
        /// The line that says so.
        line: String,
    },
}

/// The death that a console tells of. A panic for want of memory is that want.
pub fn death(console: &str) -> Option<Death> {
    let lines: Vec<&str> = console.lines().map(|line| line.trim_end_matches('\r')).collect();
    let out_of_memory = || lines.iter().find(|line| OUT_OF_MEMORY.iter().any(|words| line.contains(words)));
    let panicked = lines.iter().position(|line| line.contains(PANIC));
    match (panicked, out_of_memory()) {
        (_, Some(line)) => Some(Death::OutOfMemory { line: without_time(line).to_owned() }),
        (Some(at), None) => {
            let mut why = lines[at].split(PANIC).nth(1).unwrap_or_default().trim_start_matches(':').trim().to_owned();
            let is_exception = |line: &&str| EXCEPTIONS.iter().any(|words| line.starts_with(words));
            if let Some(first) = lines[..at].iter().map(|line| without_time(line)).find(is_exception) {
                why = format!("{why}: {first}");
            }
            let from = at.saturating_sub(LINES_MAX / 2);
            let to = lines.len().min(at + LINES_MAX / 2);
            let lines = lines[from..to].iter().map(|line| without_time(line).to_owned()).collect();
            Some(Death::Panic { why, lines })
        }
        (None, None) => None,
    }
}

/// `[    2.827704] text` is `text`.
fn without_time(line: &str) -> &str {
    let rest = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match rest {
        Some((time, text)) if time.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ' ') => text,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_reason() {
        let console = "[    1.0] hello\r\n[    2.5] sysrq: Trigger a crash\r\n\
                       [    2.6] Kernel panic - not syncing: sysrq triggered crash\r\n[    2.7] CPU: 0 PID: 1\r\n";
        let Some(Death::Panic { why, lines }) = death(console) else { panic!("it panicked") };
        assert_eq!(why, "sysrq triggered crash");
        assert_eq!(lines[1], "sysrq: Trigger a crash");
    }

    #[test]
    fn the_exception_before_a_panic_is_told() {
        let console = "[    3.1] fine\n[    3.2] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n[    3.2] RIP: 0010:sched_clock_cpu+0x9/0x1d0\n\
                       [    3.3] Oops: int3: 0000 [#2] PREEMPT SMP NOPTI\n[    3.4] Kernel panic - not syncing: Fatal exception in interrupt\n";
        let Some(Death::Panic { why, .. }) = death(console) else { panic!("it panicked") };
        assert_eq!(why, "Fatal exception in interrupt: Oops: int3: 0000 [#1] PREEMPT SMP NOPTI");
    }

    #[test]
    fn want_of_memory_is_no_other_panic() {
        let killed = "[   12.0] Out of memory: Killed process 80 (etcd) total-vm:1kB\n";
        assert_eq!(
            death(killed),
            Some(Death::OutOfMemory { line: "Out of memory: Killed process 80 (etcd) total-vm:1kB".into() })
        );
        let panic = "[ 1.0] Out of memory and no killable processes...\n[ 1.1] Kernel panic - not syncing: System is deadlocked on memory\n";
        assert!(matches!(death(panic), Some(Death::OutOfMemory { .. })));
    }

    #[test]
    fn a_quiet_console_tells_nothing() {
        assert_eq!(death("[    1.0] Linux version 6.1\n[x] y\n"), None);
        assert_eq!(without_time("[x] y"), "[x] y");
    }
}
