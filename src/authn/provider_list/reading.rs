//! Reading a list page by page.
//!
//! Owns: which page comes next, what makes the pages one list, and how much is read. The *content* of a list is its pages as they
//! came, each behind a byte that says of what and its length, so that other workers read the same.
//! Must not: send a call.

use serde_json::Value;

use crate::authn::authentik::api::{Page, parse_page};
use crate::authn::authentik::call::{Answer, Call};
use crate::authn::authentik::outposts::{self, List};
use crate::authn::fault::Fault;
use crate::authn::fault::list::ListFault;
use crate::config::{Config, Outpost};

/// Most bytes of all pages. An entry has some 2.5 kB.
const MAX_BYTES: usize = 8 << 20;
/// Most pages of a list.
const MAX_PAGES: u64 = 200;

/// A page of outposts, reduced to the primary keys of the wanted one's providers.
const OUTPOST: u8 = b'o';
/// A page of providers.
const PROVIDERS: u8 = b'p';

/// A list that is being read.
pub(super) struct Reading {
    list: List,
    /// The name of the outpost that is looked for among the outposts.
    wanted: Option<String>,
    page: u64,
    /// Entries so far of the list.
    entries: u64,
    /// How many the first page spoke of.
    count: Option<u64>,
    content: Vec<u8>,
}

pub(super) enum Progress {
    /// There is more to read.
    Next(Reading),
    /// The content of the list.
    Done(Vec<u8>),
}

impl Reading {
    /// Begins with the outposts, if one is named, else with the providers.
    pub(super) fn begin(outpost: &Outpost) -> Self {
        let list = if outpost.name.is_some() { List::Outposts } else { List::Providers };
        let wanted = outpost.name.clone();
        Self { list, wanted, page: 1, entries: 0, count: None, content: Vec::new() }
    }

    /// Asks for the next page.
    pub(super) fn call(&self, config: &Config, outpost: &Outpost) -> Call {
        outposts::page_call(config, &outpost.token, self.list, self.page)
    }

    /// What came of it.
    pub(super) fn answered(mut self, answer: &Answer) -> Result<Progress, Fault> {
        let answered = outposts::read_page(answer);
        if let Err(Fault::List(ListFault::NoApi { status: 404 })) = answered
            && self.page > 1
        {
            return Err(Fault::List(ListFault::Changed));
        }
        let (page, body) = answered?;
        self.take(&page, body)?;
        if page.next != 0 {
            self.page = page.next;
            return Ok(Progress::Next(self));
        }
        if Some(self.entries) != self.count {
            return Err(Fault::List(ListFault::Changed));
        }
        match self.list {
            // The outpost was not on any page.
            List::Outposts if self.content.is_empty() => Err(Fault::List(ListFault::UnknownOutpost)),
            List::Outposts => {
                let content = self.content;
                Ok(Progress::Next(Self {
                    list: List::Providers,
                    page: 1,
                    entries: 0,
                    count: None,
                    content,
                    ..self
                }))
            }
            List::Providers => Ok(Progress::Done(self.content)),
        }
    }

    /// A page belongs to the ones before it, and there is room for it.
    fn take(&mut self, page: &Page, body: &[u8]) -> Result<(), Fault> {
        let is_in_order =
            page.current == self.page && (page.next == 0 || Some(page.next) == self.page.checked_add(1));
        if !is_in_order {
            return Err(Fault::BadAnswer { status: 200 });
        }
        if *self.count.get_or_insert(page.count) != page.count {
            return Err(Fault::List(ListFault::Changed));
        }
        self.entries = self.entries.saturating_add(u64::try_from(page.results.len()).unwrap_or(u64::MAX));
        if page.next > MAX_PAGES || self.content.len().saturating_add(body.len()) > MAX_BYTES {
            return Err(Fault::List(ListFault::TooLong));
        }
        match self.list {
            List::Outposts => {
                let keys = page.results.iter().find(|it| is_wanted(it, self.wanted.as_deref())).map(keys_of);
                if let Some(keys) = keys {
                    append(&mut self.content, OUTPOST, &keys);
                }
            }
            List::Providers => append(&mut self.content, PROVIDERS, body),
        }
        Ok(())
    }
}

fn is_wanted(outpost: &Value, name: Option<&str>) -> bool {
    let is = |field: &str, value| outpost.get(field).and_then(Value::as_str) == value;
    is("name", name) && is("type", Some("proxy"))
}

/// The primary keys of an outpost's providers, 8 bytes each.
fn keys_of(outpost: &Value) -> Vec<u8> {
    let keys = outpost.get("providers").and_then(Value::as_array);
    let keys = keys.into_iter().flatten().filter_map(Value::as_u64);
    keys.flat_map(u64::to_be_bytes).collect()
}

fn append(content: &mut Vec<u8>, kind: u8, part: &[u8]) {
    content.push(kind);
    content.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    content.extend_from_slice(part);
}

/// The entries in the content of a list. `None`: it is none.
pub(super) fn entries(mut content: &[u8]) -> Option<Vec<Value>> {
    let mut wanted: Option<Vec<u64>> = None;
    let mut entries = Vec::new();
    while let Some((kind, rest)) = content.split_first() {
        let (length, rest) = rest.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        match *kind {
            OUTPOST => wanted = Some(part.as_chunks().0.iter().map(|key| u64::from_be_bytes(*key)).collect()),
            PROVIDERS => entries.extend(parse_page(part)?.results),
            _ => return None,
        }
        content = rest;
    }
    if let Some(wanted) = wanted {
        let key = |entry: &Value| entry.get("pk").and_then(Value::as_u64);
        entries.retain(|entry| key(entry).is_some_and(|key| wanted.contains(&key)));
    }
    Some(entries)
}
