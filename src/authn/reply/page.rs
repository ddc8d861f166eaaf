//! The few pages that a person sees.
//!
//! Owns: their words and looks: self-contained HTML without scripts, dark and light. Nothing in them comes from a request
//! but its identifier, which is reduced to letters, digits and dashes.

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}\
    h1{font-size:1.4rem}small{opacity:.6}:root{color-scheme:light dark}";

/// The page for a status.
pub(crate) fn render(status: u16, title: &str, request_id: &str) -> String {
    let text = match status {
        400 => {
            "The sign-in did not work. Go back to the application and try again; if this page comes again, your \
                browser may be refusing cookies."
        }
        401 => "You need to sign in, and this request could not be sent to the login page.",
        403 => {
            "You are signed in, but your account lacks what this application needs. Please tell its administrator."
        }
        404 => "There is nothing here.",
        429 => "Too many attempts. Please wait a minute.",
        _ => "Signing in is not possible at the moment. Please try again in a few seconds.",
    };
    let reference =
        if request_id.is_empty() { String::new() } else { format!("<p><small>{request_id}</small>") };
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style><h1>{status} {title}</h1><p>{text}{reference}</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn a_page_is_self_contained_and_says_what_to_do() {
        for (status, words) in [
            (400, "try again"),
            (401, "sign in"),
            (403, "administrator"),
            (404, "nothing here"),
            (429, "wait"),
            (503, "try again"),
        ] {
            let page = render(status, "Title", "3af43310-9b08");
            assert!(page.contains(words) && page.contains("<small>3af43310-9b08</small>"), "{page}");
            assert!(page.contains("color-scheme:light dark"));
            for outside in ["<script", "http:", "https:", "src=", "href=", "@import", "url("] {
                assert!(!page.contains(outside), "{outside} in {page}");
            }
            assert!(page.len() < 1024, "{} bytes", page.len());
        }
        assert!(!render(401, "Title", "").contains("<small>"));
    }
}
