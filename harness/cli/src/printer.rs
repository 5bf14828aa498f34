//! The one place that writes to the terminal: data to stdout, talk to stderr.

use std::{
    io::{IsTerminal, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use meshbed_events::{Micros, Stamped};
use meshbed_report::terminal::{Colour, Detail, Live, status_line};

/// Prints data, such as a table or a kubeconfig.
pub(crate) fn data(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A reader that went away (`| head`) is no error of ours.
    let _closed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err();
}

/// Prints a line of data as it happens; false when nobody reads any more.
pub(crate) fn data_line(line: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok()
}

/// Says something about what the program does.
pub(crate) fn talk(text: &str) {
    say(&format!("{text}\n"));
}

/// Passes on what another program said, as it is.
pub(crate) fn talk_bytes(bytes: &[u8]) {
    say(&String::from_utf8_lossy(bytes));
}

/// Writes talk as it is. A terminal that was closed must not end a run that has meshes to take down.
pub(crate) fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _closed = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).is_err();
}

/// Prints an error with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    let text = error.to_string();
    // Diagnostics of files bring their own `error:` line.
    talk(&if text.starts_with("error") { text.trim_end().to_owned() } else { format!("error: {text}") });
    for cause in error.chain().skip(1) {
        talk(&format!("  caused by: {cause}"));
    }
}

/// Whether stderr takes colours: a terminal, and nobody said `NO_COLOR`.
pub(crate) fn colour() -> Colour {
    let wanted = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted { Colour::Yes } else { Colour::No }
}

/// Whether stdout takes colours.
pub(crate) fn colour_of_data() -> Colour {
    if std::io::stdout().is_terminal() { colour() } else { Colour::No }
}

/// Live output of a run: lines, and on a terminal a status line below them.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<ProgressState>>);

struct ProgressState {
    live: Live,
    terminal: bool,
    shown: String,
    drawn: Micros,
}

/// Least time between two status lines that follow no other line: a person reads no faster, and hundreds of requests
/// a second would each draw one.
const REDRAW: Duration = Duration::from_millis(100);

impl Progress {
    /// Progress on stderr.
    pub(crate) fn new(detail: Detail) -> Self {
        let live = Live::new(colour(), detail);
        Self(Arc::new(Mutex::new(ProgressState {
            live,
            terminal: std::io::stderr().is_terminal(),
            shown: String::new(),
            drawn: Micros::default(),
        })))
    }

    /// Shows an event.
    pub(crate) fn event(&self, stamped: &Stamped) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let lines = state.live.lines(stamped);
        if lines.is_empty() && (!state.terminal || stamped.at.since(state.drawn) < REDRAW) {
            return;
        }
        state.drawn = stamped.at;
        let status = if state.terminal { status_line(state.live.state()) } else { String::new() };
        let mut text = String::new();
        if !state.shown.is_empty() {
            text.push_str("\r\x1b[2K");
        }
        for line in lines {
            text.push_str(&line);
            text.push('\n');
        }
        text.push_str(&status);
        state.shown = status;
        say(&text);
    }

    /// Removes the status line.
    pub(crate) fn finish(&self) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !state.shown.is_empty() {
            state.shown.clear();
            say("\r\x1b[2K");
        }
    }
}
