//! What one worker of an Envoy has read from authentik's API, for all of its workers.
//!
//! Owns: three entries in shared data, named after the API token, authentik and what was read. The *content* is sealed: it may
//! have secrets and names. The *head* says when authentik gave it, when it is read again, and its digest, so that a worker looks
//! for news without reading it. The *lease* says which worker reads.
//! Must not: know what the content is.

use crate::authn::env::Env;
use crate::authn::env::lease::Lease;
use crate::base::aead::{Aead, NONCE_BYTES};
use crate::base::hex;
use crate::base::mac::{self, Mac};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::config::Config;

const MAC_BYTES: usize = 32;
/// A reading is at most so much later than the interval, in percent of it.
const MAX_LATE_PERCENT: u8 = 10;

/// When authentik gave the content, and which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) fetched: Timestamp,
    /// How much later than the interval the next reading is, in percent of it (0 to 10). Drawn for each reading and the same for
    /// all workers: of delays of their own the shortest would count, and replicas with many workers would read together.
    pub(crate) late_percent: u8,
    /// Keyed.
    pub(crate) digest: [u8; 32],
}

impl Head {
    /// Whether it is time to read again, at this interval in seconds.
    pub(crate) fn is_old(&self, interval: u64, now: Timestamp) -> bool {
        let late = interval.saturating_mul(u64::from(self.late_percent)) / 100;
        now.since(self.fetched) >= interval.saturating_add(late)
    }

    /// Eight hex digits that stand for the content.
    pub(crate) fn version(&self) -> String {
        hex::of(self.digest.first_chunk::<4>().map_or(&[], |bytes| bytes))
    }
}

/// The shared entries, and their keys.
pub(crate) struct Published {
    name: String,
    seal: Aead,
    digests: Mac,
    heads: Mac,
}

impl Published {
    /// `kind` and `name`: what is read. `None` only if HMAC refused a key, which it never does.
    #[inline(never)]
    pub(crate) fn derive(
        config: &Config,
        token: &Secret<String>,
        (kind, name): (&str, &str),
    ) -> Option<Self> {
        let mut root = mac::keyed(token.expose().as_bytes())?;
        let base = config.authentik.base.to_string();
        for part in ["authentik-proxy-wasm 2", kind, &base, &config.authentik.cluster, name] {
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
            name: format!("authentik-proxy-wasm/2/{kind}/{name}"),
            seal: Aead::new(derive(b"seal")?),
            digests: mac::keyed(&derive(b"digest")?)?,
            heads: mac::keyed(&derive(b"head")?)?,
        })
    }

    /// Which worker reads.
    pub(crate) fn lease<'a>(&self, env: &'a Env<'_>) -> Lease<'a> {
        Lease { name: self.entry("lease"), host: env.host }
    }

    /// The head of what some worker has read. `None`: there is none, or it is not ours to the last bit.
    #[inline(never)]
    pub(crate) fn head(&self, env: &Env<'_>) -> Option<Head> {
        let entry = env.host.shared(&self.entry("head"))?.value;
        let (content, mac) = entry.split_at_checked(entry.len().checked_sub(MAC_BYTES)?)?;
        let (fetched, rest) = content.split_first_chunk()?;
        let (late_percent, digest) = rest.split_first()?;
        let head = Head {
            fetched: Timestamp::from_seconds(u64::from_be_bytes(*fetched)),
            late_percent: *late_percent,
            digest: digest.try_into().ok()?,
        };
        mac::is_code(self.head_mac(content), mac).then_some(head)
    }

    /// The content that belongs to this head.
    pub(crate) fn content(&self, env: &Env<'_>, head: &Head) -> Option<Vec<u8>> {
        let sealed = env.host.shared(&self.entry("content"))?.value;
        let content = Aead::open(core::slice::from_ref(&self.seal), self.name.as_bytes(), sealed)?;
        (self.digest(&content) == head.digest).then_some(content)
    }

    /// Makes a content known to all workers: what they know already is not written again.
    pub(crate) fn publish(&self, env: &Env<'_>, content: &[u8]) -> Head {
        let late_percent = env.random_byte().checked_rem(MAX_LATE_PERCENT + 1).unwrap_or(0);
        let head = Head { fetched: env.now, late_percent, digest: self.digest(content) };
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
        entry.push(head.late_percent);
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
