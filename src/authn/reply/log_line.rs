//! The line that the log has of a reply.
//!
//! Owns: its form, `key=value` with the message last (logfmt). Searches and alerts are made of it.
//! Must not: show what a client sent, but for the identifier of its request.

use crate::authn::report::Report;

/// What the log says of a reply beside its status and its report.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// How bad it is. [`log::Level::Warn`]: an operator must act, so that once a minute is enough.
    pub level: log::Level,
    /// Name of the provider; empty: there is none for the host.
    pub provider: String,
    /// `x-request-id`, as the page shows it.
    pub id: String,
    /// What happened.
    pub message: String,
}

impl LogLine {
    /// The line, without secrets.
    pub(crate) fn render(&self, status: u16, report: &Report) -> String {
        let Self { provider, id, message, .. } = self;
        let (reason, source) = (report.reason.as_str(), report.source.as_str());
        let (provider, id) = (value(provider), if id.is_empty() { "-" } else { id });
        format!(
            "provider={provider} status={status} reason={reason} source={source} id={id} message={message:?}"
        )
    }
}

/// As it is where that is one word, else in quotes.
fn value(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    match text {
        "" => "-".to_owned(),
        text if text.bytes().all(is_plain) => text.to_owned(),
        text => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_that_are_no_word_are_in_quotes() {
        for (text, expected) in
            [("", "-"), ("demo", "demo"), ("my app", "\"my app\""), ("a\"b=c\n", "\"a\\\"b=c\\n\"")]
        {
            assert_eq!(value(text), expected);
        }
    }
}
