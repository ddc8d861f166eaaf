//! The HTTP client of the tests: it follows no redirect, keeps no cookie and asks no proxy, so that a test
//! sees the very response. It normalises paths, as every client does: a test of odd paths writes its request
//! to a socket.

use std::sync::OnceLock;

use reqwest::blocking::Client;
use reqwest::redirect::Policy;

/// The client; there is one.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        Client::builder().redirect(Policy::none()).no_proxy().build().expect("a client without options")
    })
}
