use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::authn::request::view::HeaderBlock;

const STATUSES: [u16; 6] = [400, 401, 403, 404, 429, 503];
const SIGN_OUT: &str = "href=\"/outpost.goauthentik.io/sign_out\">Use another account<";

/// A page with all that a page can have.
fn full(status: u16, path: &str, account: &str) -> String {
    let notice = match status {
        429 | 503 => Notice::RetryAfter(7),
        403 => Notice::Account(Some(account)),
        _ => Notice::None,
    };
    render(status, "Title", "3af43310-9b08", &links(Some(path), true), notice)
}

fn links(path: Option<&str>, has_sign_out: bool) -> Links<'_> {
    Links { path, return_url: None, has_sign_out }
}

/// What a request with this method and target may be asked again by; the rest of the request does not matter.
fn repeated(method: &str, target: &[u8]) -> Option<String> {
    let pairs = [(&b":method"[..], method.as_bytes()), (b":path", target)];
    let block = HeaderBlock::from_pairs(pairs);
    let view = RequestView::read(&block, &[]).unwrap();
    Links::of(&view).path.map(str::to_owned)
}

/// What is between the first of these and the next of those.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

#[test]
fn a_page_is_self_contained_and_says_what_to_do() {
    for (status, words) in [
        (400, "try again"),
        (401, "sign in"),
        (403, "administrator"),
        (404, "nothing here"),
        (429, "wait"),
        (503, "tries again by itself after 7 seconds."),
    ] {
        let page = full(status, "/page", "alice");
        assert!(page.contains(words), "{page}");
        assert!(page.contains("Reference number: <code>3af43310-9b08</code>"), "{page}");
        for outside in
            ["<script", "http:", "https:", "src=", "href=\"//", "@import", "url(", "style=", "onload="]
        {
            assert!(!page.contains(outside), "{outside} in {page}");
        }
        assert!(page.len() < 2048, "{} bytes", page.len());
    }
    assert!(!render(401, "Title", "", &links(None, true), Notice::None).contains("Reference"));
}

#[test]
fn a_screen_reader_finds_language_title_main_landmark_and_one_heading() {
    for status in STATUSES {
        let page = full(status, "/page", "alice");
        assert!(page.starts_with("<!doctype html><html lang=\"en\">"), "{page}");
        for once in ["<title>Title</title>", "<main>", "</main>", "<h1>"] {
            assert_eq!(page.matches(once).count(), 1, "{once} in {page}");
        }
        let main = between(&page, "<body><main>", "</main></body>");
        assert!(main.starts_with(&format!("<h1>{status} Title</h1><p>")), "{main}");
        assert_eq!(main.matches("<p>").count(), main.matches("</p>").count(), "{main}");
    }
}

#[test]
fn the_content_security_policy_has_the_hash_of_the_style_sheet_and_allows_nothing_else() {
    for status in STATUSES {
        let page = full(status, "/page", "alice");
        let style = between(&page, "<style>", "</style>");
        let hash = BASE64_STANDARD.encode(Sha256::digest(style));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        );
        assert_eq!(HEADERS, [("content-security-policy", &*policy), ("referrer-policy", "no-referrer")]);
        assert_eq!(page.matches("<style").count(), 1);
    }
}

#[test]
fn links_depend_on_the_status() {
    for status in STATUSES {
        let page = full(status, "/page?a=b", "alice");
        assert_eq!(
            page.contains("<a href=\"/page?a=b\">Try again</a>"),
            matches!(status, 400 | 503),
            "{page}"
        );
        let refresh = "<meta http-equiv=\"refresh\" content=\"7;url=/page?a=b\">";
        assert_eq!(page.contains(refresh), status == 503, "{page}");
        let account = "Signed in as <bdi>alice</bdi> · <a href=\"/outpost.goauthentik.io/sign_out\">Use another account</a>";
        assert_eq!(page.contains(account), status == 403, "{page}");
        assert_eq!(page.matches("href=").count(), usize::from(matches!(status, 400 | 403 | 503)), "{page}");
    }
}

#[test]
fn what_is_not_known_is_not_on_the_page() {
    let page =
        |status, path, has_sign_out, notice| render(status, "Title", "7", &links(path, has_sign_out), notice);
    let nameless = page(403, None, true, Notice::Account(None));
    assert!(nameless.contains(SIGN_OUT) && !nameless.contains("Signed in as"), "{nameless}");
    let without_sessions = page(403, None, false, Notice::Account(Some("alice")));
    assert!(!without_sessions.contains("href=") && !without_sessions.contains("alice"), "{without_sessions}");
    let posted = page(503, None, true, Notice::RetryAfter(7));
    assert!(posted.contains("Please try again in a few seconds."), "{posted}");
    assert!(
        !posted.contains("href=") && !posted.contains("refresh") && !posted.contains("by itself"),
        "{posted}"
    );
    assert!(page(503, Some("/"), true, Notice::RetryAfter(1)).contains("after 1 second."));
}

#[test]
fn only_an_own_path_is_repeated() {
    let longest = format!("/{}", "a".repeat(MAX_PATH_BYTES - 1));
    for own in [
        "/",
        "/page?a=b&c=%2F",
        "/a//b",
        "/<b>\"'",
        "/@evil.test",
        "/:80",
        "/?rd=https://evil.test/",
        &longest,
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(repeated(method, own.as_bytes()).as_deref(), Some(own), "{method} {own}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "get", ""] {
            assert_eq!(repeated(method, own.as_bytes()), None, "{method} {own}");
        }
    }
    for foreign in [
        "",
        "*",
        "page",
        "?a=b",
        "//evil.test",
        "///evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "/a?b=\\",
        "https://evil.test/",
        "javascript:alert(1)",
        "/\t/evil.test",
        "\t//evil.test",
        "/ /evil.test",
        "/a b",
        "/a\r\nb",
        "/a\0",
        "/\u{7f}",
        "/é",
        &format!("{longest}a"),
    ] {
        assert_eq!(repeated("GET", foreign.as_bytes()), None, "{foreign:?}");
    }
    assert_eq!(repeated("GET", b"/\xff"), None);
}

#[test]
fn a_request_of_the_login_flow_is_not_repeated() {
    for target in [
        "/outpost.goauthentik.io",
        "/outpost.goauthentik.io/callback?code=secret&state=x",
        "/outpost.goauthentik.io/start?rd=%2F",
        "/?X-authentik-auth-callback=true&code=secret",
        "/page?code=secret&X-authentik-auth-callback=true?error=x",
        "/page?X-authentik-logout=true",
    ] {
        assert_eq!(repeated("GET", target.as_bytes()), None, "{target}");
    }
    assert!(repeated("GET", b"/outpost.goauthentik.iox").is_some());
}

#[test]
fn hostile_paths_and_names_stay_text() {
    let hostile = "/'\"><script>alert(1)</script><a href='javascript:0'&lt;&#x3c;";
    let escaped = "/&#39;&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;a href=&#39;javascript:0&#39;&amp;lt;&amp;#x3c;";
    for status in STATUSES {
        let page = full(status, hostile, hostile);
        let harmless = full(status, "/", "alice");
        let times = match status {
            503 => 2,
            400 | 403 => 1,
            _ => 0,
        };
        assert_eq!(page.matches(escaped).count(), times, "{page}");
        for structure in ["<", ">", "\"", "'"] {
            assert_eq!(
                page.matches(structure).count(),
                harmless.matches(structure).count(),
                "{structure} in {page}"
            );
        }
    }
}

/// WCAG 2.2, definitions of "relative luminance" and "contrast ratio".
fn contrast(one: &str, other: &str) -> f64 {
    let luminance = |colour: &str| {
        let digits: Vec<char> = colour.strip_prefix('#').unwrap().chars().collect();
        let channel = |index: usize| {
            let (high, low) = if digits.len() == 3 { (index, index) } else { (2 * index, 2 * index + 1) };
            let byte = u8::from_str_radix(&String::from_iter([digits[high], digits[low]]), 16).unwrap();
            let share = f64::from(byte) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.0722f64.mul_add(channel(2), 0.7152f64.mul_add(channel(1), 0.2126 * channel(0)))
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn text_and_links_have_the_contrast_of_wcag_aa_in_light_and_dark() {
    assert!((contrast("#000", "#ffffff") - 21.0).abs() < 0.001);
    assert!((contrast("#777777", "#fff") - 4.478).abs() < 0.001);
    let (light, dark) = STYLE.split_once("@media(prefers-color-scheme:dark){").unwrap();
    for scheme in [light, dark] {
        let colour = |name: &str| between(scheme, &format!("--{name}:"), "}").split(';').next().unwrap();
        for text in ["text", "soft", "link"] {
            let ratio = contrast(colour(text), colour("card"));
            assert!(ratio >= 4.5, "{text} on {}: {ratio}", colour("card"));
        }
    }
    assert!(STYLE.contains("color-scheme:light dark") && STYLE.contains("a:focus-visible{outline:3px solid"));
}
