//! What several rounds of load say together. A shared machine is slower in one round than in the next, so two variants
//! are compared within each round.

use super::counters::Sample;

/// One for each round, in their order.
#[derive(Clone, Default)]
pub(crate) struct Rounds(pub(crate) Vec<Sample>);

/// One figure of a sample.
pub(crate) type Figure = fn(&Sample) -> f64;

impl Rounds {
    /// `None` where nothing was measured.
    pub(crate) fn median(&self, of: Figure) -> Option<f64> {
        self.quartile(2, of)
    }

    /// The first, the second (the median) or the third.
    pub(crate) fn quartile(&self, which: usize, of: Figure) -> Option<f64> {
        quartile(which, self.0.iter().map(of).collect())
    }

    /// The median of each round's ratio.
    pub(crate) fn ratio(&self, other: &Self, of: Figure) -> Option<f64> {
        quartile(2, self.0.iter().zip(&other.0).map(|(one, other)| of(one) / of(other)).collect())
    }
}

/// Between two values where it falls between them.
fn quartile(which: usize, mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = values.len().checked_sub(1)? * which;
    let (below, above) = (values[place / 4], values[place.div_ceil(4)]);
    Some(below + (above - below) * (place % 4) as f64 / 4.0)
}
