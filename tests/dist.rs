//! What `make dist` writes, as those see it who fetch it. The tests of `crates/dist` look at each file alone.

mod fetchers;
mod image;
mod registry;
mod reproducible;

use dist::{Image, Source, Version};

/// The one line of the page on images that begins like this, without the prompt.
fn command(start: &str) -> &'static str {
    let page = include_str!("../docs/image.md");
    let mut lines =
        page.lines().filter_map(|line| line.strip_prefix("$ ")).filter(|line| line.starts_with(start));
    let (Some(line), None) = (lines.next(), lines.next()) else { panic!("not one line with {start}") };
    line
}

/// An image of this module.
fn image_of(module: &[u8]) -> Image {
    let source = Source::of(&"a".repeat(40), "1785542400").unwrap();
    Image::of(module, &Version::parse("1.2.3").unwrap(), &source).unwrap()
}
