//! What the integration tests share.

pub(crate) mod proxy_host;
