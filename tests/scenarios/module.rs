//! The built module as a subject, in a Proxy-Wasm host in this process.

use std::time::Duration;

use local_envoy::module;
use proxy_wasm_testkit::{CallAnswer, HeaderMap, Module, Outcome, Plugin, Request, StreamId, Vm, World};

use super::{NOW, Observed, Reply, Subject};
use crate::support::host;

pub(crate) struct BuiltModule {
    world: World,
    vm: Vm,
    stream: Option<StreamId>,
}

impl BuiltModule {
    pub(crate) fn new(configuration: &str) -> Self {
        Self::start(configuration, &Plugin::default())
    }

    /// In an Envoy with `allow_on_headers_stop_iteration`.
    pub(crate) fn reading_bodies(configuration: &str) -> Self {
        Self::start(configuration, &Plugin { allow_on_headers_stop_iteration: true, ..Plugin::default() })
    }

    fn start(configuration: &str, plugin: &Plugin) -> Self {
        let module = Module::load(module::module()).unwrap();
        let world = host::world();
        world.set_now(Duration::from_secs(NOW));
        world.add_cluster("authentik");
        let vm = Vm::start_as(&world, &module, plugin, configuration.as_bytes()).unwrap();
        Self { world, vm, stream: None }
    }

    fn observed(&self) -> Option<Observed> {
        match self.vm.outcome(self.stream?) {
            Outcome::Pending => None,
            Outcome::Forwarded { headers, .. } => Some(Observed::Forwarded(pairs(&headers))),
            Outcome::Replied { status, headers, body, grpc_status, .. } => Some(Observed::Replied {
                status,
                headers: pairs(&headers),
                body: String::from_utf8(body).unwrap(),
                grpc_status,
            }),
            Outcome::Failed => panic!("the module failed: {:?}", self.vm.death()),
        }
    }
}

impl Subject for BuiltModule {
    fn send(&mut self, headers: &[(String, String)]) -> Option<Observed> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.stream = Some(self.vm.request(&headers));
        self.observed()
    }

    fn post(&mut self, headers: &[(String, String)], body: &[u8]) -> Option<Observed> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.stream = Some(self.vm.send(Request::new(&headers).with_body(body)));
        self.observed()
    }

    fn calls(&mut self) -> Vec<String> {
        let calls = self.vm.pending_calls();
        calls
            .iter()
            .map(|call| String::from_utf8(call.headers.get(":path").unwrap().to_vec()).unwrap())
            .collect()
    }

    fn answer(&mut self, authentik: &dyn Fn(&str) -> Reply) -> Option<Observed> {
        while let Some(call) = self.vm.pending_calls().into_iter().next() {
            let path = String::from_utf8(call.headers.get(":path").unwrap().to_vec()).unwrap();
            let answer = match authentik(&path) {
                Reply::Json(status, body) => CallAnswer::json(status, body.to_string()),
                Reply::Body(status, body) => CallAnswer::json(status, body),
                Reply::Reset => CallAnswer::Reset,
            };
            self.vm.answer(call.id, answer);
        }
        self.observed()
    }

    fn respond(&mut self, headers: &[(&str, &str)]) -> Vec<String> {
        let stream = self.stream.expect("a request was sent");
        let headers = [&[(":status", "200")], headers].concat();
        let response = self.vm.respond(stream, &headers, "");
        pairs(&response)
            .into_iter()
            .filter(|(name, _)| name == "set-cookie")
            .map(|(_, value)| value)
            .collect()
    }

    fn advance(&mut self, seconds: u64) {
        self.world.advance(Duration::from_secs(seconds));
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    headers.iter().map(|(name, value)| (text(name), text(value))).collect()
}
