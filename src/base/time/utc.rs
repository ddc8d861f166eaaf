//! Dates and times in UTC, as authentik's API reads and writes them.
//!
//! Owns: both forms. Must not: know other time zones.

use super::Timestamp;
use super::calendar::{self, MONTHS, days_before, length_of, number};

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

impl Timestamp {
    /// From `2026-11-26T00:36:43.915415Z`, the form of authentik's API (RFC 3339 §5.6). A fraction may be left out; what is
    /// shorter than a millisecond is dropped.
    ///
    /// `None`: it has another form, is no date, or is before 1970.
    pub(crate) fn from_utc(text: &str) -> Option<Self> {
        let (seconds, rest) = text.as_bytes().split_first_chunk()?;
        let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] = seconds
        else {
            return None;
        };
        let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
        let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
        let (_, seconds) = calendar::seconds((year, month, day), (hour, minute, second))?;
        Some(Self::from_millis(seconds.saturating_mul(1000).saturating_add(milliseconds(rest)?)))
    }

    /// The second in which the moment lies: `2026-11-26 00:36:43`, the form of authentik's search. `None`: after the year 9999.
    pub(crate) fn utc_seconds(self) -> Option<String> {
        let (days, second) = (self.seconds() / SECONDS_A_DAY, self.seconds() % SECONDS_A_DAY);
        // 400 years have 146,097 days, so this is the year or the one before.
        let mut year = days.saturating_mul(400).checked_div(146_097)?.saturating_add(1970);
        while days_before(year.checked_add(1)?)? <= days {
            year = year.checked_add(1)?;
        }
        while days_before(year)? > days {
            year = year.checked_sub(1)?;
        }
        let mut day = days.checked_sub(days_before(year)?)?;
        for (month, (name, length)) in (1..).zip(MONTHS) {
            let length = length_of(name, length, year);
            if day < length {
                let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
                let day = day.saturating_add(1);
                let month: u64 = month;
                return (year <= 9999)
                    .then(|| format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"));
            }
            day = day.saturating_sub(length);
        }
        None
    }
}

/// From nothing, or from a point and digits; before a `Z`.
fn milliseconds(text: &[u8]) -> Option<u64> {
    match text {
        [b'Z'] => Some(0),
        [b'.', digits @ .., b'Z'] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let digits = digits.iter().chain(b"00").take(3);
            number(&digits.copied().collect::<Vec<_>>())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<u64> {
        Timestamp::from_utc(text).map(Timestamp::millis)
    }

    fn written(seconds: u64) -> Option<String> {
        Timestamp::from_seconds(seconds).utc_seconds()
    }

    /// The seconds are those of GNU date.
    const MOMENTS: [(&str, u64); 9] = [
        ("1970-01-01 00:00:00", 0),
        ("1994-11-06 08:49:37", 784_111_777),
        ("2000-02-29 23:59:59", 951_868_799),
        ("2000-03-01 00:00:00", 951_868_800),
        ("2024-02-29 12:00:00", 1_709_208_000),
        ("2024-12-31 23:59:59", 1_735_689_599),
        ("2026-11-30 23:08:24", 1_796_080_104),
        ("2100-03-01 00:00:00", 4_107_542_400),
        ("9999-12-31 23:59:59", 253_402_300_799),
    ];

    #[test]
    fn moment_is_written_as_a_second_in_utc() {
        for (text, seconds) in MOMENTS {
            assert_eq!(written(seconds).as_deref(), Some(text));
        }
        assert_eq!(Timestamp::from_millis(784_111_777_999).utc_seconds().as_deref(), Some(MOMENTS[1].0));
        assert_eq!([written(253_402_300_800), written(u64::MAX)], [None, None]);
    }

    #[test]
    fn each_day_of_four_centuries_is_written_and_read_again() {
        for day in 0..146_097 {
            let seconds = day * SECONDS_A_DAY + 86_399;
            let text = written(seconds).unwrap().replace(' ', "T") + "Z";
            assert_eq!(read(&text), Some(seconds * 1000), "{text}");
        }
    }

    #[test]
    fn time_of_authentik_is_read_to_the_millisecond() {
        for (text, millis) in [
            ("2026-11-26T00:36:43.915415Z", 1_795_653_403_915),
            ("2026-11-26T00:36:43.9Z", 1_795_653_403_900),
            ("2026-11-26T00:36:43Z", 1_795_653_403_000),
            ("1970-01-01T00:00:00.001999Z", 1),
        ] {
            assert_eq!(read(text), Some(millis), "{text}");
        }
    }

    #[test]
    fn other_text_is_no_time() {
        for text in [
            "",
            "Z",
            "2026-11-26T00:36:43",
            "2026-11-26T00:36:43+00:00",
            "2026-11-26 00:36:43Z",
            "2026-11-26T00:36:43.Z",
            "2026-11-26T00:36:43.9a5Z",
            "2026-11-26T00:36:43,915Z",
            "2026-11-26T24:00:00Z",
            "2026-11-26T00:60:00Z",
            "2026-11-26T00:00:61Z",
            "2026-00-26T00:00:00Z",
            "2026-13-26T00:00:00Z",
            "2026-11-00T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "2026-1-26T00:36:43Z",
            "+026-11-26T00:36:43Z",
            "2026-11-26T00:36:43.915415Z ",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
