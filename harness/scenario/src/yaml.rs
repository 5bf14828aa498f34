//! YAML text to a tree whose nodes know where they stand. Only this module and `manifest` know a YAML library.
//!
//! Deserializing into structs stops at the first error; a tree can be walked to the end, so that one reading finds
//! everything that is wrong. Anchors, aliases and tags are refused: a scenario reads from top to bottom.

use std::{path::Path, sync::Arc};

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use crate::Position;

/// Bytes of a topology or scenario file; a hundred times what the longest one has.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;
/// Nodes of the tree; the text limit allows for more only if it is nonsense such as `[[[,,,`.
pub(crate) const TREE_NODES_MAX: usize = 50_000;
/// Levels of the tree; the schema has 8 without blocks in blocks.
pub(crate) const TREE_DEPTH_MAX: usize = 32;

/// One value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) file: Arc<Path>,
    pub(crate) position: Position,
    pub(crate) value: Value,
}

impl Node {
    pub(crate) fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A scalar as written.
    Scalar { text: String, style: Style },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file; keys may repeat.
    Map(Vec<Entry>),
}

/// How a scalar was written, which says what it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes: what YAML's core schema takes it for.
    Plain,
    /// With quotes: always text.
    Quoted,
    /// With the value of a parameter in it: whatever is expected there. Inside of `{…}` YAML wants quotes around
    /// `${rate}`, and it can be a number all the same.
    Filled,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_position: Position,
    pub(crate) value: Node,
}

/// Why a text has no tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) position: Position,
    pub(crate) message: String,
}

/// The tree of `text`, which is that of `file` and must hold exactly one document.
pub(crate) fn parse(text: &str, file: &Arc<Path>) -> Result<Node, SyntaxError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), file, nodes: 0 };
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("file has {} bytes, at most {TEXT_BYTES_MAX} are allowed", text.len());
        return Err(SyntaxError { position: Position { line: 1, column: 1 }, message });
    }
    let mut tree = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, span) => {
                let message = || "file is empty".to_owned();
                return tree.ok_or_else(|| SyntaxError { position: position(&span.start), message: message() });
            }
            (Event::DocumentStart(..), span) if tree.is_some() => {
                return Err(error(&span, "file has more than one YAML document"));
            }
            (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
            (event, span) => tree = Some(reader.node(event, span, 0)?),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
    file: &'a Arc<Path>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// The next event that is no comment.
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        loop {
            match self.parser.next() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(next)) => return Ok(next),
                Some(Err(error)) => return Err(syntax_error(&error)),
                // The parser ends its stream with StreamEnd, after which nobody asks.
                None => {
                    let position = Position { line: 1, column: 1 };
                    return Err(SyntaxError { position, message: "file ends too early".to_owned() });
                }
            }
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, SyntaxError> {
        self.nodes += 1;
        if self.nodes > TREE_NODES_MAX {
            return Err(error(&span, &format!("file has more than {TREE_NODES_MAX} values")));
        }
        if depth > TREE_DEPTH_MAX {
            return Err(error(&span, &format!("values are nested more than {TREE_DEPTH_MAX} deep")));
        }
        let (value, anchor, tagged) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                (Value::Scalar { text: text.into_owned(), style }, anchor, tag.is_some())
            }
            Event::SequenceStart(_, anchor, tag) => (Value::List(self.list(depth)?), anchor, tag.is_some()),
            Event::MappingStart(_, anchor, tag) => (Value::Map(self.map(depth)?), anchor, tag.is_some()),
            Event::Alias(_) => return Err(error(&span, "aliases (`*name`) are not supported")),
            _ => return Err(error(&span, "expected a value")),
        };
        if anchor != 0 {
            return Err(error(&span, "anchors (`&name`) are not supported"));
        }
        if tagged {
            return Err(error(&span, "tags (`!name`) are not supported"));
        }
        Ok(Node { file: Arc::clone(self.file), position: position(&span.start), value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, SyntaxError> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            match key.value {
                Value::Scalar { text, .. } => entries.push(Entry { key: text, key_position: key.position, value }),
                Value::List(_) | Value::Map(_) => {
                    let message = "a key must be text, not a list or a mapping".to_owned();
                    return Err(SyntaxError { position: key.position, message });
                }
            }
        }
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

fn error(span: &Span, message: &str) -> SyntaxError {
    SyntaxError { position: position(&span.start), message: message.to_owned() }
}

fn syntax_error(error: &ScanError) -> SyntaxError {
    SyntaxError { position: position(error.marker()), message: format!("not YAML: {}", error.info()) }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    fn parse(text: &str) -> Result<Node, SyntaxError> {
        super::parse(text, &Arc::from(Path::new("test.yaml")))
    }

    fn outline(node: &Node) -> String {
        let place = node.position;
        match &node.value {
            Value::Scalar { text, style: Style::Quoted } => format!("'{text}'@{place}"),
            Value::Scalar { text, .. } => format!("{text}@{place}"),
            Value::List(items) => format!("[{}]@{place}", items.iter().map(outline).collect::<Vec<_>>().join(" ")),
            Value::Map(entries) => {
                let entry = |entry: &Entry| format!("{}@{}={}", entry.key, entry.key_position, outline(&entry.value));
                format!("{{{}}}@{place}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test_case("a: 1\n" => "{a@1:1=1@1:4}@1:1" ; "block mapping")]
    #[test_case("# c\na:\n- x: 'y'\n  z: \"\"\n" => "{a@2:1=[{x@3:3='y'@3:6 z@4:3=''@4:6}@3:3]@3:3}@2:1" ; "nested blocks")]
    #[test_case("a: {b: [c, ü, d]}\n" => "{a@1:1={b@1:5=[c@1:9 ü@1:12 d@1:15]@1:8}@1:4}@1:1" ; "flow, columns are characters")]
    #[test_case("a:\nb: 1\n" => "{a@1:1=~@1:2 b@2:1=1@2:4}@1:1" ; "missing value")]
    fn positions(text: &str) -> String {
        outline(&parse(text).expect("a tree"))
    }

    #[test_case("" => "1:1 file is empty".to_owned() ; "empty")]
    #[test_case("a: 1\n---\nb: 2\n" => "2:1 file has more than one YAML document".to_owned() ; "two documents")]
    #[test_case("a: &x 1\n" => "1:7 anchors (`&name`) are not supported".to_owned() ; "anchor")]
    #[test_case("a: !x 1\n" => "1:7 tags (`!name`) are not supported".to_owned() ; "tag")]
    #[test_case("? [a]\n: 1\n" => "1:3 a key must be text, not a list or a mapping".to_owned() ; "list as key")]
    #[test_case(&format!("{}{}", "[".repeat(40), "]".repeat(40)) => "1:34 values are nested more than 32 deep".to_owned() ; "too deep")]
    #[test_case(&format!("[{}]", "a,".repeat(TREE_NODES_MAX)) => "1:100000 file has more than 50000 values".to_owned() ; "too many")]
    #[test_case(&" ".repeat(TEXT_BYTES_MAX + 1) => "1:1 file has 1048577 bytes, at most 1048576 are allowed".to_owned() ; "too long")]
    fn errors(text: &str) -> String {
        let error = parse(text).expect_err("no tree");
        format!("{} {}", error.position, error.message)
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let error = parse("a: 1\nb: [\nc: 2\n").expect_err("an open list");
        assert!(error.message.starts_with("not YAML: "), "{}", error.message);
        assert!(error.position.line >= 2, "{}", error.position);
    }
}
