//! Markdown's own characters, and tables.

use std::fmt::{self, Write as _};

use crate::words;

/// Characters of one text; names and findings come from files and answers.
const TEXT_MAX: usize = 500;

/// `text` on one line, such that Markdown and HTML show it as it is.
pub(crate) fn inline(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in words::shortened(&words::printable(text), TEXT_MAX).chars() {
        match c {
            '<' => clean.push_str("&lt;"),
            '>' => clean.push_str("&gt;"),
            '&' => clean.push_str("&amp;"),
            // A mention would notify somebody.
            '@' => clean.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                clean.push('\\');
                clean.push(c);
            }
            c => clean.push(c),
        }
    }
    clean
}

/// `text` as code, whatever characters it has; also good within a table.
pub(crate) fn code(text: &str) -> String {
    let clean = words::shortened(&words::printable(text), TEXT_MAX);
    let mut escaped = String::with_capacity(clean.len());
    for c in clean.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // Backticks cannot hold these in a table or at all; the element can.
            '`' => escaped.push_str("&#96;"),
            '|' => escaped.push_str("&#124;"),
            '*' => escaped.push_str("&#42;"),
            '_' => escaped.push_str("&#95;"),
            '\\' => escaped.push_str("&#92;"),
            '@' => escaped.push_str("&#64;"),
            c => escaped.push(c),
        }
    }
    format!("<code>{escaped}</code>")
}

/// Adds formatted text.
pub(crate) fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

/// A table in the making. Cells are escaped by whoever makes them.
pub(crate) struct Table {
    text: String,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut text = String::new();
        put(&mut text, format_args!("| {} |\n", columns.join(" | ")));
        put(&mut text, format_args!("|{}\n", " --- |".repeat(columns.len())));
        Self { text }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.text.push('|');
        for cell in cells {
            put(&mut self.text, format_args!(" {} |", cell.replace('\n', " ")));
        }
        self.text.push('\n');
    }

    /// The table, with a line end.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_shown_and_not_obeyed() {
        assert_eq!(inline("<b>a|b*c_d\n@you"), "&lt;b&gt;a\\|b\\*c\\_d\\\\n&#64;you");
        assert_eq!(code("a|`b`"), "<code>a&#124;&#96;b&#96;</code>");
    }
}
