//! Replies without a body, to those who ask for no more.
//!
//! Owns: the answers to a health check and to a back-channel logout. Must not: tell the client more than the status does.

use super::{Decision, Reply, ReplyContext, cors_headers, header, line};
use crate::authn::report::{Reason, Report};

/// Health check of the outpost.
pub(crate) fn ping(context: &ReplyContext<'_>) -> Decision {
    Decision::Reply(Reply {
        status: 204,
        grpc_status: None,
        headers: cors_headers(context).collect(),
        body: String::new(),
        report: Report::new(context.id, Reason::Ping),
        log: line(context, log::Level::Trace, "ping"),
    })
}

/// A session was ended, as authentik asked (OpenID Connect Back-Channel Logout 1.0 §2.8).
pub(crate) fn logged_out(context: &ReplyContext<'_>) -> Decision {
    let mut headers = vec![header("cache-control", "no-store".to_owned())];
    headers.extend(cors_headers(context));
    Decision::Reply(Reply {
        status: 200,
        grpc_status: None,
        headers,
        body: String::new(),
        report: Report::new(context.id, Reason::BackchannelLogout),
        log: line(context, log::Level::Info, "session ended by authentik's back-channel logout"),
    })
}
