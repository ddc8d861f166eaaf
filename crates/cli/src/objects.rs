//! The Kubernetes objects of all files that are judged together.
//!
//! Owns: names, namespaces, labels, targets, and what in the same files they match. Must not: know the filter.

use crate::document::Node;

/// Where Istio's policies count for every namespace, unless the mesh says otherwise.
const ROOT_NAMESPACE: &str = "istio-system";

/// One object.
pub(crate) struct Object {
    pub(crate) file: String,
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) node: Node,
}

impl Object {
    /// `None`: it is no object of Kubernetes.
    pub(crate) fn read(file: &str, node: &Node) -> Option<Self> {
        let version = node.text_at(&["apiVersion"])?;
        Some(Self {
            file: file.to_owned(),
            group: version.split_once('/').map(|(group, _)| group).unwrap_or_default().to_owned(),
            kind: node.text_at(&["kind"])?.to_owned(),
            name: node.text_at(&["metadata", "name"]).unwrap_or_default().to_owned(),
            namespace: node.text_at(&["metadata", "namespace"]).unwrap_or("default").to_owned(),
            node: node.clone(),
        })
    }

    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    pub(crate) fn line_at(&self, keys: &[&str]) -> usize {
        self.node.line_at(keys)
    }

    /// `spec.targetRefs`, and the older `spec.targetRef`.
    pub(crate) fn targets(&self) -> Vec<Target<'_>> {
        let one = self.node.at(&["spec", "targetRef"]);
        let targets = self.node.items_at(&["spec", "targetRefs"]).iter().chain(one);
        targets.map(|node| Target::read(node, &self.namespace)).collect()
    }

    /// What an Istio policy is for.
    pub(crate) fn scope(&self) -> Scope<'_> {
        let targets = self.targets();
        if !targets.is_empty() {
            return Scope::Targets(targets);
        }
        match self.node.at(&["spec", "selector", "matchLabels"]) {
            Some(labels) if !labels.fields().is_empty() => Scope::Labels(labels_of(labels)),
            _ => Scope::Namespace,
        }
    }
}

/// An entry of `targetRefs` or `parentRefs`.
#[derive(Debug, Clone)]
pub(crate) struct Target<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) section: Option<&'a str>,
    pub(crate) line: usize,
    pub(crate) section_line: usize,
}

impl<'a> Target<'a> {
    /// `namespace` is where it is, if it does not say.
    pub(crate) fn read(node: &'a Node, namespace: &'a str) -> Self {
        Self {
            kind: node.text_at(&["kind"]).unwrap_or("Gateway"),
            name: node.text_at(&["name"]).unwrap_or_default(),
            namespace: node.text_at(&["namespace"]).unwrap_or(namespace),
            section: node.text_at(&["sectionName"]),
            line: node.line_at(&["name"]),
            section_line: node.line_at(&["sectionName"]),
        }
    }

    /// The whole of an object that a selector matches.
    pub(crate) fn of(object: &'a Object) -> Self {
        let line = object.line_at(&["metadata", "labels"]);
        let Object { kind, name, namespace, .. } = object;
        Self { kind, name, namespace, section: None, line, section_line: line }
    }

    pub(crate) fn is_object(&self, object: &Object) -> bool {
        self.kind == object.kind && self.name == object.name && self.namespace == object.namespace
    }

    /// Whether both are the same object, whatever part of it.
    pub(crate) fn is_same_object(&self, other: &Target<'_>) -> bool {
        (self.kind, self.name, self.namespace) == (other.kind, other.name, other.namespace)
    }
}

/// What an Istio policy is for.
pub(crate) enum Scope<'a> {
    Namespace,
    Labels(Vec<(&'a str, &'a str)>),
    Targets(Vec<Target<'a>>),
}

impl Scope<'_> {
    /// Whether all that the other is for is this one's too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Namespace, _) => true,
            (Self::Labels(these), Self::Labels(those)) => these.iter().all(|label| those.contains(label)),
            (Self::Targets(these), Self::Targets(those)) => those.iter().all(|that| {
                these.iter().any(|this| this.is_same_object(that) && this.section == that.section)
            }),
            (Self::Labels(_) | Self::Targets(_), _) => false,
        }
    }
}

fn labels_of(node: &Node) -> Vec<(&str, &str)> {
    node.fields().iter().filter_map(|field| Some((field.key.as_str(), field.node.text()?))).collect()
}

/// All objects.
#[derive(Default)]
pub(crate) struct Objects(pub(crate) Vec<Object>);

impl Objects {
    pub(crate) fn of<'a>(&'a self, group: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.0.iter().filter(move |object| object.is(group, kind))
    }

    /// Why a target is nothing in these files: the line and the words. Where they have no object of its kind at all, nothing
    /// is known.
    pub(crate) fn missing_target(&self, target: &Target<'_>) -> Option<(usize, String)> {
        let same_kind: Vec<_> = self
            .0
            .iter()
            .filter(|object| object.kind == target.kind && !object.group.contains("istio.io"))
            .collect();
        if same_kind.is_empty() {
            return None;
        }
        let Target { kind, name, namespace, .. } = target;
        let Some(found) = same_kind.iter().find(|object| target.is_object(object)) else {
            let what = match same_kind.iter().find(|object| object.name == *name) {
                Some(other) => format!(
                    "matches nothing: {kind} \"{name}\" is in namespace \"{}\", and this is \"{namespace}\"",
                    other.namespace
                ),
                None => format!("matches nothing: there is no {kind} \"{name}\" in these files"),
            };
            return Some((target.line, what));
        };
        let section = target.section?;
        let parts =
            found.node.items_at(&["spec", "listeners"]).iter().chain(found.node.items_at(&["spec", "rules"]));
        let has_section = parts.into_iter().any(|part| part.text_at(&["name"]) == Some(section));
        (!has_section).then(|| {
            (target.section_line, format!("matches nothing: {kind} \"{name}\" has no \"{section}\""))
        })
    }

    /// Whether labels match nothing in these files. Where they have no labelled pods at all, nothing is known.
    pub(crate) fn match_nothing(&self, labels: &[(&str, &str)], namespace: &str) -> bool {
        let mut pods = Vec::new();
        for object in &self.0 {
            let labels = match object.kind.as_str() {
                "Deployment" | "DaemonSet" | "StatefulSet" => {
                    object.node.at(&["spec", "template", "metadata", "labels"])
                }
                "Pod" => object.node.at(&["metadata", "labels"]),
                // A classic Gateway names its pods, in any namespace.
                "Gateway" if object.group == "networking.istio.io" => object.node.at(&["spec", "selector"]),
                _ => None,
            };
            if let Some(labels) = labels.map(labels_of).filter(|labels| !labels.is_empty()) {
                pods.push((object, labels));
            }
            if object.is("gateway.networking.k8s.io", "Gateway") {
                let label = ("gateway.networking.k8s.io/gateway-name", object.name.as_str());
                pods.push((object, vec![label]));
            }
        }
        let is_here = |object: &Object| {
            namespace == ROOT_NAMESPACE
                || object.namespace == namespace
                || object.group == "networking.istio.io"
        };
        let matches = |(object, has): &(&Object, Vec<_>)| {
            is_here(object) && labels.iter().all(|label| has.contains(label))
        };
        !pods.is_empty() && !pods.iter().any(matches)
    }

    /// The value of a variable, where a Secret of these files has a key of that name: pods get it from there.
    pub(crate) fn secret(&self, key: &str) -> Option<String> {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        self.of("", "Secret").find_map(|secret| {
            let plain = secret.node.text_at(&["stringData", key]).map(str::to_owned);
            let decoded = || {
                let value = STANDARD.decode(secret.node.text_at(&["data", key])?).ok()?;
                String::from_utf8(value).ok()
            };
            plain.or_else(decoded)
        })
    }
}

/// Whether a policy of this namespace is for pods of that one.
pub(crate) fn reaches(policy: &str, pods: &str) -> bool {
    policy == pods || policy == ROOT_NAMESPACE
}
