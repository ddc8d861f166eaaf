//! A page of Markdown, taken apart: its headings, links and blocks of code.
//!
//! Owns: which files are pages, and GitHub's rule for anchors. Must not: judge anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use walkdir::WalkDir;

/// The repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// One file.
pub(crate) struct Page {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A block of code, and the comment that stands before it.
pub(crate) struct Block {
    pub(crate) line: usize,
    /// What stands behind the fence; `None`: the block is indented.
    pub(crate) language: Option<String>,
    pub(crate) code: String,
    pub(crate) mark: Option<String>,
}

/// The page at this path from the root.
pub(crate) fn page(path: &str) -> Page {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Page { path: path.to_owned(), text }
}

/// All pages, by their paths from the root.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths = BTreeSet::new();
    for (folder, depth) in [("", 1), ("docs", 9), ("deploy", 9), ("crates", 2), (".github", 9)] {
        for entry in WalkDir::new(root().join(folder)).max_depth(depth) {
            let entry = entry.unwrap();
            let path = entry.path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if path.ends_with(".md") {
                paths.insert(path);
            }
        }
    }
    let pages: Vec<_> = paths.iter().map(|path| page(path)).collect();
    assert!(pages.len() > 40, "{}", pages.len());
    pages
}

impl Page {
    fn events(&self) -> impl Iterator<Item = (Event<'_>, usize)> {
        let parser = Parser::new_ext(&self.text, Options::ENABLE_TABLES);
        parser.into_offset_iter().map(|(event, range)| {
            let line = self.text[..range.start].lines().count() + 1;
            (event, line)
        })
    }

    /// The targets of links and pictures, each with its line.
    pub(crate) fn links(&self) -> Vec<(usize, String)> {
        let target = |(event, line)| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some((line, dest_url.to_string()))
            }
            _ => None,
        };
        self.events().filter_map(target).collect()
    }

    /// What a link can name behind `#`, by GitHub's rule; mdBook's is the same for these headings.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let (mut heading, mut seen) = (None, BTreeMap::<String, usize>::new());
        let mut anchors = BTreeSet::new();
        for (event, _) in self.events() {
            match (event, &mut heading) {
                (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
                (Event::Text(text) | Event::Code(text), Some(heading)) => heading.push_str(&text),
                (Event::End(TagEnd::Heading(_)), Some(text)) => {
                    let anchor = anchor(text);
                    let count = seen.entry(anchor.clone()).or_default();
                    anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
                    *count += 1;
                    heading = None;
                }
                _ => {}
            }
        }
        anchors
    }

    /// The blocks of code, in order.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut mark, mut is_open) = (Vec::<Block>::new(), None, false);
        for (event, line) in self.events() {
            match event {
                Event::Html(html) => mark = comment(&html),
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => Some(language.to_string()),
                        CodeBlockKind::Indented => None,
                    };
                    blocks.push(Block { line, language, code: String::new(), mark: mark.take() });
                    is_open = true;
                }
                Event::Text(text) if is_open => blocks.last_mut().unwrap().code.push_str(&text),
                Event::End(TagEnd::CodeBlock) => is_open = false,
                Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => {}
                _ => mark = None,
            }
        }
        blocks
    }
}

/// `<!-- words -->`
pub(crate) fn comment(html: &str) -> Option<String> {
    let inner = html.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    Some(inner.trim().to_owned())
}

fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect::<String>().to_lowercase()
}
