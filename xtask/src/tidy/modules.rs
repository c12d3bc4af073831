//! The modules of one crate: what each defines, imports and uses, and which file a path leads to.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{ext::IdentExt, punctuated::Punctuated, visit::Visit};

/// Imports that lead to imports are followed this far: no honest chain is longer.
const MAX_STEPS: usize = 32;

/// The modules of one crate, without those for tests.
pub(crate) struct Modules {
    /// The crate's files; the first is its root.
    pub(crate) files: Vec<PathBuf>,
    modules: Vec<Module>,
    uses: Vec<Use>,
}

/// One file uses an item that another one defines.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) item: String,
    /// Whether the path runs through a re-export of the crate's root.
    pub(crate) through_root: bool,
}

#[derive(Default)]
struct Module {
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Name and defining file of each item.
    items: BTreeMap<String, usize>,
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

/// A path in the code of a module, or in one of its private imports.
struct Use {
    module: usize,
    path: Vec<String>,
}

/// What a path leads to.
enum Target {
    Module(usize),
    Item { file: usize, name: String },
}

impl Modules {
    /// Reads the crate whose root is this file. `read` gives the text of a file that exists.
    pub(crate) fn load(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut modules = Self { files: Vec::new(), modules: Vec::new(), uses: Vec::new() };
        let directory = root.parent().unwrap_or(Path::new("")).to_owned();
        modules.load_file(root, directory, None, read);
        modules
    }

    /// Reads a file as a module, and the files of its child modules, which are in `directory`.
    fn load_file(
        &mut self,
        path: &Path,
        directory: PathBuf,
        parent: Option<usize>,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> Option<usize> {
        let parsed = syn::parse_file(&read(path)?).ok()?;
        let file = self.files.len();
        self.files.push(path.to_owned());
        let module = self.add(file, parent);
        let mut reader = Reader { modules: self, module, directory, read, in_function: false };
        reader.visit_file(&parsed);
        Some(module)
    }

    fn add(&mut self, file: usize, parent: Option<usize>) -> usize {
        self.modules.push(Module { file, parent, ..Module::default() });
        self.modules.len() - 1
    }

    /// The arrows between files, sorted, each once.
    pub(crate) fn arrows(&self) -> Vec<Arrow> {
        let mut arrows: Vec<Arrow> = self.uses.iter().filter_map(|used| self.arrow(used)).collect();
        arrows.sort();
        arrows.dedup();
        arrows
    }

    fn arrow(&self, used: &Use) -> Option<Arrow> {
        let from = self.modules[used.module].file;
        let mut through_root = false;
        match self.resolve(used.module, &used.path, MAX_STEPS, &mut through_root)? {
            Target::Item { file, name } if file != from => {
                Some(Arrow { from, to: file, item: name, through_root: through_root && from != 0 })
            }
            _ => None,
        }
    }

    /// What the path leads to, as seen from a module. `None` if that is outside of the crate or a local
    /// variable.
    fn resolve(&self, from: usize, path: &[String], steps: usize, through_root: &mut bool) -> Option<Target> {
        let steps = steps.checked_sub(1)?;
        let mut target = Target::Module(from);
        for (index, name) in path.iter().enumerate() {
            let Target::Module(current) = target else { return Some(target) };
            let is_last = index + 1 == path.len();
            target = match name.as_str() {
                "crate" => Target::Module(0),
                "self" => Target::Module(current),
                "super" => Target::Module(self.modules[current].parent?),
                name => {
                    // A re-export of the root is a detour only for those who name the root.
                    *through_root |= current == 0 && index > 0 && self.is_reexport(name);
                    self.look_up(current, name, is_last, steps, through_root)?
                }
            };
        }
        Some(target)
    }

    /// Whether the root has this name only by an import. A module may have the name of a macro.
    fn is_reexport(&self, name: &str) -> bool {
        let root = &self.modules[0];
        root.imports.contains_key(name) && !root.items.contains_key(name) && !root.children.contains_key(name)
    }

    fn look_up(
        &self,
        current: usize,
        name: &str,
        is_last: bool,
        steps: usize,
        through_root: &mut bool,
    ) -> Option<Target> {
        let module = &self.modules[current];
        let child = || module.children.get(name).map(|child| Target::Module(*child));
        let item = || module.items.get(name).map(|file| Target::Item { file: *file, name: name.to_owned() });
        // A module and an item may have one name: what a path goes on from is the module.
        let defined = if is_last { item().or_else(child) } else { child().or_else(item) };
        if defined.is_some() {
            return defined;
        }
        if let Some(path) = module.imports.get(name) {
            return self.resolve(current, path, steps, through_root);
        }
        module.globs.iter().find_map(|glob| match self.resolve(current, glob, steps, through_root)? {
            Target::Module(module) if module != current => {
                self.look_up(module, name, is_last, steps.checked_sub(1)?, through_root)
            }
            _ => None,
        })
    }
}

/// Reads the syntax of one module.
struct Reader<'a> {
    modules: &'a mut Modules,
    module: usize,
    /// Where the files of child modules are.
    directory: PathBuf,
    read: &'a dyn Fn(&Path) -> Option<String>,
    /// Items inside of functions are no items of the module.
    in_function: bool,
}

impl Reader<'_> {
    fn define(&mut self, name: &syn::Ident) {
        if !self.in_function {
            let module = &mut self.modules.modules[self.module];
            module.items.insert(name.unraw().to_string(), module.file);
        }
    }

    fn uses(&mut self, path: Vec<String>) {
        // A lower-case word alone may be a local variable; if it is an import, that has been counted.
        let is_name = path.len() > 1 || path.first().is_some_and(|name| name.starts_with(char::is_uppercase));
        if is_name {
            self.modules.uses.push(Use { module: self.module, path });
        }
    }

    fn import(&mut self, tree: &syn::UseTree, prefix: &[String], is_public: bool) {
        let join = |name: &syn::Ident| [prefix, &[name.unraw().to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.import(&path.tree, &join(&path.ident), is_public),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, prefix, is_public);
                }
            }
            syn::UseTree::Glob(_) => self.modules.modules[self.module].globs.push(prefix.to_vec()),
            syn::UseTree::Name(name) if name.ident == "self" => {
                let name = prefix.last().cloned().unwrap_or_default();
                self.import_name(name, prefix.to_vec(), is_public);
            }
            syn::UseTree::Name(name) => {
                self.import_name(name.ident.unraw().to_string(), join(&name.ident), is_public);
            }
            syn::UseTree::Rename(rename) => {
                self.import_name(rename.rename.unraw().to_string(), join(&rename.ident), is_public);
            }
        }
    }

    fn import_name(&mut self, name: String, path: Vec<String>, is_public: bool) {
        if !is_public {
            self.modules.uses.push(Use { module: self.module, path: path.clone() });
        }
        // `use serde;` says nothing, and would lead to itself.
        if path.len() > 1 || path.first() != Some(&name) {
            self.modules.modules[self.module].imports.entry(name).or_insert(path);
        }
    }

    /// The paths among the tokens of a macro or an attribute.
    fn tokens(&mut self, tokens: &TokenStream) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let punctuation = |index: usize| match tokens.get(index) {
            Some(TokenTree::Punct(punctuation)) => Some(punctuation.as_char()),
            _ => None,
        };
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            index += 1;
            match token {
                TokenTree::Group(group) => self.tokens(&group.stream()),
                TokenTree::Ident(first) => {
                    let is_member = index > 1 && punctuation(index - 2) == Some('.');
                    let mut path = vec![first.unraw().to_string()];
                    while (punctuation(index), punctuation(index + 1)) == (Some(':'), Some(':')) {
                        let Some(TokenTree::Ident(next)) = tokens.get(index + 2) else { break };
                        path.push(next.unraw().to_string());
                        index += 3;
                    }
                    let is_call = matches!(tokens.get(index), Some(TokenTree::Group(group))
                        if group.delimiter() == Delimiter::Parenthesis);
                    if is_call && !is_member {
                        self.calls(path);
                    } else if !is_member {
                        self.uses(path);
                    }
                }
                _ => {}
            }
        }
    }

    /// A function that is called by its name: that cannot be a local variable, or hardly.
    fn calls(&mut self, path: Vec<String>) {
        self.modules.uses.push(Use { module: self.module, path });
    }

    fn child(&mut self, item: &syn::ItemMod) {
        let name = item.ident.unraw().to_string();
        let directory = self.directory.join(&name);
        let child = match &item.content {
            Some((_, items)) => {
                let file = self.modules.modules[self.module].file;
                let module = self.modules.add(file, Some(self.module));
                let mut reader =
                    Reader { modules: self.modules, module, directory, read: self.read, in_function: false };
                items.iter().for_each(|item| reader.visit_item(item));
                Some(module)
            }
            None => {
                let paths = [self.directory.join(format!("{name}.rs")), directory.join("mod.rs")];
                paths.iter().find_map(|path| {
                    self.modules.load_file(path, directory.clone(), Some(self.module), self.read)
                })
            }
        };
        if let Some(child) = child {
            self.modules.modules[self.module].children.insert(name, child);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_for_tests(item) {
            return;
        }
        match item {
            syn::Item::Const(item) => self.define(&item.ident),
            syn::Item::Enum(item) => self.define(&item.ident),
            syn::Item::Fn(item) => self.define(&item.sig.ident),
            syn::Item::Static(item) => self.define(&item.ident),
            syn::Item::Struct(item) => self.define(&item.ident),
            syn::Item::Trait(item) => self.define(&item.ident),
            syn::Item::Type(item) => self.define(&item.ident),
            syn::Item::Union(item) => self.define(&item.ident),
            syn::Item::Macro(item) => {
                if let Some(name) = &item.ident {
                    self.define(name);
                    if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) {
                        let file = self.modules.modules[self.module].file;
                        self.modules.modules[0].items.insert(name.unraw().to_string(), file);
                    }
                }
            }
            _ => {}
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        if !matches!(item, syn::ImplItem::Fn(function) if has_test_attribute(&function.attrs)) {
            syn::visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.child(item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            let is_public = !matches!(item.vis, syn::Visibility::Inherited);
            self.import(&item.tree, &[], is_public);
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let outside = std::mem::replace(&mut self.in_function, true);
        syn::visit::visit_block(self, block);
        self.in_function = outside;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.uses(names(path));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func {
            self.calls(names(&function.path));
        }
        syn::visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.calls(names(&invocation.path));
        self.tokens(&invocation.tokens);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // Derives and their helpers are of other crates; serde's name functions in strings.
        if let syn::Meta::List(list) = &attribute.meta {
            let literals = list.tokens.clone().into_iter().filter_map(|token| match token {
                TokenTree::Literal(literal) => syn::parse_str::<syn::LitStr>(&literal.to_string()).ok(),
                _ => None,
            });
            for path in literals.filter_map(|literal| literal.parse::<syn::Path>().ok()) {
                self.calls(names(&path));
            }
        }
    }
}

fn names(path: &syn::Path) -> Vec<String> {
    let segments: &Punctuated<syn::PathSegment, _> = &path.segments;
    segments.iter().map(|segment| segment.ident.unraw().to_string()).collect()
}

/// Whether the item is compiled for tests alone, or a file of tests.
pub(crate) fn is_for_tests(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) if item.ident == "tests" => return true,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => return false,
    };
    has_test_attribute(attributes)
}

fn has_test_attribute(attributes: &[syn::Attribute]) -> bool {
    let is_cfg_test = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    };
    attributes.iter().any(is_cfg_test)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The modules of a crate with these files; the first is its root.
    pub(crate) fn modules(files: &[(&str, &str)]) -> Modules {
        let read = |path: &Path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        };
        Modules::load(Path::new(files[0].0), &read)
    }

    /// The arrows as `from → to (item)`, with `!` if they run through the root.
    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let modules = modules(files);
        let name = |file: usize| modules.files[file].display().to_string();
        let show = |arrow: &Arrow| {
            let mark = if arrow.through_root { "!" } else { "" };
            format!("{} → {} ({}{mark})", name(arrow.from), name(arrow.to), arrow.item)
        };
        modules.arrows().iter().map(show).collect()
    }

    #[test]
    fn imports_lead_to_the_file_that_defines() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub(crate) struct A;"),
            ("b.rs", "use crate::a::A; fn f(a: A) {}"),
        ];
        assert_eq!(arrows(&files), ["b.rs → a.rs (A)"]);
    }

    #[test]
    fn reexports_are_followed_and_no_arrows_themselves() {
        let files = [
            ("lib.rs", "mod room; mod b; pub use room::A;"),
            ("room.rs", "mod a; pub use a::A;"),
            ("room/a.rs", "pub struct A;"),
            ("b.rs", "use crate::room::A as Other; fn f(a: Other) {}"),
        ];
        assert_eq!(arrows(&files), ["b.rs → room/a.rs (A)"]);
    }

    #[test]
    fn a_parent_that_uses_its_reexport_has_an_arrow() {
        let files = [
            ("lib.rs", "mod room;"),
            ("room.rs", "mod a; pub use a::{A, make}; struct B(A); fn f() { make(); }"),
            ("room/a.rs", "pub struct A; pub fn make() {}"),
        ];
        assert_eq!(arrows(&files), ["room.rs → room/a.rs (A)", "room.rs → room/a.rs (make)"]);
    }

    #[test]
    fn paths_through_the_roots_reexports_are_marked() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A;"),
            ("a.rs", "pub struct A;"),
            ("b.rs", "use crate::A; fn f(a: A) {}"),
        ];
        assert_eq!(arrows(&files), ["b.rs → a.rs (A!)"]);
    }

    #[test]
    fn paths_in_code_macros_and_attributes_count() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub struct A; pub fn f() {} pub enum E { V } pub fn with() {}"),
            (
                "b.rs",
                r#"use crate::a; use super::a::E::V;
                   fn g() { assert!(a::f() == 1, "{}", x.with()); let b: a::A; }
                   #[derive(D)] struct S { #[serde(with = "crate::a::with")] s: u32 }"#,
            ),
        ];
        let all = ["A", "E", "f", "with"].map(|item| format!("b.rs → a.rs ({item})"));
        assert_eq!(arrows(&files), all);
    }

    #[test]
    fn globs_are_followed() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub struct A;"),
            ("b.rs", "use crate::a::*; fn f(a: A, v: Vec<u8>) {}"),
        ];
        assert_eq!(arrows(&files), ["b.rs → a.rs (A)"]);
    }

    #[test]
    fn tests_and_other_crates_do_not_count() {
        let files = [
            ("lib.rs", "mod a; mod b; use serde::Serialize; use std::fs;"),
            ("a.rs", "pub struct A;"),
            ("b.rs", "#[cfg(test)] use crate::a::A; #[cfg(test)] mod tests { use crate::a::A; } mod tests;"),
            ("b/tests.rs", "use crate::a::A;"),
        ];
        assert_eq!(arrows(&files), Vec::<String>::new());
    }

    #[test]
    fn inline_modules_belong_to_their_file() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod inner { pub struct I; mod file; } use self::inner::I; pub struct A(I);"),
            ("a/inner/file.rs", "use super::{super::A, I};"),
        ];
        assert_eq!(arrows(&files), ["a/inner/file.rs → a.rs (A)", "a/inner/file.rs → a.rs (I)"]);
    }
}
