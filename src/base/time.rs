//! Moments since the Unix epoch. The clock itself is the shell's; the core gets `now` as an argument.

mod calendar;
mod utc;

use calendar::number;

/// The days of the week, from 1 January 1970 on.
const WEEKDAYS: [[u8; 3]; 7] = [*b"Thu", *b"Fri", *b"Sat", *b"Sun", *b"Mon", *b"Tue", *b"Wed"];

/// A moment, in milliseconds since the Unix epoch. Tokens, cookies and HTTP have whole seconds (JWT's `NumericDate`, RFC 7519
/// §2), and durations are counted in them; two moments within one second are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

const MILLISECONDS: u64 = 1_000;

impl Timestamp {
    /// From seconds since the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(MILLISECONDS))
    }

    /// From milliseconds since the epoch.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// From an IMF-fixdate, the form in which HTTP sends a date (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    ///
    /// `None`: it is not one, its day of the week is another, or it is before 1970.
    pub fn from_http_date(text: &[u8]) -> Option<Self> {
        #[rustfmt::skip]
        let &[w1, w2, w3, b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', y1, y2, y3, y4, b' ',
              h1, h2, b':', n1, n2, b':', s1, s2, b' ', b'G', b'M', b'T'] = text else { return None };
        let (day, year) = (number(&[d1, d2])?, number(&[y1, y2, y3, y4])?);
        let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
        let month = calendar::month([m1, m2, m3])?;
        let (days, seconds) = calendar::seconds((year, month, day), (hour, minute, second))?;
        let weekday = WEEKDAYS.get(usize::try_from(days % 7).ok()?)?;
        (*weekday == [w1, w2, w3]).then_some(Self::from_seconds(seconds))
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> u64 {
        self.0 / MILLISECONDS
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// This moment and `seconds`; the end of time instead of an overflow.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(MILLISECONDS)))
    }

    /// This moment less `seconds`; the epoch instead of a time before it.
    #[must_use]
    pub const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds.saturating_mul(MILLISECONDS)))
    }

    /// Seconds from `earlier` to this moment, each as a whole second; 0 when it is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.seconds().saturating_sub(earlier.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<u64> {
        Timestamp::from_http_date(text.as_bytes()).map(Timestamp::seconds)
    }

    /// The seconds are those of GNU date.
    #[test]
    fn http_date_is_read() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Thu, 29 Feb 2024 12:00:00 GMT", 1_709_208_000),
            ("Mon, 30 Nov 2026 23:08:24 GMT", 1_796_080_104),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(read(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn other_text_is_no_http_date() {
        for text in [
            "",
            "GMT",
            "0",
            "784111777",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 gmt",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +00",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun,  6 Nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT ",
            "Sun, 06 Nov 1994 08-49-37 GMT",
            "Sun, 06 Nov 1994 08:49:3\u{e9}GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sat, 00 Nov 1994 08:49:37 GMT",
            "Thu, 31 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 00:00:00 GMT",
            "Mon, 29 Feb 2100 00:00:00 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Thu, 31 Dec 1969 23:59:59 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 0000 08:49:37 GMT",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
