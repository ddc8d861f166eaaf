//! How a stream moves: Envoy's filter chain around one filter.
//!
//! A request goes through headers, body and trailers, held where the filter
//! holds it; what a callback asked for (resume, reply) is done when the VM
//! call is over. A request that is forwarded and also answered, or resumed
//! before it was paused, is a violation: the test panics at once.

use crate::guest::{Deferred, Root, RootLife};
use crate::header_map::{HeaderMap, Kind};
use crate::stream::{Held, LocalReply, Outcome, Part, Request, SentReply, Stream, StreamId};
use crate::vm::{RootId, Vm};

impl Vm {
    /// Sends a request without a body.
    pub fn request<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, headers: &[(N, V)]) -> StreamId {
        self.send(Request::new(headers))
    }

    /// Sends a request.
    pub fn send(&mut self, request: Request) -> StreamId {
        self.send_to(RootId(self.root), request)
    }

    /// Sends a request through another root context of this VM.
    pub fn send_to(&mut self, root: RootId, request: Request) -> StreamId {
        let id = self.next_context();
        self.guest().streams.insert(id, Stream::new(root.0, request));
        self.call(id, self.exports.on_context_create, (id, root.0));
        self.settle();
        if self.dead.is_some() {
            self.fail(id);
        } else {
            self.pump(id);
        }
        self.settle();
        StreamId(id)
    }

    /// A request that an earlier filter answers: this one sees its log line alone, in a context of its own. What Envoy says of
    /// the answer is in [`World::set_property`](crate::World::set_property).
    pub fn answered_before(&mut self, request: Request) -> StreamId {
        let id = self.next_context();
        let root = self.root;
        self.guest().streams.insert(id, Stream::new(root, request));
        self.call(id, self.exports.on_context_create, (id, root));
        self.settle();
        self.finish(id);
        StreamId(id)
    }

    /// How a request ended, as far as it has.
    pub fn outcome(&self, stream: StreamId) -> Outcome {
        self.any_stream(stream).outcome()
    }

    /// What the filter set for the access log and later filters with `set_property`.
    pub fn filter_state(&self, stream: StreamId, name: &str) -> Option<Vec<u8>> {
        self.any_stream(stream).filter_state.get(name.as_bytes()).cloned()
    }

    /// The trailers as they went on; `None` where they have not, or where there are none.
    pub fn trailers(&self, stream: StreamId) -> Option<HeaderMap> {
        let stream = self.any_stream(stream);
        let has_gone_on =
            stream.forwarded.is_some() && stream.next == Part::Nothing && stream.held == Held::No;
        stream.trailers.clone().filter(|_| has_gone_on)
    }

    /// The streams that are not over.
    pub fn open_streams(&self) -> usize {
        self.store.data().streams.len()
    }

    /// Forgets the outcomes of finished streams, for a test that sends very many.
    pub fn forget_finished(&mut self) {
        self.finished.clear();
    }

    /// The upstream answers a forwarded request. Gives the headers that the client gets.
    pub fn respond<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        stream: StreamId,
        headers: &[(N, V)],
        body: impl AsRef<[u8]>,
    ) -> HeaderMap {
        let id = stream.0;
        let response = HeaderMap::from_lines(Kind::Response, headers);
        let waiting = self.guest().streams.get(&id).is_some_and(|s| s.forwarded.is_some() && !s.is_over());
        assert!(waiting, "the upstream has no such request to answer: {:?}", self.outcome(stream));
        self.response_headers(id, response, body.as_ref().is_empty());
        self.settle();
        if let Some(stream) = self.guest().streams.get(&id).filter(|stream| !stream.is_over()) {
            assert!(!stream.response_open, "the filter holds the response: not played by this host");
            self.response_body(id, body.as_ref());
            self.finish(id);
        }
        self.settle();
        self.any_stream(stream).response.clone().expect("a stream that is over has a response")
    }

    /// The client goes away before it has an answer.
    pub fn disconnect(&mut self, stream: StreamId) {
        assert!(self.guest().streams.contains_key(&stream.0), "this stream is over");
        self.finish(stream.0);
        self.settle();
    }

    fn any_stream(&self, stream: StreamId) -> &Stream {
        let live = self.store.data().streams.get(&stream.0);
        live.or_else(|| self.finished.get(&stream.0)).expect("this VM has no such stream")
    }

    /// Shows the filter what comes next until it holds the stream or all has passed.
    fn pump(&mut self, id: u32) {
        loop {
            let Some(stream) = self.guest().streams.get_mut(&id) else { return };
            if stream.is_over() || stream.held == Held::All {
                return;
            }
            match stream.next {
                Part::Headers => self.request_headers(id),
                Part::Body if stream.coming.is_empty() => stream.next = Part::Trailers,
                Part::Body => self.request_body(id),
                Part::Trailers if stream.trailers.is_none() => stream.next = Part::Nothing,
                Part::Trailers => self.request_trailers(id),
                Part::Nothing => return,
            }
            self.settle();
        }
    }

    fn request_headers(&mut self, id: u32) {
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        let last = stream.coming.is_empty() && stream.trailers.is_none();
        let count = u32::try_from(stream.request.len()).unwrap();
        (stream.request_open, stream.deciding, stream.next) = (true, true, Part::Body);
        let called = self.call(id, self.exports.on_request_headers, (id, count, u32::from(last)));
        if called.trapped {
            return self.fail(id);
        }
        let goes_on_with_body = self.guest().plugin.allow_on_headers_stop_iteration;
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        stream.deciding = false;
        match called.result.unwrap_or(0) {
            _ if called.stopped => stream.held = Held::All,
            0 => {
                stream.request_open = false;
                self.release_headers(id);
            }
            1 if goes_on_with_body => stream.held = Held::ThisPart,
            _ => stream.held = Held::All,
        }
    }

    fn request_body(&mut self, id: u32) {
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        let Some(piece) = stream.coming.pop_front() else { return };
        stream.body.extend(piece);
        stream.deciding = true;
        let last = stream.coming.is_empty() && stream.trailers.is_none();
        let size = u32::try_from(stream.body.len()).unwrap();
        let called = self.call(id, self.exports.on_request_body, (id, size, u32::from(last)));
        if called.trapped {
            return self.fail(id);
        }
        self.decided(id, called.stopped, called.result.unwrap_or(0));
    }

    fn request_trailers(&mut self, id: u32) {
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        (stream.trailers_open, stream.deciding, stream.next) = (true, true, Part::Nothing);
        let count = u32::try_from(stream.trailers.as_ref().map_or(0, HeaderMap::len)).unwrap();
        let called = self.call(id, self.exports.on_request_trailers, (id, count));
        if called.trapped {
            return self.fail(id);
        }
        if let Some(stream) = self.guest().streams.get_mut(&id) {
            stream.trailers_open = called.result.unwrap_or(0) != 0;
        }
        self.decided(id, called.stopped, called.result.unwrap_or(0));
    }

    /// What a body or trailers callback said. A Continue lets go what was held before it, headers and all.
    fn decided(&mut self, id: u32, stopped: bool, result: u32) {
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        stream.deciding = false;
        match result {
            _ if stopped => stream.held = Held::All,
            0 => self.release(id),
            _ => stream.held = Held::ThisPart,
        }
    }

    fn release(&mut self, id: u32) {
        self.release_headers(id);
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        stream.held = Held::No;
        let body = std::mem::take(&mut stream.body);
        if let Some((_, passed)) = &mut stream.forwarded {
            passed.extend(body);
        }
    }

    /// Puts the headers on the wire, or answers 503 where Envoy's codec would not take them.
    fn release_headers(&mut self, id: u32) {
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        if stream.forwarded.is_some() || stream.is_over() {
            return;
        }
        match stream.request.first_invalid() {
            None => stream.forwarded = Some((stream.request.clone(), Vec::new())),
            Some(name) => {
                let details = [b"invalid header value for: ", name].concat();
                let (body, headers) = (details.clone(), HeaderMap::new(Kind::Response));
                self.reply(id, &LocalReply { status: 503, headers, body, grpc_status: -1, details });
            }
        }
    }

    /// Does what callbacks asked for, and what follows from it, until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        while let Some(deferred) = self.guest().deferred.pop_front() {
            match deferred {
                Deferred::ResumeRequest(id) => self.resume(id),
                Deferred::ResumeResponse(id) => {
                    if let Some(stream) = self.guest().streams.get_mut(&id) {
                        stream.response_open = false;
                    }
                }
                Deferred::Reply(id, reply) => self.judge_reply(id, &reply),
                Deferred::Reset(id) => {
                    if self.guest().streams.contains_key(&id) {
                        self.finish(id);
                    }
                }
            }
        }
        self.retire_roots();
        let violations = std::mem::take(&mut self.guest().violations);
        assert!(violations.is_empty(), "the filter broke a rule of its host: {}", violations.join("; "));
    }

    fn resume(&mut self, id: u32) {
        let dead = self.dead.is_some();
        let guest = self.guest();
        // Gone, or finished: Envoy takes no notice.
        let Some(stream) = guest.streams.get_mut(&id) else { return };
        if stream.is_over() {
            if !dead {
                guest.violation(format!("stream {id} was answered and resumed"));
            }
            return;
        }
        if stream.held != Held::No {
            self.release(id);
            self.pump(id);
        } else if stream.forwarded.is_none() {
            guest.violation(format!("stream {id} was resumed before it was paused"));
        }
        // Resumed twice is harmless.
    }

    fn judge_reply(&mut self, id: u32, reply: &LocalReply) {
        let dead = self.dead.is_some();
        let guest = self.guest();
        let Some(stream) = guest.streams.get(&id) else { return };
        let responding = stream.response_open;
        let broken = if stream.is_over() {
            Some("answered twice")
        } else if stream.forwarded.is_some() && !responding {
            Some("forwarded and answered")
        } else {
            None
        };
        match broken {
            None => self.reply(id, reply),
            // A VM that dies may answer whatever is left: what it answers late is ignored.
            Some(_) if dead => {}
            Some(rule) => guest.violation(format!("stream {id} was {rule}")),
        }
    }

    /// Answers a stream here; the filter sees the answer pass like any other, unless it replaces a response.
    fn reply(&mut self, id: u32, reply: &LocalReply) {
        let dead = self.dead.is_some();
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        let (headers, body, grpc_status) = stream.render(reply);
        let replaces = stream.response_open;
        stream.held = Held::All;
        stream.response_open = false;
        stream.reply = Some(SentReply { body: body.clone(), grpc_status, details: reply.details.clone() });
        if replaces || dead {
            stream.response = Some(headers);
        } else {
            self.response_headers(id, headers, body.is_empty());
            self.settle();
            self.response_body(id, &body);
        }
        self.finish(id);
    }

    fn response_headers(&mut self, id: u32, headers: HeaderMap, last: bool) {
        let count = u32::try_from(headers.len()).unwrap();
        let was_dead = self.dead.is_some();
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        (stream.response, stream.response_open) = (Some(headers), true);
        let called = self.call(id, self.exports.on_response_headers, (id, count, u32::from(last)));
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        if was_dead || called.trapped {
            stream.response_open = false;
            if stream.reply.is_none() {
                self.fail(id);
            }
        } else if called.result.unwrap_or(0) == 0 && !called.stopped {
            stream.response_open = false;
        }
    }

    fn response_body(&mut self, id: u32, body: &[u8]) {
        let Some(stream) = self.guest().streams.get_mut(&id).filter(|_| !body.is_empty()) else { return };
        stream.response_body = body.to_vec();
        let size = u32::try_from(body.len()).unwrap();
        self.call(id, self.exports.on_response_body, (id, size, 1));
        self.settle();
        if let Some(stream) = self.guest().streams.get_mut(&id)
            && let Some(reply) = &mut stream.reply
        {
            reply.body = std::mem::take(&mut stream.response_body);
        }
    }

    /// Envoy's own 503 for a stream whose VM is dead.
    fn fail(&mut self, id: u32) {
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        if !stream.is_over() {
            stream.failed = true;
            stream.response = Some(HeaderMap::from_lines(Kind::Response, &[(":status", "503")]));
            self.finish(id);
        }
    }

    /// Ends a stream: its log line, then its context goes.
    fn finish(&mut self, id: u32) {
        let Some(stream) = self.guest().streams.get_mut(&id) else { return };
        stream.logging = true;
        self.call(id, self.exports.on_log, id);
        self.settle();
        if let Some(stream) = self.guest().streams.get_mut(&id) {
            stream.logging = false;
        }
        self.call(id, self.exports.on_done, id);
        self.call(id, self.exports.on_delete, id);
        if let Some(stream) = self.guest().streams.remove(&id) {
            self.finished.insert(id, stream);
        }
        self.settle();
    }

    /// Lets go of replaced root contexts that no stream needs any more, and of the calls they had made.
    fn retire_roots(&mut self) {
        let guest = self.guest();
        let in_use = |id: u32| guest.streams.values().any(|stream| stream.root == id);
        let due = |id: u32, root: &Root| match root.life {
            RootLife::Serving | RootLife::Draining => false,
            RootLife::Retired => !in_use(id),
            RootLife::Done => true,
        };
        let Some((id, life)) =
            guest.roots.iter().find(|(id, root)| due(**id, root)).map(|(id, root)| (*id, root.life))
        else {
            return;
        };
        if life == RootLife::Retired {
            // Before the call: the filter may say `proxy_done` in it.
            guest.roots.entry(id).and_modify(|root| root.life = RootLife::Draining);
            let done = self.call(id, self.exports.on_done, id);
            if done.result != Some(0) {
                self.guest().roots.entry(id).and_modify(|root| root.life = RootLife::Done);
            }
        } else {
            self.call(id, self.exports.on_delete, id);
            self.guest().roots.remove(&id);
            self.guest().calls.retain(|_, call| call.root != id);
        }
        self.settle();
    }
}
