//! Tables as Go's `text/tabwriter` lays them out for `cilium-dbg`.

/// Least width of a column, padding included.
const WIDTH_MIN: usize = 5;
/// Spaces after the longest cell of a column.
const PADDING: usize = 3;

/// A line for each row. The last cell of a row ends its line and is not padded.
pub(crate) fn render<const COLUMNS: usize>(rows: &[[&str; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = WIDTH_MIN.max(cell.chars().count() + PADDING).max(*width);
        }
    }
    if let Some(last) = widths.last_mut() {
        *last = 0;
    }
    let mut text = String::new();
    for row in rows {
        for (width, cell) in widths.into_iter().zip(row) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell_and_padding() {
        assert_eq!(render(&[["ID", "A TITLE"], ["12345", "b"]]), "ID      A TITLE\n12345   b\n");
    }

    #[test]
    fn narrow_and_empty_columns_have_their_least_width() {
        assert_eq!(render(&[["A", "", "C"], ["1", "", "d"]]), "A    ".to_owned() + "     C\n1         d\n");
    }
}
