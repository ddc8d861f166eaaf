//! Requests for back-channel logout on their way: the only ones whose body the filter reads.
//!
//! Owns: the steps from the headers by way of the body, and of keys if need be, to the reply. Must not: judge a logout token, or
//! end a session.

use std::rc::Rc;

use crate::authn::env::{Env, RequestId};
use crate::authn::fault::Fault;
use crate::authn::fault::list::ListFault;
use crate::authn::listed;
use crate::authn::login::backchannel;
use crate::authn::provider::Request;
use crate::authn::provider::roster::Roster;
use crate::authn::reply::{self, ReplyContext};
use crate::authn::request::view::{HeaderBlock, RequestView};
use crate::authn::step::{Step, Waiter};
use crate::authn::verification::Verification;
use crate::authn::verification::logouts::ResumedLogout;
use crate::config::Config;

/// What such a request needs of the rooms.
pub(super) struct Logouts<'a> {
    pub(super) verification: &'a mut Verification<Waiter>,
    pub(super) roster: &'a Roster,
    pub(super) config: &'a Rc<Config>,
}

impl Logouts<'_> {
    /// Lets a request wait for its body.
    pub(super) fn await_body(self, request: Request<'_>) -> Step {
        let Request { env, provider, id, .. } = request;
        match self.verification.await_body(env, provider, id) {
            Ok(()) => Step::AwaitBody,
            Err(fault) => Step::Decided(reply::fail(&ReplyContext::of(request, None), fault)),
        }
    }

    /// Goes on with a request that waits for its body: [`super::Authenticator::body_ended`].
    #[inline(never)]
    pub(super) fn body_ended(
        self,
        env: &Env<'_>,
        id: RequestId,
        block: &HeaderBlock,
        body: Option<&[u8]>,
    ) -> Step {
        let Ok(view) = RequestView::read(block, &self.config.owned_headers) else {
            return Step::Decided(reply::broken());
        };
        let token = body.and_then(|body| backchannel::token(&view, body));
        let resumed = self.verification.body_ended(env, id, token);
        self.finish((env, id), &view, resumed)
    }

    /// Goes on with a request that may wait for its body, or for keys. One that does not wait is answered.
    #[inline(never)]
    pub(super) fn resume(self, env: &Env<'_>, id: RequestId, block: &HeaderBlock) -> Step {
        let Ok(view) = RequestView::read(block, &self.config.owned_headers) else {
            return Step::Decided(reply::broken());
        };
        let resumed = self.verification.resume_logout(env, id);
        self.finish((env, id), &view, resumed)
    }

    fn finish(
        self,
        (env, id): (&Env<'_>, RequestId),
        view: &RequestView<'_>,
        resumed: ResumedLogout,
    ) -> Step {
        let (provider, verdict) = match resumed {
            ResumedLogout::Over(provider, verdict) => (provider, verdict),
            ResumedLogout::Waiting => return Step::Waiting,
            ResumedLogout::Unknown => return Step::Decided(reply::broken()),
        };
        let Some(found) = self.roster.find(view.authority) else {
            return Step::Decided(listed::without_provider(self.verification, view, self.config));
        };
        let request = Request::new(env, id, self.config, &found, view);
        // Its provider may have other settings by now.
        let changed = Err(Fault::List(ListFault::ProviderChanged));
        let verdict = if Rc::ptr_eq(&provider, &found.provider) { verdict } else { changed };
        Step::Decided(backchannel::finish(request, verdict))
    }
}
