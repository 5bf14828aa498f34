//! Colours of the terminal reports. Every text can be understood without them.

use owo_colors::{OwoColorize, Style};

/// Whether escape sequences for colours are written. The caller decides (terminal, `NO_COLOR`, `--color`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    #[default]
    No,
    /// With escape sequences.
    Yes,
}

/// How each kind of text looks; plain by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Styles {
    pub(crate) good: Style,
    pub(crate) bad: Style,
    pub(crate) caution: Style,
    pub(crate) quiet: Style,
    pub(crate) strong: Style,
}

impl Styles {
    pub(crate) fn new(colour: Colour) -> Self {
        match colour {
            Colour::No => Self::default(),
            Colour::Yes => Self {
                good: Style::new().green().bold(),
                bad: Style::new().red().bold(),
                caution: Style::new().yellow().bold(),
                quiet: Style::new().cyan(),
                strong: Style::new().bold(),
            },
        }
    }
}

/// `word` right-aligned in the status column and styled.
pub(crate) fn status_word(word: &str, style: Style) -> String {
    // The padding comes first: escape sequences must not count as width.
    format!("{}{}", " ".repeat(STATUS_WIDTH.saturating_sub(word.len())), word.style(style))
}

/// Width of the column with the status word, as nextest and Cargo have it.
pub(crate) const STATUS_WIDTH: usize = 12;
