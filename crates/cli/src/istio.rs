//! Istio's objects: WasmPlugin, TrafficExtension, and the AuthorizationPolicy behind them.
//!
//! Owns: in which of them requests would pass without the filter, or with its secret.

use crate::configuration::{self, Seal};
use crate::document::Node;
use crate::fault::Faults;
use crate::filter::{self, ReleaseFiles};
use crate::objects::{Object, Objects, Scope, Target, reaches};

const EXTENSIONS: &str = "extensions.istio.io";

/// A WasmPlugin or TrafficExtension with the filter. `at`: where the plugin is in its object.
struct Filter<'a> {
    object: &'a Object,
    at: &'static [&'static str],
}

impl<'a> Filter<'a> {
    fn find(object: &'a Object) -> Option<Self> {
        let at: &[&str] = if object.is(EXTENSIONS, "WasmPlugin") {
            &["spec"]
        } else if object.is(EXTENSIONS, "TrafficExtension") {
            &["spec", "wasm"]
        } else {
            return None;
        };
        let plugin = object.node.at(at)?;
        let names = [plugin.text_at(&["pluginName"]), Some(object.name.as_str())];
        let is_ours = filter::is_filter(names, [plugin.text_at(&["url"])], plugin.get("pluginConfig"));
        is_ours.then_some(Self { object, at })
    }

    fn plugin(&self) -> Option<&'a Node> {
        self.object.node.at(self.at)
    }

    fn path(&self, field: &str) -> String {
        format!("{}.{field}", self.at.join("."))
    }

    fn line(&self, field: &str) -> usize {
        self.object.line_at(&[self.at, &[field]].concat())
    }

    fn fault(&self, field: &str, what: &str, faults: &mut Faults) {
        faults.add(&self.object.file, self.line(field), &self.path(field), what);
    }

    fn seal(&self) -> Option<Seal> {
        configuration::seal(self.plugin()?.get("pluginConfig")?)
    }

    fn judge(&self, release: &ReleaseFiles, faults: &mut Faults) {
        let Some(plugin) = self.plugin() else { return };
        match plugin.get("pluginConfig") {
            Some(node) => {
                configuration::check(&self.object.file, node, faults);
                if node.is_map() && configuration::lacks_seal(node) {
                    let line = self.line("pluginConfig");
                    faults.add(&self.object.file, line, &self.path("pluginConfig.seal"), filter::NO_SEAL);
                }
            }
            None => self.fault("pluginConfig", "is missing", faults),
        }
        if plugin.text_at(&["failStrategy"]) == Some("FAIL_OPEN") {
            let what =
                "FAIL_OPEN lets everybody in while the filter has failed or is not fetched; use FAIL_RELOAD";
            self.fault("failStrategy", what, faults);
        }
        if let Some(what) =
            filter::digest_fault(plugin.text_at(&["url"]), plugin.text_at(&["sha256"]), release)
        {
            let is_beside = plugin.get("sha256").is_some();
            self.fault(if is_beside { "sha256" } else { "url" }, what, faults);
        }
        let object = self.object;
        let phase = object.node.text_at(&["spec", "phase"]);
        if matches!(phase, None | Some("STATS" | "UNSPECIFIED" | "UNSPECIFIED_PHASE")) {
            let what = "must be AUTHN: without a phase, and in STATS, the filter stands behind the policies that \
                        judge what it makes of a request";
            faults.add(&object.file, object.line_at(&["spec", "phase"]), "spec.phase", what);
        }
    }
}

/// How many of the objects have the filter.
pub(crate) fn check(objects: &Objects, release: &ReleaseFiles, faults: &mut Faults) -> usize {
    let filters: Vec<_> = objects.0.iter().filter_map(Filter::find).collect();
    for filter in &filters {
        filter.judge(release, faults);
    }
    for object in objects.0.iter().filter(|object| object.is("networking.istio.io", "DestinationRule")) {
        check_destination_rule(object, faults);
    }
    // One object alone has nothing that it could be held to.
    if objects.0.len() < 2 {
        return filters.len();
    }
    for filter in &filters {
        check_scope(filter.object, objects, faults);
        if let Some(seal) = filter.seal() {
            check_seal(filter, &seal, objects, faults);
            check_routes(filter, &seal, objects, faults);
        }
    }
    filters.len()
}

/// With `sni` and no names Istio accepts any certificate that an authority signed.
fn check_destination_rule(object: &Object, faults: &mut Faults) {
    for node in object.node.walk() {
        let Some(tls) = node.get("tls").filter(|tls| tls.get("sni").is_some()) else { continue };
        if tls.items_at(&["subjectAltNames"]).is_empty() {
            let what = "is missing beside sni: the certificate of any other name would be good";
            faults.add(&object.file, tls.line_at(&["sni"]), "tls.subjectAltNames", what);
        }
    }
}

/// A target or selector that matches nothing.
fn check_scope(object: &Object, objects: &Objects, faults: &mut Faults) {
    match object.scope() {
        Scope::Namespace => {}
        Scope::Labels(labels) => {
            if objects.match_nothing(&labels, &object.namespace) {
                let line = object.line_at(&["spec", "selector", "matchLabels"]);
                let what = "matches nothing: no pods of these files have these labels in this namespace";
                faults.add(&object.file, line, "spec.selector", what);
            }
        }
        Scope::Targets(targets) => {
            for target in targets {
                if let Some((line, what)) = objects.missing_target(&target) {
                    faults.add(&object.file, line, "spec.targetRefs", what);
                }
            }
        }
    }
}

/// The conditions of a policy's rules on the seal's header: each with its rule.
fn conditions<'a>(policy: &'a Object, header: &str) -> Vec<(&'a Node, &'a Node)> {
    let key = format!("request.headers[{header}]");
    let rules = policy.node.items_at(&["spec", "rules"]).iter();
    let of_rule = |rule: &'a Node| rule.items_at(&["when"]).iter().map(move |condition| (rule, condition));
    rules
        .flat_map(of_rule)
        .filter(|(_, condition)| condition.text_at(&["key"]).is_some_and(|it| it.eq_ignore_ascii_case(&key)))
        .collect()
}

fn check_seal(filter: &Filter<'_>, seal: &Seal, objects: &Objects, faults: &mut Faults) {
    let object = filter.object;
    let policies: Vec<_> = objects
        .of("security.istio.io", "AuthorizationPolicy")
        .filter(|policy| !conditions(policy, &seal.header).is_empty())
        .collect();
    for policy in &policies {
        check_scope(policy, objects, faults);
        check_policy(policy, seal, objects, faults);
    }
    let guards = |policy: &&Object| {
        reaches(&policy.namespace, &object.namespace) && policy.scope().covers(&object.scope())
    };
    if !policies.iter().any(guards) {
        let what = match policies.first() {
            None => format!(
                "has no AuthorizationPolicy in these files that denies what lacks the header \"{}\"",
                seal.header
            ),
            Some(other) => format!(
                "has no policy: AuthorizationPolicy {}/{} is for other pods than the filter",
                other.namespace, other.name
            ),
        };
        filter_seal_fault(filter, &what, faults);
    }
}

fn filter_seal_fault(filter: &Filter<'_>, what: &str, faults: &mut Faults) {
    let line = filter.object.line_at(&[filter.at, &["pluginConfig", "seal"]].concat());
    faults.add(&filter.object.file, line, &filter.path("pluginConfig.seal"), what);
}

fn check_policy(policy: &Object, seal: &Seal, objects: &Objects, faults: &mut Faults) {
    let file = &policy.file;
    if policy.node.text_at(&["spec", "action"]) != Some("DENY") {
        let what = "must be DENY: an ALLOW policy beside another opens what this one closes";
        faults.add(file, policy.line_at(&["spec", "action"]), "spec.action", what);
    }
    for (rule, condition) in conditions(policy, &seal.header) {
        let path = "spec.rules[].when[].notValues";
        let line = condition.line_at(&["notValues"]);
        let values: Vec<_> = condition.texts_at(&["notValues"]).collect();
        if values.is_empty() {
            faults.add(file, line, path, "is missing: the rule denies what has the seal, not what lacks it");
        } else if values.iter().any(|value| value.starts_with('*') || value.ends_with('*')) {
            faults.add(file, line, path, "is a pattern: more than one value would be good");
        } else if let Some(what) = filter::value_fault(seal, &values, objects) {
            faults.add(file, line, path, what);
        }
        // Ports leave other protocols of the same proxy alone; anything else leaves requests of this one alone. In shadow
        // mode the hosts without a seal have their gate.
        let may_limit = |name: &str| name == "ports" || (name == "hosts" && seal.is_partial);
        let operations = rule.items_at(&["to"]).iter().filter_map(|to| to.get("operation"));
        let mut limits = operations.flat_map(Node::fields);
        let narrows = rule.get("from").is_some()
            || rule.items_at(&["when"]).len() > 1
            || limits.any(|limit| !may_limit(&limit.key));
        if narrows {
            let what = "has a further condition: what does not meet it passes without the seal";
            faults.add(file, rule.line, "spec.rules[]", what);
        }
    }
}

/// The seal is a secret: no application may get it.
fn check_routes(filter: &Filter<'_>, seal: &Seal, objects: &Objects, faults: &mut Faults) {
    let object = filter.object;
    let strips_all = objects.of("networking.istio.io", "EnvoyFilter").any(|patch| {
        let lists = patch.node.walk().into_iter().filter_map(|node| node.get("request_headers_to_remove"));
        reaches(&patch.namespace, &object.namespace)
            && patch.scope_of_patch().covers(&object.scope())
            && lists.into_iter().any(|list| filter::has_name(Some(list), &seal.header))
    });
    if strips_all {
        return;
    }
    let is_behind = |parent: &Target<'_>| match object.scope() {
        Scope::Targets(targets) => targets.iter().any(|target| target.is_same_object(parent)),
        Scope::Namespace => parent.kind == "Gateway" && reaches(&object.namespace, parent.namespace),
        Scope::Labels(labels) => labels.contains(&("gateway.networking.k8s.io/gateway-name", parent.name)),
    };
    for route in objects.of("gateway.networking.k8s.io", "HTTPRoute") {
        let mut parents = route.node.items_at(&["spec", "parentRefs"]).iter();
        let is_behind = parents.any(|parent| is_behind(&Target::read(parent, &route.namespace)));
        for rule in route.node.items_at(&["spec", "rules"]).iter().filter(|_| is_behind) {
            if !rule.items_at(&["backendRefs"]).is_empty() && !removes(rule, &seal.header) {
                faults.add(&route.file, rule.line, "spec.rules[].filters", not_removed(&seal.header));
            }
        }
    }
    let is_of_a_gateway =
        |service: &&Object| service.node.texts_at(&["spec", "gateways"]).any(|gateway| gateway != "mesh");
    for service in objects.of("networking.istio.io", "VirtualService").filter(is_of_a_gateway) {
        for route in service.node.items_at(&["spec", "http"]) {
            let removed = route.at(&["headers", "request", "remove"]);
            if route.get("route").is_some() && !filter::has_name(removed, &seal.header) {
                faults.add(&service.file, route.line, "spec.http[].headers", not_removed(&seal.header));
            }
        }
    }
}

/// Whether a rule of the Gateway API takes this header away.
pub(crate) fn removes(rule: &Node, header: &str) -> bool {
    let filters = rule.items_at(&["filters"]).iter();
    filters
        .map(|filter| filter.at(&["requestHeaderModifier", "remove"]))
        .any(|list| filter::has_name(list, header))
}

pub(crate) fn not_removed(header: &str) -> String {
    format!("does not remove \"{header}\": the application would get the value of the seal")
}

impl Object {
    /// What an EnvoyFilter is for: it has a selector of its own name.
    fn scope_of_patch(&self) -> Scope<'_> {
        let labels = self.node.at(&["spec", "workloadSelector", "labels"]);
        let labels: Vec<_> = labels
            .map(Node::fields)
            .unwrap_or_default()
            .iter()
            .filter_map(|field| Some((field.key.as_str(), field.node.text()?)))
            .collect();
        if labels.is_empty() { self.scope() } else { Scope::Labels(labels) }
    }
}
