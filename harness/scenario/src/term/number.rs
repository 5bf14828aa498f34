//! Numbers with limits.

use std::{fmt, num::NonZeroU32};

use crate::{Context, Cursor, Json, Term, schema};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Number<MIN, MAX> {
    /// `None` outside of the limits.
    pub const fn new(number: u64) -> Option<Self> {
        if number < MIN || number > MAX { None } else { Some(Self(number)) }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for Number<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MIN: u64, const MAX: u64> Term for Number<MIN, MAX> {
    fn schema() -> Json {
        schema::integer(MIN, MAX)
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        at.number(context.findings(), MIN, MAX).map(Self)
    }
}

/// How many; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Count(NonZeroU32);

impl Count {
    /// `None` for zero.
    pub fn new(count: u32) -> Option<Self> {
        NonZeroU32::new(count).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Term for Count {
    fn schema() -> Json {
        schema::integer(1, u32::MAX.into())
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let number = at.number(context.findings(), 1, u32::MAX.into())?;
        u32::try_from(number).ok().and_then(Self::new)
    }
}

/// A share from 0 to 1, also written in percent: `0.05`, `5%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// `None` outside of 0 to 1.
    pub fn new(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then_some(Self(ratio))
    }

    /// From 0 to 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// In percent.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Six digits: what is written as 0.1% is not shown as 0.10000000000000001%.
        let percent = format!("{:.6}", self.0 * 100.0);
        f.pad(&format!("{}%", percent.trim_end_matches('0').trim_end_matches('.')))
    }
}

impl Term for Ratio {
    fn schema() -> Json {
        schema::any_of([
            serde_json::json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            serde_json::json!({ "type": "string", "pattern": "^[0-9.]+%$" }),
            schema::placeholder(),
        ])
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let parsed = at.scalar().and_then(|text| match text.strip_suffix('%') {
            Some(percent) => percent.trim_end().parse().ok().map(|percent: f64| percent / 100.0),
            None => text.parse().ok(),
        });
        let ratio = parsed.and_then(Self::new);
        if ratio.is_none() {
            let hint = Some("a share is like `0.05` or `5%`".to_owned());
            context.report(at, format!("expected a share from 0 to 1, found {}", at.kind()), hint);
        }
        ratio
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::Ratio;

    #[test_case(0.05 => "5%")]
    #[test_case(0.001 => "0.1%")]
    #[test_case(1.0 => "100%")]
    #[test_case(0.0 => "0%")]
    fn percent(ratio: f64) -> String {
        Ratio::new(ratio).expect("a share").to_string()
    }

    #[test]
    fn only_shares() {
        assert_eq!((Ratio::new(1.01), Ratio::new(-0.01), Ratio::new(f64::NAN)), (None, None, None));
    }
}
