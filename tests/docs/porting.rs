//! docs/porting-from-go.md: its Rust code equals the examples, the examples run, and the names in its
//! tables exist.

#[path = "../../examples/port_web.rs"]
mod port_web;
#[path = "../../examples/port_worker.rs"]
mod port_worker;
#[path = "../../examples/pubsub.rs"]
mod pubsub;

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_web_handler_runs() {
    port_web::main().unwrap();
}

#[test]
fn the_worker_runs() {
    port_worker::main().unwrap();
}

#[test]
fn the_listener_runs() {
    pubsub::main().unwrap();
}

/// Above each block, a comment `<!-- FILE | BEGIN | END -->` names its source: the lines of FILE from
/// the one that starts with BEGIN up to the one that starts with END.
#[test]
fn code_blocks_equal_the_examples() {
    let guide = guide();
    let mut blocks = 0;
    for part in guide.split("<!-- ").skip(1) {
        let (marker, rest) =
            part.split_once(" -->\n```rust\n").expect("a code block after the marker");
        let (block, _) = rest.split_once("```\n").expect("the end of the block");
        let [file, begin, end] = marker.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("malformed marker: {marker}");
        };
        let source = read(file);
        let lines: Vec<&str> = source
            .lines()
            .skip_while(|line| !line.starts_with(begin))
            .take_while(|line| !line.starts_with(end))
            .collect();
        assert!(!lines.is_empty(), "{file} has no line {begin}");
        assert_eq!(block.trim_end(), lines.join("\n").trim_end(), "{file} has changed");
        blocks += 1;
    }
    assert_eq!(blocks, 3);
    assert_eq!(guide.matches("```rust\n").count(), blocks, "a block without a marker");
}

/// Code in the second column of a table, such as `Type::name`, `name(…)` or `Name`, names items of
/// this crate.
#[test]
fn names_in_the_tables_exist() {
    let sources = sources();
    let mut names = 0;
    for row in
        guide().lines().filter(|line| line.starts_with("| ") && !line.starts_with("| redigo"))
    {
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells.len(), 3, "{row}");
        for code in cells[1].split('`').skip(1).step_by(2) {
            let path = code.split(['(', '<', '[', ' ', '=', '.']).next().unwrap();
            for name in path.split("::").filter(|name| !name.is_empty()) {
                let name = name.trim_end_matches('!');
                let found = ["fn", "struct", "enum", "trait", "mod", "macro_rules!", "type"]
                    .iter()
                    .any(|kind| sources.iter().any(|text| declares(text, kind, name)))
                    || sources.iter().any(|text| declares_variant(text, name));
                assert!(found, "no {name} in src: {row}");
                names += 1;
            }
        }
    }
    assert!(names > 100, "only {names} names were found: does the search still work?");
}

fn declares(text: &str, kind: &str, name: &str) -> bool {
    text.match_indices(&format!("{kind} {name}")).any(|(at, found)| {
        !text[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// True if the text declares an enum variant or a field of this name.
fn declares_variant(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.trim_start().trim_start_matches("pub ").strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['(', ',', ':']) || rest.starts_with(" {"))
    })
}

fn guide() -> String {
    read("docs/porting-from-go.md")
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(fs::read_to_string(path).unwrap()),
            }
        }
    }
    found
}
