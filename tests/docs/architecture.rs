//! The structure that docs/architecture.md describes: layers, no circles of files, a pure core.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use self::imports::{Import, imports};

/// Files and folders of `src`, lowest layer first. `lib.rs` is above all layers: it re-exports them.
const LAYERS: &[&[&str]] = &[
    &["sync", "error"],
    &["context", "value", "resp"],
    &["args", "from_value", "reply", "scan"],
    &["net"],
    &["conn", "dial", "executor", "limited", "script"],
    &["pool"],
    &["logging", "mux", "pubsub", "testing"],
];

/// The files that may import each other: values contain fields, and fields contain values.
const ALLOWED_CIRCLES: &[&[&str]] = &[&["scan/de.rs", "scan/fields.rs"]];

#[test]
fn layers_import_only_from_themselves_and_below() {
    let mut layers = BTreeMap::new();
    for (layer, modules) in LAYERS.iter().enumerate() {
        layers.extend(modules.iter().map(|module| (*module, layer)));
    }
    let mut checked = 0;
    for import in imports(&source_root(), &source_files()) {
        if import.file == "lib.rs" {
            continue;
        }
        let layer_of = |file: &str| {
            let module = file.split(['/', '.']).next().unwrap();
            *layers.get(module).unwrap_or_else(|| {
                panic!("{import}: src/{file} has no layer (add it to LAYERS, or name its own path)")
            })
        };
        assert!(layer_of(&import.target) <= layer_of(&import.file), "{import}: a higher layer");
        checked += 1;
    }
    assert!(checked > 50, "only {checked} imports were found: does the search still work?");
}

/// Files must not import each other in a circle. The rules:
///
/// - A path that starts with `crate`, `self`, `super` or a child module is an import from the file
///   of its longest prefix that is a module.
/// - Names of a parent module, at any height, do not count: the parent is one unit with its
///   children, and a child extends the types of its parent. Imports of a parent from a child count.
/// - `mod` declarations, `lib.rs` and unit tests do not count.
#[test]
fn files_do_not_import_each_other_in_circles() {
    let mut edges: BTreeMap<String, BTreeMap<String, Vec<Import>>> = BTreeMap::new();
    for import in imports(&source_root(), &source_files()) {
        if import.file != "lib.rs" && import.target != "lib.rs" && !import.is_from_parent() {
            let targets = edges.entry(import.file.clone()).or_default();
            targets.entry(import.target.clone()).or_default().push(import);
        }
    }
    let mut circles = BTreeSet::new();
    for file in edges.keys() {
        let circle: BTreeSet<&str> = reachable(&edges, file)
            .into_iter()
            .filter(|other| reachable(&edges, other).contains(&**file))
            .collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    let allowed: BTreeSet<BTreeSet<&str>> =
        ALLOWED_CIRCLES.iter().map(|circle| circle.iter().copied().collect()).collect();
    let mut report = String::new();
    for circle in circles.difference(&allowed) {
        report += &format!("\ncircle of {} files:\n", circle.len());
        for file in circle {
            let targets =
                edges[*file].iter().filter(|(target, _)| circle.contains(target.as_str()));
            for (target, imports) in targets {
                let names: BTreeSet<_> = imports.iter().map(|import| &*import.name).collect();
                let names = names.into_iter().collect::<Vec<_>>().join(", ");
                report += &format!("  {file} -> {target}: {names}\n");
            }
        }
    }
    assert!(report.is_empty(), "files import each other:\n{report}");
    assert_eq!(circles, allowed, "an allowed circle is gone: remove it from the list");
}

#[test]
fn only_the_sync_module_names_the_lock_library() {
    for file in source_files() {
        let names_it = code_lines(&file).any(|(_, code)| code.contains("parking_lot"));
        assert_eq!(names_it, file.ends_with("sync.rs"), "{}", file.display());
    }
}

#[test]
fn the_pure_core_uses_no_clock_socket_or_thread() {
    const IMPURE: &[&str] = &[
        "Instant::now",
        "std::net",
        "std::thread",
        "std::io",
        "std::fs",
        "Mutex",
        "Condvar",
        "log::",
    ];
    let root = source_root();
    let mut pure: Vec<_> = ["pool/core.rs", "mux/core.rs"].map(|file| root.join(file)).into();
    pure.extend(source_files().into_iter().filter(|file| {
        ["resp", "pool/core", "mux/core"].iter().any(|at| file.starts_with(root.join(at)))
    }));
    assert!(pure.len() >= 10);
    for file in pure {
        for (line, code) in code_lines(&file) {
            for word in IMPURE {
                assert!(!code.contains(word), "{}:{line} has {word}", file.display());
            }
        }
    }
}

/// The files that a file imports from, directly or through others.
fn reachable<'a>(
    edges: &'a BTreeMap<String, BTreeMap<String, Vec<Import>>>,
    file: &str,
) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), vec![file]);
    while let Some(file) = open.pop() {
        for target in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(target.as_str()) {
                open.push(target);
            }
        }
    }
    found
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file of `src`, except files that contain only tests.
fn source_files() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![source_root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().is_some_and(|name| name == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20);
    found.sort();
    found
}

/// The lines of a file, numbered, without comments and without unit tests.
fn code_lines(file: &Path) -> impl Iterator<Item = (usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<_> = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .enumerate()
        .map(|(at, line)| (at + 1, line.split("//").next().unwrap().to_owned()))
        .collect();
    lines.into_iter()
}
