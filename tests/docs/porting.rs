//! docs/porting-from-go.md: its Rust code is that of the examples, these run, and what its tables
//! name is there.

// Each example brings the private redis-server along.
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

/// A comment `<!-- FILE | BEGIN | END -->` stands above each block that is taken from a file: from
/// the line that starts with BEGIN up to the one that starts with END.
#[test]
fn the_code_is_that_of_the_examples() {
    let guide = guide();
    let mut blocks = 0;
    for part in guide.split("<!-- ").skip(1) {
        let (marker, rest) = part.split_once(" -->\n```rust\n").expect("a block below its marker");
        let (block, _) = rest.split_once("```\n").expect("an end of the block");
        let [file, begin, end] = marker.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not a marker: {marker}");
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
    assert_eq!(guide.matches("```rust\n").count(), blocks, "a block that is from no example");
}

/// In the second column of a table `Type::name`, `name(…)` and `Name` are names of this crate.
#[test]
fn the_tables_name_what_is_there() {
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

/// A variant of an enum, or a field.
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
