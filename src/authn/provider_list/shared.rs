//! The list as all workers of an Envoy share it.
//!
//! Owns: three entries in shared data, named after the token, authentik and the outpost. The *content* is sealed, since it has
//! the secrets of every provider. The *head* says when authentik gave it, and its digest, so that a worker looks for news
//! without reading it. The *lease* says which worker reads.
//! Must not: know what a list is.

use crate::authn::env::Env;
use crate::authn::env::lease::Lease;
use crate::base::aead::{Aead, NONCE_BYTES};
use crate::base::hex;
use crate::base::mac::{self, Mac};
use crate::base::time::Timestamp;
use crate::config::{Config, Outpost};

const MAC_BYTES: usize = 32;

/// When authentik gave a list, and which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) fetched: Timestamp,
    /// Keyed.
    pub(super) digest: [u8; 32],
}

impl Head {
    /// Eight hex digits that stand for the list.
    pub(super) fn version(&self) -> String {
        hex::of(self.digest.first_chunk::<4>().map_or(&[], |bytes| bytes))
    }
}

/// The shared entries, and their keys.
pub(super) struct SharedList {
    name: String,
    seal: Aead,
    digests: Mac,
    heads: Mac,
}

impl SharedList {
    /// `None` only if HMAC refused a key, which it never does.
    #[inline(never)]
    pub(super) fn derive(config: &Config, outpost: &Outpost) -> Option<Self> {
        let mut root = mac::keyed(outpost.token.expose().as_bytes())?;
        let base = config.authentik.base.to_string();
        let name = outpost.name.as_deref().unwrap_or_default();
        for part in ["authentik-proxy-wasm 2 providers", &base, &config.authentik.cluster, name] {
            mac::update(&mut root, &part.len().to_be_bytes());
            mac::update(&mut root, part.as_bytes());
        }
        let root = mac::finish(root);
        let derive = |purpose: &[u8]| {
            let mut mac = mac::keyed(&root)?;
            mac::update(&mut mac, purpose);
            Some(mac::finish(mac))
        };
        let name = hex::of(derive(b"name")?.first_chunk::<8>()?);
        Some(Self {
            name: format!("authentik-proxy-wasm/2/providers/{name}"),
            seal: Aead::new(derive(b"seal")?),
            digests: mac::keyed(&derive(b"digest")?)?,
            heads: mac::keyed(&derive(b"head")?)?,
        })
    }

    /// Which worker reads.
    pub(super) fn lease<'a>(&self, env: &'a Env<'_>) -> Lease<'a> {
        Lease { name: self.entry("lease"), host: env.host }
    }

    /// The head of what some worker has read. `None`: there is none, or it is not ours to the last bit.
    #[inline(never)]
    pub(super) fn head(&self, env: &Env<'_>) -> Option<Head> {
        let entry = env.host.shared(&self.entry("head"))?.value;
        let (content, mac) = entry.split_at_checked(entry.len().checked_sub(MAC_BYTES)?)?;
        let (fetched, digest) = content.split_first_chunk()?;
        let head = Head {
            fetched: Timestamp::from_seconds(u64::from_be_bytes(*fetched)),
            digest: digest.try_into().ok()?,
        };
        mac::is_code(self.head_mac(content), mac).then_some(head)
    }

    /// The content that belongs to this head.
    pub(super) fn content(&self, env: &Env<'_>, head: &Head) -> Option<Vec<u8>> {
        let sealed = env.host.shared(&self.entry("content"))?.value;
        let content = Aead::open(core::slice::from_ref(&self.seal), self.name.as_bytes(), sealed)?;
        (self.digest(&content) == head.digest).then_some(content)
    }

    /// Makes a list known to all workers: what they know already is not written again.
    pub(super) fn publish(&self, env: &Env<'_>, content: &[u8]) -> Head {
        let head = Head { fetched: env.now, digest: self.digest(content) };
        let is_known = self.head(env).is_some_and(|known| known.digest == head.digest);
        if !is_known {
            let mut nonce = [0; NONCE_BYTES];
            let sealed =
                env.host.random(&mut nonce).then(|| self.seal.seal(nonce, self.name.as_bytes(), content));
            // Without it, each worker reads for itself.
            let Some(sealed) = sealed.flatten() else { return head };
            env.host.share(&self.entry("content"), &sealed);
        }
        let mut entry = head.fetched.seconds().to_be_bytes().to_vec();
        entry.extend_from_slice(&head.digest);
        let mac = mac::finish(self.head_mac(&entry));
        entry.extend_from_slice(&mac);
        env.host.share(&self.entry("head"), &entry);
        head
    }

    fn digest(&self, content: &[u8]) -> [u8; 32] {
        let mut mac = self.digests.clone();
        mac::update(&mut mac, content);
        mac::finish(mac)
    }

    fn head_mac(&self, content: &[u8]) -> Mac {
        let mut mac = self.heads.clone();
        mac::update(&mut mac, content);
        mac
    }

    #[inline(never)]
    fn entry(&self, what: &str) -> String {
        format!("{}/{what}", self.name)
    }
}
