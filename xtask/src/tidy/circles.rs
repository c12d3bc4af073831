//! Inside a crate the files' imports make no circle, and none goes by way of the root's re-exports.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
};

use cargo_metadata::TargetKind;

use super::{
    modules::{Arrow, Modules},
    workspace::{Problem, Workspace, in_workspace},
};

/// What each file uses of each other file.
type Graph = BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>>;

pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in workspace.metadata.workspace_packages() {
        let is_product = |kind: &TargetKind| {
            !matches!(kind, TargetKind::Test | TargetKind::Bench | TargetKind::CustomBuild)
        };
        for target in package.targets.iter().filter(|target| target.kind.iter().any(is_product)) {
            let modules = Modules::load(target.src_path.as_std_path(), &|path| fs::read_to_string(path).ok());
            problems.extend(texts(&modules).into_iter().map(|text| Problem::new(&package.name, text)));
        }
    }
    problems
}

/// The problems of one crate.
fn texts(modules: &Modules) -> Vec<String> {
    let arrows = modules.arrows();
    let root = modules.files.first().and_then(|root| root.parent()).unwrap_or(Path::new(""));
    let name = |file: usize| {
        let path = &modules.files[file];
        path.strip_prefix(root).map_or_else(|_| in_workspace(path), |path| path.display().to_string())
    };
    let graph = graph(&arrows);
    let mut texts: Vec<String> = circles(&graph).iter().map(|circle| show(circle, &graph, &name)).collect();
    let mut detours: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for arrow in arrows.iter().filter(|arrow| arrow.through_root) {
        detours.entry(arrow.from).or_default().push(format!("{} of {}", arrow.item, name(arrow.to)));
    }
    for (from, items) in detours {
        texts.push(format!("{} imports through {}: {}", name(from), name(0), items.join(", ")));
    }
    texts
}

fn graph(arrows: &[Arrow]) -> Graph {
    let mut graph = Graph::new();
    for arrow in arrows {
        graph.entry(arrow.from).or_default().entry(arrow.to).or_default().insert(arrow.item.clone());
    }
    graph
}

/// A few circles that together hold every arrow of every circle; each is the shortest through one of its
/// arrows.
fn circles(graph: &Graph) -> Vec<Vec<usize>> {
    let mut covered = BTreeSet::new();
    let mut circles = Vec::new();
    for (&from, targets) in graph {
        for &to in targets.keys() {
            if covered.contains(&(from, to)) {
                continue;
            }
            let Some(circle) = shortest_path(graph, to, from) else { continue };
            covered.insert((from, to));
            covered.extend(circle.windows(2).map(|pair| (pair[0], pair[1])));
            circles.push(circle);
        }
    }
    circles
}

/// The files on the shortest way from one file to another, both included.
fn shortest_path(graph: &Graph, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut came_from = BTreeMap::from([(from, from)]);
    let mut queue = VecDeque::from([from]);
    while let Some(current) = queue.pop_front() {
        if current == to {
            let mut path = vec![to];
            while path.last() != Some(&from) {
                path.push(came_from[path.last()?]);
            }
            path.reverse();
            return Some(path);
        }
        for &next in graph.get(&current).into_iter().flat_map(BTreeMap::keys) {
            came_from.entry(next).or_insert_with(|| {
                queue.push_back(next);
                current
            });
        }
    }
    None
}

/// The circle as `a.rs → b.rs → a.rs (x, y of b.rs; z of a.rs)`, from the file that comes first.
fn show(circle: &[usize], graph: &Graph, name: &dyn Fn(usize) -> String) -> String {
    let first = circle.iter().enumerate().min_by_key(|(_, file)| **file).map_or(0, |(index, _)| index);
    let mut files: Vec<usize> = circle[first..].iter().chain(&circle[..first]).copied().collect();
    files.extend(files.first().copied());
    let names: Vec<String> = files.iter().map(|file| name(*file)).collect();
    let items: Vec<String> = files
        .windows(2)
        .map(|pair| {
            let items: Vec<&str> = graph[&pair[0]][&pair[1]].iter().map(String::as_str).collect();
            format!("{} of {}", items.join(", "), name(pair[1]))
        })
        .collect();
    format!("{} ({})", names.join(" → "), items.join("; "))
}

#[cfg(test)]
mod tests {
    use super::{super::modules::tests::modules, *};

    #[test]
    fn a_circle_is_shown_with_its_items() {
        let modules = modules(&[
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "use crate::b::B; pub struct A; pub struct Other;"),
            ("src/b.rs", "use crate::c::C; pub struct B;"),
            ("src/c.rs", "use crate::a::{A, Other}; pub struct C;"),
        ]);
        let circle = "a.rs → b.rs → c.rs → a.rs (B of b.rs; C of c.rs; A, Other of a.rs)";
        assert_eq!(texts(&modules), [circle]);
    }

    #[test]
    fn every_arrow_of_a_circle_is_in_one_that_is_shown() {
        let modules = modules(&[
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "use crate::{b::B, c::C}; pub struct A;"),
            ("src/b.rs", "use crate::a::A; pub struct B;"),
            ("src/c.rs", "use crate::a::A; pub struct C;"),
        ]);
        assert_eq!(
            texts(&modules),
            ["a.rs → b.rs → a.rs (B of b.rs; A of a.rs)", "a.rs → c.rs → a.rs (C of c.rs; A of a.rs)"]
        );
    }

    #[test]
    fn parents_count_if_they_use_their_children() {
        let uses = modules(&[
            ("src/lib.rs", "mod room;"),
            ("src/room.rs", "mod a; pub struct R(a::A); pub struct Of;"),
            ("src/room/a.rs", "use super::Of; pub struct A(Of);"),
        ]);
        assert_eq!(texts(&uses), ["room.rs → room/a.rs → room.rs (A of room/a.rs; Of of room.rs)"]);
        let only_reexports = modules(&[
            ("src/lib.rs", "mod room;"),
            ("src/room.rs", "mod a; pub use a::A; pub struct Of;"),
            ("src/room/a.rs", "use super::Of; pub struct A(Of);"),
        ]);
        assert_eq!(texts(&only_reexports), Vec::<String>::new());
    }

    #[test]
    fn the_roots_reexports_are_no_way() {
        let modules = modules(&[
            ("src/lib.rs", "mod a; mod b; pub use a::A;"),
            ("src/a.rs", "pub struct A;"),
            ("src/b.rs", "use crate::A;"),
        ]);
        assert_eq!(texts(&modules), ["b.rs imports through lib.rs: A of a.rs"]);
    }
}
