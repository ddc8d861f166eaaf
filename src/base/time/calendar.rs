//! The calendar: days of months and years since 1970.
//!
//! Owns: which dates and times there are. Must not: know how they are written.

/// The months and their days, without 29 February.
pub(super) const MONTHS: [([u8; 3], u64); 12] = [
    (*b"Jan", 31),
    (*b"Feb", 28),
    (*b"Mar", 31),
    (*b"Apr", 30),
    (*b"May", 31),
    (*b"Jun", 30),
    (*b"Jul", 31),
    (*b"Aug", 31),
    (*b"Sep", 30),
    (*b"Oct", 31),
    (*b"Nov", 30),
    (*b"Dec", 31),
];

/// The number of a month, from 1, by the first three letters of its name.
pub(super) fn month(letters: [u8; 3]) -> Option<u64> {
    (1..).zip(MONTHS).find(|(_, (name, _))| *name == letters).map(|(number, _)| number)
}

/// Days and seconds since the epoch of a date and a time in UTC; a minute may have a leap second. `None`: there is no such
/// moment, or it is before 1970.
#[inline(never)]
pub(super) fn seconds(
    (year, month, day): (u64, u64, u64),
    (hour, minute, second): (u64, u64, u64),
) -> Option<(u64, u64)> {
    let mut days = days_before(year)?.saturating_add(day.checked_sub(1)?);
    for (number, (name, length)) in (1..).zip(MONTHS) {
        let length = length_of(name, length, year);
        if number == month {
            let minutes =
                days.saturating_mul(24).saturating_add(hour).saturating_mul(60).saturating_add(minute);
            let is_moment = day <= length && hour < 24 && minute < 60 && second <= 60;
            return is_moment.then(|| (days, minutes.saturating_mul(60).saturating_add(second)));
        }
        days = days.saturating_add(length);
    }
    None
}

/// The days of a month in this year.
pub(super) fn length_of(month: [u8; 3], length: u64, year: u64) -> u64 {
    if month == *b"Feb" { leap_day(year).saturating_add(length) } else { length }
}

/// The days from the epoch to the first of January.
pub(super) fn days_before(year: u64) -> Option<u64> {
    let before = year.checked_sub(1)?;
    let leap_days = (before / 4).saturating_sub(before / 100).saturating_add(before / 400);
    // 477 leap days came before 1970.
    year.checked_sub(1970)?.checked_mul(365)?.checked_add(leap_days.checked_sub(477)?)
}

/// A number in decimal digits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(digit.into()))
    })
}

/// How many days of its own a year has on 29 February.
fn leap_day(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}
