//! Tables as Go's `text/tabwriter` lays them out.

use std::fmt::Write as _;

/// Least width of a column, padding included.
const WIDTH_MIN: usize = 5;
/// Spaces after the longest cell of a column.
const PADDING: usize = 3;

/// A header line and a line for each row.
///
/// The last cell of a row is padded, that of the header is not and does not count for the width: Cilium ends the
/// cells of rows with a tab and the header with a line end.
pub(super) fn render(titles: [&str; 2], rows: &[[String; 2]]) -> String {
    let width = |cells: &mut dyn Iterator<Item = usize>| WIDTH_MIN.max(cells.max().unwrap_or(0) + PADDING);
    let length = |text: &str| text.chars().count();
    let first = width(&mut rows.iter().map(|row| length(&row[0])).chain([length(titles[0])]));
    let second = width(&mut rows.iter().map(|row| length(&row[1])));
    let mut text = format!("{:first$}{}\n", titles[0], titles[1]);
    for [key, value] in rows {
        writeln!(text, "{key:first$}{value:second$}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell_and_padding() {
        let rows = [["1".to_owned(), "b".to_owned()], ["12345".to_owned(), "bbbb".to_owned()]];
        assert_eq!(render(["ID", "A LONG TITLE"], &rows), "ID      A LONG TITLE\n1       b      \n12345   bbbb   \n");
    }

    #[test]
    fn narrow_columns_have_five_characters() {
        assert_eq!(render(["A", "B"], &[["1".to_owned(), "b".to_owned()]]), "A    B\n1    b    \n");
    }

    #[test]
    fn an_empty_map_prints_the_header_only() {
        assert_eq!(render(["ID", "B"], &[]), "ID   B\n");
    }
}
