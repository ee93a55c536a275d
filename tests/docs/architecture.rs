//! The house of docs/architecture.md: a file imports only from its own floor and those below.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders of `src`, lowest floor first. `lib.rs` is the front door: it names all.
const FLOORS: &[&[&str]] = &[
    &["sync", "error"],
    &["context", "value", "resp"],
    &["args", "from_value", "reply", "scan"],
    &["net"],
    &["conn", "dial"],
    &["pool"],
    &["logging", "mux", "pubsub", "script", "testing"],
];

#[test]
fn no_floor_imports_from_above() {
    let floors = floors();
    let mut imports = 0;
    for file in source_files() {
        let Some(own) = room(&file) else { continue };
        let floor = floors
            .get(own.as_str())
            .unwrap_or_else(|| panic!("src/{own} stands on no floor: add it to FLOORS"));
        for (line, target) in imported_rooms(&file) {
            let below = floors.get(target.as_str());
            let below = below.unwrap_or_else(|| panic!("{}:{line}: no {target}", file.display()));
            assert!(below <= floor, "{}:{line} imports {target} from above", file.display());
            imports += 1;
        }
    }
    assert!(imports > 50, "only {imports} imports were found: does the search still work?");
}

#[test]
fn only_the_facade_names_the_lock_library() {
    for file in source_files() {
        let names_it = code_lines(&file).any(|(_, code)| code.contains("parking_lot"));
        assert_eq!(names_it, file.ends_with("sync.rs"), "{}", file.display());
    }
}

#[test]
fn the_pure_core_knows_no_clock_no_socket_and_no_thread() {
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
        let tests = file.starts_with(root.join("pool/core/tests"));
        !tests && ["resp", "pool/core", "mux/core"].iter().any(|at| file.starts_with(root.join(at)))
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

fn floors() -> BTreeMap<&'static str, usize> {
    let rooms = FLOORS.iter().enumerate();
    rooms.flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor))).collect()
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file of `src` but those that hold nothing but tests.
fn source_files() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![source_root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("tests.rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 20);
    found
}

/// The file or folder right under `src` that a file belongs to; none for `lib.rs`.
fn room(file: &Path) -> Option<String> {
    let inside = file.strip_prefix(source_root()).unwrap();
    let first = Path::new(inside.components().next().unwrap().as_os_str());
    let room = first.file_stem().unwrap().to_str().unwrap();
    (room != "lib").then(|| room.to_owned())
}

/// What follows each `crate::` in the code of a file.
fn imported_rooms(file: &Path) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, code) in code_lines(file) {
        for (at, path) in code.match_indices("crate::") {
            if code[..at].ends_with('$') {
                // A macro's own path, which leads through the front door.
                continue;
            }
            let rest = &code[at + path.len()..];
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            assert!(!name.is_empty(), "{}:{line}: one `crate::` path a line", file.display());
            found.push((line, name.to_owned()));
        }
    }
    found
}

/// The lines of a file, numbered, without comments and without its unit tests.
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
