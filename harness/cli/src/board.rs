//! What several guests do at the same time: a table that is drawn again and again on a terminal, lines elsewhere.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::printer;

/// Least time between two drawings: a person reads no faster.
const REDRAW: Duration = Duration::from_millis(200);
/// Time between two drawings when nothing happens.
const TICK: Duration = Duration::from_secs(1);
/// Longest text of a row, in characters, so that rows do not wrap on usual terminals.
const TEXT_MAX: usize = 60;

/// See the module.
pub(crate) struct Board {
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    rows: Vec<Row>,
    /// Lines below the cursor that are ours.
    drawn: usize,
    last: Option<Instant>,
}

struct Row {
    name: String,
    begun: Option<Instant>,
    took: Option<Duration>,
    text: String,
}

impl Board {
    /// A board on stderr, with a row for each name.
    pub(crate) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let row = |name: &str| Row { name: name.to_owned(), begun: None, took: None, text: "waits".to_owned() };
        let rows = names.into_iter().map(row).collect();
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, state: Mutex::new(State { rows, drawn: 0, last: None }) }
    }

    /// Whether rows are shown, so that not everything need be told line by line.
    pub(crate) fn is_shown(&self) -> bool {
        self.terminal
    }

    /// One begins.
    pub(crate) fn begins(&self, name: &str) {
        self.change(name, |row| {
            row.begun = Some(Instant::now());
            row.text = "boots".to_owned();
        });
    }

    /// What one does now.
    pub(crate) fn does(&self, name: &str, text: &str) {
        self.change(name, |row| row.text = text.chars().take(TEXT_MAX).collect());
    }

    /// One is done.
    pub(crate) fn ends(&self, name: &str) {
        self.change(name, |row| row.took = row.begun.map(|begun| begun.elapsed()));
    }

    /// Tells a line of one of them, above the table.
    pub(crate) fn tell(&self, name: &str, text: &str) {
        let mut state = self.lock();
        let wiped = state.wipe();
        printer::say(&format!("{wiped}{name:>8} | {text}\n"));
        self.draw(&mut state);
    }

    /// Removes the table.
    pub(crate) fn finish(&self) {
        let wiped = self.lock().wipe();
        printer::say(&wiped);
    }

    /// Draws the table each second: times go on. Never ends.
    pub(crate) async fn goes_on(&self) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            self.change("", |_| {});
        }
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Row)) {
        let mut state = self.lock();
        if let Some(row) = state.rows.iter_mut().find(|row| row.name == name) {
            change(row);
        }
        if state.last.is_none_or(|last| last.elapsed() >= REDRAW) {
            let wiped = state.wipe();
            printer::say(&wiped);
            self.draw(&mut state);
        }
    }

    fn draw(&self, state: &mut State) {
        if !self.terminal {
            return;
        }
        printer::say(&state.rows.iter().map(Row::line).collect::<String>());
        state.drawn = state.rows.len();
        state.last = Some(Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What takes the table off the terminal.
    fn wipe(&mut self) -> String {
        let drawn = std::mem::take(&mut self.drawn);
        if drawn == 0 { String::new() } else { format!("\x1b[{drawn}A\x1b[J") }
    }
}

impl Row {
    fn line(&self) -> String {
        let time = self.took.or_else(|| self.begun.map(|begun| begun.elapsed()));
        let time = time.map(|time| format!("{}s", time.as_secs())).unwrap_or_default();
        format!("{:>8} {time:>6}  {}\n", self.name, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_is_done() {
        let mut row = Row { name: "6.12".into(), begun: None, took: None, text: "waits".into() };
        assert_eq!(row.line(), "    6.12         waits\n");
        row.took = Some(Duration::from_secs(312));
        row.text = "20 of 20: all pass".into();
        assert_eq!(row.line(), "    6.12   312s  20 of 20: all pass\n");
    }

    #[test]
    fn only_what_was_drawn_is_wiped() {
        let mut state = State { rows: Vec::new(), drawn: 3, last: None };
        assert_eq!(state.wipe(), "\x1b[3A\x1b[J");
        assert_eq!(state.wipe(), "");
    }
}
