//! The rooms of `src` and their order: a file imports from its own room and from those below, and from no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::Visit;
use syn::{Attribute, Item, ItemMod, UseTree};

use local_envoy::module::root;

/// From the bottom up. A file belongs to the longest name that its own begins with.
const ROOMS: [&str; 30] = [
    "base",
    "config",
    "authn::env",
    "authn::policy",
    "authn::jwt",
    "authn::ended",
    "authn::request",
    "authn::identity",
    "authn::fault",
    "authn::verdict",
    "authn::report",
    "authn::authentik",
    "authn::doctor",
    "authn::session",
    "authn::provider",
    "authn::provider_list",
    "authn::events",
    "authn::cache",
    "authn::verification",
    "authn::sessions",
    "authn::edits",
    "authn::reply",
    "authn::login",
    "authn::respond",
    "authn::step",
    "authn::shadow",
    "authn",
    "filter::host",
    "filter",
    "lib",
];

const MAX_LINES: usize = 350;

/// All files of `src` by the path of their module, without tests.
fn modules() -> BTreeMap<String, String> {
    fn read(folder: &Path, prefix: &str, modules: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let module = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
            if path.is_dir() {
                read(&path, &module, modules);
            } else if path.extension().is_some_and(|it| it == "rs")
                && name != "tests"
                && !prefix.ends_with("::tests")
            {
                modules.insert(module, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut modules = BTreeMap::new();
    read(&root().join("src"), "", &mut modules);
    modules
}

/// The paths that a file names, from the crate's root; what is for tests only does not count.
struct Paths<'a> {
    module: &'a str,
    found: BTreeSet<String>,
}

impl Paths<'_> {
    fn add(&mut self, path: &[String]) {
        let (first, rest) = path.split_first().unwrap();
        let parent = self.module.rsplit_once("::").map_or("", |(parent, _)| parent);
        let base = match first.as_str() {
            "crate" => "",
            "super" => parent,
            "self" if self.module == "lib" => "",
            "self" => self.module,
            _ => return,
        };
        let whole = [base.to_owned(), rest.join("::")];
        self.found.insert(whole.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("::"));
    }

    fn add_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.add(&with(&name.ident)),
            UseTree::Rename(name) => self.add(&with(&name.ident)),
            UseTree::Glob(_) => self.add(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, before)),
        }
    }
}

impl<'a> Visit<'a> for Paths<'_> {
    fn visit_item(&mut self, item: &'a Item) {
        match item {
            Item::Mod(ItemMod { attrs, .. }) if is_for_tests(attrs) => {}
            Item::Use(one) if !is_for_tests(&one.attrs) => self.add_tree(&one.tree, &[]),
            other => syn::visit::visit_item(self, other),
        }
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&names);
        syn::visit::visit_path(self, path);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// What each file imports from which other.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let of = |module: &String, source: &String| {
        let file = syn::parse_file(source).unwrap();
        let mut paths = Paths { module, found: BTreeSet::new() };
        paths.visit_file(&file);
        let file_of = |path: &String| {
            let mut path = path.as_str();
            while !modules.contains_key(path) {
                path = path.rsplit_once("::")?.0;
            }
            Some(path.to_owned()).filter(|path| path != module)
        };
        paths.found.iter().filter_map(file_of).collect()
    };
    modules.iter().map(|(module, source)| (module.clone(), of(module, source))).collect()
}

fn room(module: &str) -> usize {
    let is_in = |room: &str| module == room || module.starts_with(&format!("{room}::"));
    let rooms = ROOMS.iter().enumerate().filter(|(_, room)| is_in(room));
    rooms.max_by_key(|(_, room)| room.len()).unwrap_or_else(|| panic!("{module} is in no room")).0
}

#[test]
fn every_import_leads_down() {
    let imports = imports();
    let edges: usize = imports.values().map(BTreeSet::len).sum();
    assert!(imports.len() > 50 && edges > 200, "{} modules, {edges} imports", imports.len());
    for (module, imported) in &imports {
        for other in imported {
            assert!(room(other) <= room(module), "{module} imports from {other}, which is above it");
        }
    }
}

#[test]
fn no_file_leads_back_to_itself() {
    let mut imports = imports();
    // Files that import nothing that is left are taken away; what stays goes in circles.
    while let Some(leaf) = imports.iter().find(|(_, imported)| imported.is_empty()).map(|(it, _)| it.clone())
    {
        imports.remove(&leaf);
        imports.values_mut().for_each(|imported| _ = imported.remove(&leaf));
    }
    assert_eq!(imports.keys().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn no_file_is_long_and_none_is_borrowed() {
    fn check(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            let lines = source.lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
            assert!(!source.contains("#[path"), "{} borrows a file", path.display());
        }
    }
    check(&root().join("src"));
}
