//! A real authentik, as far as the demonstration can see: the stand-in behind https, with a certificate of the tests.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fake_authentik::{ALICE, Authentik, OUTPOST_TOKEN};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::{Demo, PATIENCE, answer, free_ports, status_of};

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tls");
/// Of the certificate. DNS does not know it.
const URL: &str = "https://auth.example.com";

/// The stand-in, and https in front of it.
struct Https {
    authentik: Authentik,
    address: String,
    _runtime: Runtime,
}

impl Https {
    fn start() -> Self {
        let authentik = Authentik::start();
        authentik.set_public_base(URL);
        let chain = vec![CertificateDer::from_pem_file(format!("{TLS}/issued.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(format!("{TLS}/issued-key.pem")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, target) = (listener.local_addr().unwrap().to_string(), authentik.authority());
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, target) = (acceptor.clone(), target.clone());
                tokio::spawn(async move {
                    // Envoy ends the connection where it does not like the certificate.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect(target).await.expect("the stand-in listens");
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { authentik, address, _runtime: runtime }
    }

    /// The demonstration with this authentik and these variables, when it listens.
    fn demo(&self, authorities: &str, further: &[(&str, &str)]) -> (Demo, String) {
        let ports = free_ports();
        let port = &ports.iter().find(|(name, _)| *name == "LISTEN").unwrap().1;
        let authority = format!("127.0.0.1:{port}");
        self.authentik.set_external_host("demo", &format!("http://{authority}"));
        let authorities = format!("{TLS}/{authorities}");
        let variables =
            [("AUTHENTIK", URL), ("AUTHENTIK_ADDRESS", &self.address), ("AUTHENTIK_CA", &authorities)];
        let variables: Vec<_> = variables.iter().chain(further).copied().collect();
        let mut demo = Demo::with(ports.clone(), &variables);
        demo.lines("Ctrl-C stops everything");
        (demo, authority)
    }
}

fn alice() -> String {
    format!("Basic {}", STANDARD.encode(format!("alice:{ALICE}")))
}

/// The first answer to alice that is no `503`: the providers come a moment after Envoy listens.
fn answer_to_alice(authority: &str, host: &str) -> String {
    let start = Instant::now();
    loop {
        let answer = answer(authority, host, Some(&alice()));
        if status_of(&answer) != 503 || start.elapsed() > PATIENCE {
            return answer;
        }
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn outpost_of_an_authentik_with_https_is_served() {
    let https = Https::start();
    let (demo, authority) = https.demo("issuer.pem", &[("AUTHENTIK_TOKEN", OUTPOST_TOKEN)]);
    let shown = answer_to_alice(&authority, &authority);
    assert!(status_of(&shown) == 200 && shown.contains("x-authentik-username"), "{shown}");
    let login = answer(&authority, &authority, None);
    assert!(status_of(&login) == 302 && login.contains(&format!("location: {URL}/")), "{login}");
    demo.stop();
}

#[test]
fn provider_of_an_authentik_with_https_is_served_at_its_external_host() {
    let https = Https::start();
    let secret = https.authentik.client_secret("demo");
    let (demo, authority) = https.demo(
        "issuer.pem",
        &[
            ("AUTHENTIK_SLUG", "demo"),
            ("AUTHENTIK_CLIENT_ID", "demo-client-id"),
            ("AUTHENTIK_CLIENT_SECRET", &secret),
            ("AUTHENTIK_COOKIE_SECRET", "a cookie secret of more than thirty-two bytes"),
            ("EXTERNAL_HOST", "http://demo.example.test"),
        ],
    );
    let shown = answer_to_alice(&authority, "demo.example.test");
    assert!(status_of(&shown) == 200 && shown.contains("x-authentik-username"), "{shown}");
    let login = answer(&authority, "demo.example.test", None);
    let callback = "http%3A%2F%2Fdemo.example.test%2Foutpost.goauthentik.io%2Fcallback";
    assert!(status_of(&login) == 302 && login.contains(callback), "{login}");
    demo.stop();
}

#[test]
fn authentik_with_a_certificate_of_another_authority_gets_no_credential() {
    let https = Https::start();
    let secret = https.authentik.client_secret("demo");
    let (demo, authority) = https.demo(
        "other.pem",
        &[
            ("AUTHENTIK_SLUG", "demo"),
            ("AUTHENTIK_CLIENT_ID", "demo-client-id"),
            ("AUTHENTIK_CLIENT_SECRET", &secret),
            ("AUTHENTIK_COOKIE_SECRET", "a cookie secret of more than thirty-two bytes"),
        ],
    );
    let shown = answer(&authority, &authority, Some(&alice()));
    assert_eq!(status_of(&shown), 503, "{shown}");
    assert!(https.authentik.calls().is_empty(), "{:?}", https.authentik.calls());
    demo.stop();
}
