//! The part of authentik's query language for events that is recorded: comparisons and lists of text, joined by `and` and
//! `or`, in brackets. What authentik does not understand it searches as text, without a word, and finds nothing.

use serde_json::Value;

use super::events::Event;

/// What an event must be like.
pub(super) enum Search {
    Both(Box<Self>, Box<Self>),
    Either(Box<Self>, Box<Self>),
    /// Not before this moment, in microseconds since the epoch.
    Since(i64),
    /// The field has one of these values.
    OneOf(&'static str, Vec<String>),
}

/// The fields that an expression may name, and where an event has them.
const FIELDS: [(&str, &str); 7] = [
    ("action", "/action"),
    ("app", "/app"),
    ("user.username", "/user/username"),
    ("user.email", "/user/email"),
    ("context.model.app", "/context/model/app"),
    ("context.model.name", "/context/model/name"),
    ("context.model.model_name", "/context/model/model_name"),
];

impl Search {
    /// `None`: authentik does not understand it.
    pub(super) fn parse(expression: &str) -> Option<Self> {
        let words = words(expression)?;
        let mut rest = &words[..];
        let search = either(&mut rest)?;
        rest.is_empty().then_some(search)
    }

    pub(super) fn finds(&self, event: &Event) -> bool {
        match self {
            Self::Both(one, other) => one.finds(event) && other.finds(event),
            Self::Either(one, other) => one.finds(event) || other.finds(event),
            Self::Since(moment) => event.created >= *moment,
            Self::OneOf(pointer, values) => {
                let value = event.json.pointer(pointer).and_then(Value::as_str);
                value.is_some_and(|value| values.iter().any(|it| it == value))
            }
        }
    }
}

#[derive(PartialEq)]
enum Word {
    Name(String),
    Text(String),
    Sign(&'static str),
}

fn words(expression: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            let length = rest[1..].find('"')?;
            words.push(Word::Text(rest[1..=length].to_owned()));
            length + 2
        } else if let Some(sign) = [">=", "=", "(", ")", ","].into_iter().find(|sign| rest.starts_with(sign))
        {
            words.push(Word::Sign(sign));
            sign.len()
        } else {
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || "._".contains(letter);
            let length = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            words.push(Word::Name(rest[..length].to_owned()));
            length
        };
        if length == 0 {
            return None;
        }
        rest = rest[length..].trim_start();
    }
    Some(words)
}

fn either(rest: &mut &[Word]) -> Option<Search> {
    let mut search = both(rest)?;
    while take(rest, &Word::Name("or".to_owned())) {
        search = Search::Either(Box::new(search), Box::new(both(rest)?));
    }
    Some(search)
}

fn both(rest: &mut &[Word]) -> Option<Search> {
    let mut search = one(rest)?;
    while take(rest, &Word::Name("and".to_owned())) {
        search = Search::Both(Box::new(search), Box::new(one(rest)?));
    }
    Some(search)
}

fn one(rest: &mut &[Word]) -> Option<Search> {
    if take(rest, &Word::Sign("(")) {
        let search = either(rest)?;
        return take(rest, &Word::Sign(")")).then_some(search);
    }
    let Some((Word::Name(name), after)) = rest.split_first() else { return None };
    *rest = after;
    if name == "created" {
        return if take(rest, &Word::Sign(">=")) { Some(Search::Since(moment(&text(rest)?)?)) } else { None };
    }
    let (_, pointer) = FIELDS.iter().find(|(field, _)| field == name)?;
    if take(rest, &Word::Sign("=")) {
        return Some(Search::OneOf(pointer, vec![text(rest)?]));
    }
    if !(take(rest, &Word::Name("in".to_owned())) && take(rest, &Word::Sign("("))) {
        return None;
    }
    let mut values = vec![text(rest)?];
    while take(rest, &Word::Sign(",")) {
        values.push(text(rest)?);
    }
    take(rest, &Word::Sign(")")).then_some(Search::OneOf(pointer, values))
}

fn take(rest: &mut &[Word], word: &Word) -> bool {
    match rest.split_first() {
        Some((first, after)) if first == word => {
            *rest = after;
            true
        }
        _ => false,
    }
}

fn text(rest: &mut &[Word]) -> Option<String> {
    let Some((Word::Text(text), after)) = rest.split_first() else { return None };
    *rest = after;
    Some(text.clone())
}

/// `YYYY-MM-DD HH:MM:SS` in UTC, in microseconds since the epoch. A `T`, a `Z` or a fraction is not understood.
fn moment(text: &str) -> Option<i64> {
    let form = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    if !form.eq("0000-00-00 00:00:00".bytes()) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !((1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60) {
        return None;
    }
    Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000)
}

/// Days from the epoch to this date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}

/// `2026-11-26T00:36:43.915415Z`, from microseconds since the epoch.
pub(super) fn timestamp(micros: i64) -> String {
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let mut year = 1970 + day / 366;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1) <= day).unwrap_or(1);
    let day = day - days(year, month, 1) + 1;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}
