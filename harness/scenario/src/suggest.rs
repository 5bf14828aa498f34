//! "Did you mean …?"

/// A hint for an unknown word: the nearest known one if one is near, and all that are known.
///
/// `what` is the plural of what they are, such as `clusters`.
pub(crate) fn hint<'a>(found: &str, known: impl IntoIterator<Item = &'a str>, what: &str) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.dedup();
    if known.is_empty() {
        return format!("there are no {what} here");
    }
    let all: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    let all = format!("{what} here: {}", all.join(", "));
    match nearest(found, &known) {
        Some(nearest) => format!("did you mean `{nearest}`? ({all})"),
        None => all,
    }
}

/// The known word with the smallest distance, if at most a third of its letters differ (at least one may).
fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &str| edit_distance(&found.to_lowercase(), &word.to_lowercase());
    let best = known.iter().min_by_key(|word| distance(word))?;
    (distance(best) <= (best.chars().count() / 3).max(1)).then_some(best)
}

/// Least number of inserted, removed, replaced or swapped neighbouring characters that turns one word into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for i in 0..=from.len() {
        for j in 0..=to.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
                let best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
                if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("wset", &["east", "west"] => "did you mean `west`? (clusters here: `east`, `west`)" ; "swapped letters")]
    #[test_case("Alpha", &["alpha", "beta"] => "did you mean `alpha`? (clusters here: `alpha`, `beta`)" ; "case")]
    #[test_case("gamma", &["alpha", "beta"] => "clusters here: `alpha`, `beta`" ; "nothing near")]
    #[test_case("x", &[] => "there are no clusters here" ; "nothing known")]
    fn hints(found: &str, known: &[&str]) -> String {
        hint(found, known.iter().copied(), "clusters")
    }
}
