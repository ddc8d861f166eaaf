//! What the providers are called in metrics and in the access log.
//!
//! Owns: names by number, and the bound on labels. Must not: know a metric.

use crate::config::ProviderId;

/// Most providers that have a label of their own: each has some twenty series. The others share one.
pub(super) const MAX_LABELS: usize = 200;

/// The index of a label; [`MAX_LABELS`]: the one that the others share.
pub(super) type Label = usize;

/// The names of the providers. A label stays when its provider is gone: Envoy forgets no metric.
#[derive(Default)]
pub(super) struct Names {
    /// By number.
    providers: Vec<(ProviderId, String, Label)>,
    labels: Vec<String>,
}

impl Names {
    /// These are the providers from now on. The labels that are new.
    pub(super) fn replace(&mut self, providers: Vec<(ProviderId, String)>) -> Vec<Label> {
        let begun = self.labels.len();
        self.providers.clear();
        for (id, name) in providers {
            let label = self.label_of(&name);
            let index = self.providers.partition_point(|(other, _, _)| *other < id);
            self.providers.insert(index, (id, name, label));
        }
        (begun..self.labels.len()).collect()
    }

    /// The name as it is.
    pub(super) fn name(&self, id: ProviderId) -> Option<&str> {
        self.of(id).map(|(_, name, _)| name.as_str())
    }

    /// The label of a provider.
    pub(super) fn label(&self, id: ProviderId) -> Label {
        self.of(id).map_or(MAX_LABELS, |(_, _, label)| *label)
    }

    fn of(&self, id: ProviderId) -> Option<&(ProviderId, String, Label)> {
        self.providers
            .get(self.providers.partition_point(|(other, _, _)| *other < id))
            .filter(|it| it.0 == id)
    }

    /// What the label says. `None`: the request has no provider.
    pub(super) fn text(&self, label: Option<Label>) -> &str {
        label.map_or("none", |label| self.labels.get(label).map_or("other", String::as_str))
    }

    /// The name, as far as it can be in a stat's name.
    fn label_of(&mut self, name: &str) -> Label {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let text: String =
            name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).take(64).collect();
        let known = self.labels.iter().position(|label| *label == text);
        known.unwrap_or_else(|| {
            if self.labels.len() >= MAX_LABELS {
                return MAX_LABELS;
            }
            self.labels.push(text);
            self.labels.len().saturating_sub(1)
        })
    }
}
