//! mdBook's preprocessor for `docs/`: a link out of the folder leads to the file in the repository.
//!
//! mdBook starts it twice: `book supports html`, then with `[context, book]` as JSON on standard input; it prints the book.
//! `REPOSITORY` is the repository's URL. Must not: read or write a file.

use std::io::{read_to_string, stdin};

use anyhow::{Result, ensure};
use serde_json::Value;

/// Until the repository has a home (RELEASE.md), the owner is a placeholder.
const REPOSITORY: &str = "https://github.com/OWNER/authentik-proxy-wasm";

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("supports") {
        return Ok(());
    }
    let repository = std::env::var("REPOSITORY").unwrap_or_else(|_| REPOSITORY.to_owned());
    let mut input: Value = serde_json::from_str(&read_to_string(stdin())?)?;
    ensure!(input[1].is_object(), "not a book of mdBook 0.5");
    let mut book = input[1].take();
    lead_outside(&mut book, repository.trim_end_matches('/'));
    println!("{book}");
    Ok(())
}

/// Changes the content of every chapter.
fn lead_outside(value: &mut Value, repository: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| lead_outside(item, repository)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(content) if name == "content" => *content = absolute(content, repository),
                    other => lead_outside(other, repository),
                }
            }
        }
        _ => {}
    }
}

/// `](../envoy.yaml)` is `](REPOSITORY/blob/main/envoy.yaml)`.
fn absolute(content: &str, repository: &str) -> String {
    content.replace("](../", &format!("]({repository}/blob/main/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_out_of_the_folder_lead_to_the_repository() {
        let mut book = json!({"items": [{"Chapter": {
            "content": "[a](../envoy.yaml) [b](design.md)",
            "sub_items": [{"Chapter": {"content": "[c](../README.md#limits)", "name": "](../"}}],
        }}]});
        lead_outside(&mut book, "https://example.com/it");
        let chapter = &book["items"][0]["Chapter"];
        assert_eq!(chapter["content"], "[a](https://example.com/it/blob/main/envoy.yaml) [b](design.md)");
        let below = &chapter["sub_items"][0]["Chapter"];
        assert_eq!(below["content"], "[c](https://example.com/it/blob/main/README.md#limits)");
        assert_eq!(below["name"], "](../");
    }
}
