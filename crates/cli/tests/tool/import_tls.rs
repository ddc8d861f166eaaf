//! `import` over TLS: through a proxy on loopback (RFC 9110 §9.3.6) to the stand-in, behind a certificate of the tests.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::thread;

use fake_authentik::{Authentik, OUTPOST_TOKEN};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Folder, tool};

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/tls");

/// Reads up to the empty line at the end of a request's head.
fn head(stream: &mut impl std::io::Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// Takes one tunnel after the other to the stand-in, ending TLS with the certificate of auth.example.com. Ends with the test's process.
fn proxy(authentik: &Authentik) -> String {
    let chain = vec![CertificateDer::from_pem_file(format!("{TLS}/issued.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(format!("{TLS}/issued-key.pem")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let target = authentik.authority();
    thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            if head(&mut client).is_none_or(|head| !head.starts_with("CONNECT ")) {
                continue;
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), client);
            // The client ends the connection where it does not like the certificate.
            let Some(request) = head(&mut tls) else { continue };
            let mut server = TcpStream::connect(&target).unwrap();
            let request = request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
            server.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            server.read_to_end(&mut answer).unwrap();
            tls.write_all(&answer).unwrap();
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    format!("http://{address}")
}

fn import(folder: &Folder, host: &str, proxy: &str, authorities: Option<&str>) -> Output {
    fs::write(folder.file("token"), OUTPOST_TOKEN).unwrap();
    let [token, config, secrets] = ["token", "config.json", "secrets.env"].map(|name| folder.file(name));
    let mut command = tool();
    command.args(["import", "--url", &format!("https://{host}"), "--token-file", &token]);
    command.args(["--output", &config, "--secrets-file", &secrets]).env("HTTPS_PROXY", proxy);
    if let Some(authorities) = authorities {
        command.env("SSL_CERT_FILE", format!("{TLS}/{authorities}"));
    }
    command.output().unwrap()
}

#[test]
fn certificate_of_a_known_authority_and_the_right_name_is_needed() {
    let host = "auth.example.com";
    for (name, host, authorities, reason) in [
        ("good", host, Some("issuer.pem"), None),
        ("unknown", host, None, Some("UnknownIssuer")),
        ("another", host, Some("other.pem"), Some("UnknownIssuer")),
        ("name", "other.example.com", Some("issuer.pem"), Some("not valid for name")),
    ] {
        let authentik = Authentik::start();
        let folder = Folder::new(&format!("import-tls-{name}"));
        let output = import(&folder, host, &proxy(&authentik), authorities);
        let error = String::from_utf8(output.stderr).unwrap();
        match reason {
            None => {
                assert_eq!((output.status.code(), error.as_str()), (Some(0), ""), "{name}");
                assert_eq!(folder.content().len(), 3);
            }
            Some(reason) => {
                assert_eq!(output.status.code(), Some(2), "{name}: {error}");
                assert!(
                    error.contains("--url: cannot be reached: ") && error.contains(reason),
                    "{name}: {error}"
                );
                assert_eq!(folder.content().len(), 1, "nothing but the token");
                assert!(authentik.calls().is_empty(), "nobody got the token");
            }
        }
    }
}
