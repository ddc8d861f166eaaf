//! Requests for back-channel logout on their way: the only ones whose body the filter reads.
//!
//! Owns: the steps from the headers by way of the body, and of keys if need be, to the reply. Must not: judge a logout token, or
//! end a session.

use std::rc::Rc;

use crate::authn::env::{Env, RequestId};
use crate::authn::fault::Fault;
use crate::authn::fault::list::ListFault;
use crate::authn::login::backchannel;
use crate::authn::provider::Request;
use crate::authn::reply::{self, ReplyContext};
use crate::authn::request::view::{HeaderBlock, RequestView};
use crate::authn::verification::logouts::ResumedLogout;
use crate::authn::{Authenticator, Step};

impl Authenticator {
    /// Lets a request wait for its body.
    pub(super) fn await_body(&mut self, request: Request<'_>) -> Step {
        let Request { env, provider, id, .. } = request;
        match self.verification.await_body(env, provider, id) {
            Ok(()) => Step::AwaitBody,
            Err(fault) => Step::Decided(reply::fail(&ReplyContext::of(request, None), fault)),
        }
    }

    /// Goes on with a request that waits for its body ([`Step::AwaitBody`]). `None`: the body is longer than
    /// [`super::step::MAX_BODY_BYTES`], or cannot be read. A request that does not wait for one is answered with `503`.
    #[inline(never)]
    pub fn body_ended(
        &mut self,
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
        self.finish_logout((env, id), &view, resumed)
    }

    /// Goes on with a request that may wait for its body, or for keys. One that does not wait is answered.
    #[inline(never)]
    pub(super) fn resume_logout(&mut self, env: &Env<'_>, id: RequestId, block: &HeaderBlock) -> Step {
        let Ok(view) = RequestView::read(block, &self.config.owned_headers) else {
            return Step::Decided(reply::broken());
        };
        let resumed = self.verification.resume_logout(env, id);
        self.finish_logout((env, id), &view, resumed)
    }

    fn finish_logout(
        &self,
        (env, id): (&Env<'_>, RequestId),
        view: &RequestView<'_>,
        resumed: ResumedLogout,
    ) -> Step {
        let (provider, verdict) = match resumed {
            ResumedLogout::Over(provider, verdict) => (provider, verdict),
            ResumedLogout::Waiting => return Step::Waiting,
            ResumedLogout::Unknown => return Step::Decided(reply::broken()),
        };
        let config = Rc::clone(&self.config);
        let Some(found) = self.directory.find(view.authority) else {
            return Step::Decided(self.without_provider(view, &config));
        };
        let request = Request::new(env, id, &config, &found, view);
        // Its provider may have other settings by now.
        let changed = Err(Fault::List(ListFault::ProviderChanged));
        let verdict = if Rc::ptr_eq(&provider, &found.provider) { verdict } else { changed };
        Step::Decided(backchannel::finish(request, verdict))
    }
}
