//! The terminal while it shows a live view, with plain control sequences.

use std::io::{self, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

/// Another screen, without a cursor; nothing is wrapped.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// All as it was.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Size of a terminal that does not tell.
const SIZE_DEFAULT: (usize, usize) = (100, 40);

/// The terminal with another screen; what was there before comes back when it is dropped.
pub(super) struct Terminal {
    /// How keys were treated before, if there is a keyboard.
    keyboard: Option<Termios>,
}

impl Terminal {
    pub(super) fn open() -> io::Result<Self> {
        let keyboard = tcgetattr(io::stdin()).ok();
        if let Some(before) = &keyboard {
            let mut silent = before.clone();
            // Keys arrive at once and are not shown. Ctrl-C stays a signal; Ctrl-Z would leave the other screen there.
            silent.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            silent.special_codes[SpecialCodeIndex::VSUSP] = 0;
            silent.special_codes[SpecialCodeIndex::VMIN] = 1;
            silent.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
        }
        let terminal = Self { keyboard };
        write(ENTER)?;
        Ok(terminal)
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => SIZE_DEFAULT,
        }
    }

    /// Shows these lines and nothing else. Each line is cleared only behind its text, so that nothing flickers.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[0m\x1b[K")).collect();
        write(&format!("\x1b[H{}\x1b[J", lines.join("\r\n")))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _gone = write(LEAVE).is_err();
        if let Some(before) = &self.keyboard {
            let _gone = tcsetattr(io::stdin(), OptionalActions::Now, before).is_err();
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Keys as they are typed. The thread that waits for them ends with the program.
pub(super) fn keys() -> mpsc::Receiver<u8> {
    let (sender, keys) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        for key in io::stdin().lock().bytes().map_while(Result::ok) {
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

/// Keys that may wait.
const KEYS_MAX: usize = 16;
