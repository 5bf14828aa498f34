//! `matrix`: the same steps for every combination of values.

use super::{Block, Expander, Place, parameters::value_of, scope::is_name};
use crate::{
    suggest,
    walk::{Cursor, Findings},
};

/// Axes of a matrix.
const AXES_MAX: usize = 8;

/// `matrix: {axes: {affinity: [none, local]}, exclude: [{affinity: none}], steps: […]}`, with `${affinity}`.
pub(super) const BLOCK: Block = Block { key: "matrix", expand };

/// A name and its values, in the order of the file.
struct Axis {
    name: String,
    values: Vec<String>,
}

/// A combination: a value of each axis, as indices.
type Case = Vec<usize>;

fn expand(expander: &mut Expander<'_>, at: &Cursor<'_>, place: &Place<'_>) {
    let node = expander.arguments(at, &place.scope, &["steps"]);
    let arguments = Cursor { node: &node, path: at.path.clone() };
    let Some(fields) = arguments.fields(expander.findings, &["axes", "exclude", "steps"]) else { return };
    let axes_at = fields.required(expander.findings, "axes");
    let steps = fields.required(expander.findings, "steps").and_then(|_| at.peek("steps"));
    let Some(axes) = axes_at.as_ref().and_then(|at| read_axes(expander.findings, at, place)) else { return };
    let excluded =
        fields.optional("exclude").map_or(Some(Vec::new()), |at| read_exclude(expander.findings, &at, &axes));
    let (Some(axes_at), Some(steps), Some(excluded)) = (axes_at, steps, excluded) else { return };

    let mut any = false;
    for case in Cases::new(&axes) {
        // Cases that are left out cost as well: there can be more of them than anybody wants to count.
        if !expander.spend(at, super::VALUE_BYTES) {
            return;
        }
        if excluded.iter().any(|pattern| matches(pattern, &case)) {
            continue;
        }
        any = true;
        let mut inner = place.clone();
        for (axis, index) in axes.iter().zip(&case) {
            inner.scope.bind(&axis.name, &axis.values[*index]);
            inner.case.push((axis.name.clone(), axis.values[*index].clone()));
        }
        expander.list(&steps, &inner);
    }
    if !any {
        expander.findings.report(&axes_at, "no case is left: every combination is excluded", None);
    }
}

fn read_axes(findings: &mut Findings, at: &Cursor<'_>, place: &Place<'_>) -> Option<Vec<Axis>> {
    let pairs = at.pairs(findings)?;
    if pairs.is_empty() || pairs.len() > AXES_MAX {
        findings.report(at, format!("expected from 1 to {AXES_MAX} axes, found {}", pairs.len()), None);
        return None;
    }
    let mut axes = Vec::new();
    for (name, position, list) in pairs {
        if !is_name(&name) {
            findings.report_at(&list, position, format!("`{name}` is no name of an axis"), None);
        } else if place.scope.get(&name).is_some() {
            findings.report_at(&list, position, format!("`{name}` is already the name of a parameter here"), None);
        }
        let items = list.items(findings).unwrap_or_default();
        let mut values: Vec<String> = Vec::new();
        for item in &items {
            let Some(value) = value_of(findings, item) else { continue };
            if values.contains(&value) {
                findings.report(item, format!("value `{value}` is here twice"), None);
            }
            values.push(value);
        }
        if items.is_empty() && list.is_empty_list() {
            findings.report(&list, "there is no value, at least one is needed", None);
        }
        axes.push(Axis { name, values });
    }
    // Without values there would be no case and nobody would see what else is wrong.
    axes.iter().all(|axis| !axis.values.is_empty()).then_some(axes)
}

/// For each entry of `exclude` a value of some axes.
fn read_exclude(findings: &mut Findings, at: &Cursor<'_>, axes: &[Axis]) -> Option<Vec<Vec<Option<usize>>>> {
    let mut patterns = Vec::new();
    for item in at.items(findings)? {
        let mut pattern = vec![None; axes.len()];
        let pairs = item.pairs(findings).unwrap_or_default();
        for (name, position, value_at) in &pairs {
            let Some(index) = axes.iter().position(|axis| axis.name == *name) else {
                let hint = suggest::hint(name, axes.iter().map(|axis| axis.name.as_str()), "axes");
                findings.report_at(value_at, *position, format!("unknown axis `{name}`"), Some(hint));
                continue;
            };
            let Some(value) = value_of(findings, value_at) else { continue };
            pattern[index] = axes[index].values.iter().position(|known| *known == value);
            if pattern[index].is_none() {
                let known = axes[index].values.iter().map(String::as_str);
                let hint = suggest::hint(&value, known, &format!("values of `{name}`"));
                findings.report(value_at, format!("unknown value `{value}`"), Some(hint));
            }
        }
        if item.node.is_map() && pairs.is_empty() {
            findings.report(&item, "an empty exclusion excludes nothing", None);
        }
        if pattern.iter().any(Option::is_some) {
            patterns.push(pattern);
        }
    }
    Some(patterns)
}

fn matches(pattern: &[Option<usize>], case: &Case) -> bool {
    pattern.iter().zip(case).all(|(wanted, found)| wanted.is_none_or(|wanted| wanted == *found))
}

/// All combinations, the last axis counting fastest.
struct Cases {
    sizes: Vec<usize>,
    next: Option<Case>,
}

impl Cases {
    fn new(axes: &[Axis]) -> Self {
        Self { sizes: axes.iter().map(|axis| axis.values.len()).collect(), next: Some(vec![0; axes.len()]) }
    }
}

impl Iterator for Cases {
    type Item = Case;

    fn next(&mut self) -> Option<Case> {
        let case = self.next.take()?;
        let mut next = case.clone();
        for (index, size) in next.iter_mut().zip(&self.sizes).rev() {
            *index += 1;
            if *index < *size {
                self.next = Some(next);
                break;
            }
            *index = 0;
        }
        Some(case)
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, Cases};

    #[test]
    fn the_last_axis_counts_fastest() {
        let axis = |values: &[&str]| Axis {
            name: "a".to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let cases: Vec<_> = Cases::new(&[axis(&["x", "y"]), axis(&["1", "2", "3"])]).collect();
        assert_eq!(cases, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
    }
}
