//! Envoy Gateway's objects: EnvoyExtensionPolicy, and the routes that ask for the seal.
//!
//! Owns: in which of them requests would pass without the filter, or with its secret.

use crate::configuration::{self, Seal};
use crate::document::Node;
use crate::fault::Faults;
use crate::filter::{self, ReleaseFiles};
use crate::istio::{not_removed, removes};
use crate::objects::{Object, Objects, Target};

const GATEWAY_API: &str = "gateway.networking.k8s.io";
const EXTENSIONS: &str = "gateway.envoyproxy.io";

/// The filter in a policy's list.
struct Filter<'a> {
    policy: &'a Object,
    index: usize,
    plugin: &'a Node,
}

impl<'a> Filter<'a> {
    fn find(policy: &'a Object) -> Option<Self> {
        let plugins = policy.node.items_at(&["spec", "wasm"]).iter().enumerate();
        let is_ours = |plugin: &Node| {
            let names = [plugin.text_at(&["name"]), plugin.text_at(&["rootID"])];
            let image = plugin.text_at(&["code", "image", "url"]);
            filter::is_filter(names, [image, plugin.text_at(&["code", "http", "url"])], plugin.get("config"))
        };
        let mut ours = plugins.filter(|(_, plugin)| is_ours(plugin));
        let (index, plugin) = ours.next()?;
        Some(Self { policy, index, plugin })
    }

    fn fault(&self, keys: &[&str], what: &str, faults: &mut Faults) {
        let path = format!("spec.wasm[{}].{}", self.index, keys.join("."));
        faults.add(&self.policy.file, self.plugin.line_at(keys), &path, what);
    }

    fn seal(&self) -> Option<Seal> {
        configuration::seal(self.plugin.get("config")?)
    }

    fn judge(&self, release: &ReleaseFiles, faults: &mut Faults) {
        match self.plugin.get("config") {
            Some(node) => {
                configuration::check(&self.policy.file, node, faults);
                if node.is_map() && configuration::lacks_seal(node) {
                    self.fault(&["config", "seal"], filter::NO_SEAL, faults);
                }
            }
            None => self.fault(&["config"], "is missing", faults),
        }
        if self.plugin.get("failOpen").is_some_and(Node::is_true) {
            self.fault(&["failOpen"], "lets everybody in while the filter has failed", faults);
        }
        for code in ["image", "http"] {
            let (url, sha256) = (["code", code, "url"], ["code", code, "sha256"]);
            let beside = self.plugin.text_at(&sha256);
            if let Some(what) = filter::digest_fault(self.plugin.text_at(&url), beside, release) {
                self.fault(if beside.is_some() { &sha256 } else { &url }, what, faults);
            }
        }
    }
}

/// How many of the objects have the filter.
pub(crate) fn check(objects: &Objects, release: &ReleaseFiles, faults: &mut Faults) -> usize {
    let policies: Vec<_> = objects.of(EXTENSIONS, "EnvoyExtensionPolicy").collect();
    let filters: Vec<_> = policies.iter().filter_map(|policy| Filter::find(policy)).collect();
    for filter in &filters {
        filter.judge(release, faults);
    }
    // One object alone has nothing that it could be held to.
    if objects.0.len() < 2 {
        return filters.len();
    }
    for filter in &filters {
        check_targets(filter.policy, objects, faults);
        for other in &policies {
            check_other(filter.policy, other, objects, faults);
        }
        if let Some(seal) = filter.seal() {
            check_routes(filter, &seal, objects, faults);
        }
    }
    filters.len()
}

/// What a policy is for: the objects that it names, and those of these files that its selectors match.
fn targets<'a>(policy: &'a Object, objects: &'a Objects) -> Vec<Target<'a>> {
    let selectors = policy.node.items_at(&["spec", "targetSelectors"]).iter();
    let selected = selectors.flat_map(|selector| {
        let labels = selector.at(&["matchLabels"]).map(Node::fields).unwrap_or_default();
        objects.0.iter().filter(move |object| {
            let has = |key: &str| object.node.text_at(&["metadata", "labels", key]);
            selector.text_at(&["kind"]) == Some(object.kind.as_str())
                && object.namespace == policy.namespace
                && labels
                    .iter()
                    .all(|label| label.node.text().is_some() && has(&label.key) == label.node.text())
        })
    });
    policy.targets().into_iter().chain(selected.map(Target::of)).collect()
}

fn check_targets(policy: &Object, objects: &Objects, faults: &mut Faults) {
    for target in policy.targets() {
        if let Some((line, what)) = objects.missing_target(&target) {
            faults.add(&policy.file, line, "spec.targetRefs", what);
        }
    }
    if !targets(policy, objects).is_empty() {
        return;
    }
    let selectors = policy.node.items_at(&["spec", "targetSelectors"]);
    let is_known =
        |selector: &Node| objects.0.iter().any(|it| selector.text_at(&["kind"]) == Some(it.kind.as_str()));
    if selectors.is_empty() {
        faults.add(
            &policy.file,
            policy.line_at(&["spec"]),
            "spec.targetRefs",
            "is missing: the policy is for nothing",
        );
    } else if selectors.iter().any(is_known) {
        let what = "matches nothing: no object of these files has these labels in this namespace";
        faults.add(&policy.file, policy.line_at(&["spec", "targetSelectors"]), "spec.targetSelectors", what);
    }
}

/// What another policy does to the filter's.
fn check_other(policy: &Object, other: &Object, objects: &Objects, faults: &mut Faults) {
    if Filter::find(other).is_some() {
        return;
    }
    let ours = targets(policy, objects);
    for target in targets(other, objects) {
        let merges = other.node.at(&["spec", "mergeType"]).is_some();
        let plugins = other.node.items_at(&["spec", "wasm"]);
        let is_same = ours.iter().any(|our| our.is_same_object(&target) && our.section == target.section);
        let is_below = target.kind != "Gateway"
            || ours
                .iter()
                .any(|our| our.is_same_object(&target) && our.section.is_none() && target.section.is_some());
        if is_same {
            let what =
                format!("is a second policy for what \"{}\" is for: one of the two is not used", policy.name);
            faults.add(&other.file, target.line, "spec.targetRefs", what);
        } else if is_below && merges && !plugins.is_empty() {
            let what = "takes the filter away: with mergeType too, this list replaces the one that has it";
            faults.add(&other.file, other.line_at(&["spec", "wasm"]), "spec.wasm", what);
        } else if is_below && !merges {
            let what = "takes the filter away: without mergeType this policy replaces the Gateway's";
            let keys: &[&str] = if plugins.is_empty() { &["spec"] } else { &["spec", "wasm"] };
            faults.add(&other.file, other.line_at(keys), &keys.join("."), what);
        }
    }
}

/// The routes of the filter's Gateways: each rule with an application asks for the seal and removes it.
fn check_routes(filter: &Filter<'_>, seal: &Seal, objects: &Objects, faults: &mut Faults) {
    let targets = targets(filter.policy, objects);
    let mut has_application = false;
    let mut asks = false;
    for kind in ["HTTPRoute", "GRPCRoute"] {
        for route in objects.of(GATEWAY_API, kind) {
            let parents = route.node.items_at(&["spec", "parentRefs"]).iter();
            let is_behind = parents
                .map(|parent| Target::read(parent, &route.namespace))
                .any(|parent| targets.iter().any(|target| target.is_same_object(&parent)));
            let is_behind = is_behind || targets.iter().any(|target| target.is_object(route));
            for rule in route.node.items_at(&["spec", "rules"]).iter().filter(|_| is_behind) {
                if leads_nowhere(rule, route, objects) || is_login(rule) {
                    continue;
                }
                has_application = true;
                asks |= check_rule(route, rule, seal, objects, faults);
            }
        }
    }
    if has_application && !asks {
        let what = format!("has no route in these files that asks for the header \"{}\"", seal.header);
        filter.fault(&["config", "seal"], &what, faults);
    }
}

/// Whether the rule asks for the seal.
fn check_rule(route: &Object, rule: &Node, seal: &Seal, objects: &Objects, faults: &mut Faults) -> bool {
    let file = &route.file;
    let path = "spec.rules[].matches[].headers";
    let matches = rule.items_at(&["matches"]);
    let mut asks = !matches.is_empty();
    if matches.is_empty() {
        faults.add(file, rule.line, path, unsealed(&seal.header));
    }
    for each in matches {
        let headers = each.items_at(&["headers"]).iter();
        let mut ours = headers.filter(|header| {
            header.text_at(&["name"]).is_some_and(|name| name.eq_ignore_ascii_case(&seal.header))
        });
        let Some(header) = ours.next() else {
            faults.add(file, each.line, path, unsealed(&seal.header));
            asks = false;
            continue;
        };
        let line = header.line_at(&["value"]);
        if header.text_at(&["type"]).is_some_and(|kind| kind != "Exact") {
            faults.add(
                file,
                header.line_at(&["type"]),
                path,
                "must be Exact: more than one value would be good",
            );
        } else if let Some(value) = header.text_at(&["value"]) {
            if let Some(what) = filter::value_fault(seal, &[value], objects) {
                faults.add(file, line, path, what);
            }
        } else {
            faults.add(file, line, path, "must have the value as a string");
        }
    }
    if asks && !removes(rule, &seal.header) {
        faults.add(file, rule.line, "spec.rules[].filters", not_removed(&seal.header));
    }
    asks
}

fn unsealed(header: &str) -> String {
    format!("does not ask for \"{header}\": while the filter is missing, everybody is let in here")
}

/// Whether no application is behind the rule: it answers by itself, or its backends are names that nobody can have.
fn leads_nowhere(rule: &Node, route: &Object, objects: &Objects) -> bool {
    rule.items_at(&["backendRefs"]).iter().all(|reference| {
        let target = Target {
            kind: reference.text_at(&["kind"]).unwrap_or("Service"),
            ..Target::read(reference, &route.namespace)
        };
        let mut backends = objects.of(EXTENSIONS, "Backend").filter(|object| target.is_object(object));
        backends.next().is_some_and(|backend| {
            let endpoints = backend.node.items_at(&["spec", "endpoints"]);
            let is_nobody = |endpoint: &Node| {
                endpoint.text_at(&["fqdn", "hostname"]).is_some_and(|name| name.ends_with(".invalid"))
            };
            !endpoints.is_empty() && endpoints.iter().all(is_nobody)
        })
    })
}

/// Whether the rule is for the login's paths alone: the filter answers them itself, and the backend is authentik.
fn is_login(rule: &Node) -> bool {
    let matches = rule.items_at(&["matches"]);
    let is_login = |path: &str| {
        path.strip_prefix("/outpost.goauthentik.io")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !matches.is_empty()
        && matches.iter().all(|each| {
            each.text_at(&["path", "type"]) != Some("RegularExpression")
                && each.text_at(&["path", "value"]).is_some_and(is_login)
        })
}
