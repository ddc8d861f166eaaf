//! Metrics: a value per name for the whole Envoy, numbers per VM.
//!
//! A number carries its kind in the low two bits, as in Envoy; defining a
//! name again gives a new number for the same value.

use std::collections::BTreeMap;

use crate::status::Status;

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// The values of one Envoy, by name. A histogram's value is its last sample.
pub(crate) type MetricValues = BTreeMap<String, u64>;

/// The numbers one VM was given.
#[derive(Default)]
pub(crate) struct MetricIds {
    names: BTreeMap<u32, (MetricKind, String)>,
}

impl MetricIds {
    pub(crate) fn define(
        &mut self,
        values: &mut MetricValues,
        kind: u32,
        name: String,
    ) -> Result<u32, Status> {
        let kind = match kind {
            0 => MetricKind::Counter,
            1 => MetricKind::Gauge,
            2 => MetricKind::Histogram,
            _ => return Err(Status::BadArgument),
        };
        let id = (u32::try_from(self.names.len()).unwrap() + 1) * 4 + kind as u32;
        values.entry(name.clone()).or_insert(0);
        self.names.insert(id, (kind, name));
        Ok(id)
    }

    pub(crate) fn increment(&self, values: &mut MetricValues, id: u32, offset: i64) -> Result<(), Status> {
        let (kind, name) = self.names.get(&id).ok_or(Status::NotFound)?;
        let value = values.get_mut(name).ok_or(Status::NotFound)?;
        match kind {
            MetricKind::Counter if offset <= 0 => return Err(Status::BadArgument),
            MetricKind::Counter | MetricKind::Gauge => *value = value.saturating_add_signed(offset),
            MetricKind::Histogram => return Err(Status::BadArgument),
        }
        Ok(())
    }

    pub(crate) fn record(&self, values: &mut MetricValues, id: u32, sample: u64) -> Result<(), Status> {
        let (kind, name) = self.names.get(&id).ok_or(Status::NotFound)?;
        let value = values.get_mut(name).ok_or(Status::NotFound)?;
        match kind {
            MetricKind::Counter => *value = value.saturating_add(sample),
            MetricKind::Gauge | MetricKind::Histogram => *value = sample,
        }
        Ok(())
    }

    pub(crate) fn get(&self, values: &MetricValues, id: u32) -> Result<u64, Status> {
        let (kind, name) = self.names.get(&id).ok_or(Status::NotFound)?;
        match kind {
            MetricKind::Counter | MetricKind::Gauge => values.get(name).copied().ok_or(Status::NotFound),
            MetricKind::Histogram => Err(Status::BadArgument),
        }
    }
}
