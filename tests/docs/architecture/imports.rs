//! The imports between source files, read from the paths in their code.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::code_lines;

/// A name that one file takes from another.
#[derive(Debug, Clone)]
pub(super) struct Import {
    /// The importing file, below `src`.
    pub(super) file: String,
    line: usize,
    /// The file that the name comes from. A name that a module re-exports comes from that module.
    pub(super) target: String,
    /// The first name after the path of the module, or the name of the module itself.
    pub(super) name: String,
}

impl Import {
    /// True if the target is a parent module of the importing file, at any height.
    pub(super) fn is_from_parent(&self) -> bool {
        self.target
            .strip_suffix(".rs")
            .and_then(|parent| self.file.strip_prefix(parent))
            .is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{} imports {} from {}", self.file, self.line, self.name, self.target)
    }
}

type ModulePath = Vec<String>;

/// All imports of the files from each other.
pub(super) fn imports(root: &Path, files: &[PathBuf]) -> Vec<Import> {
    let modules: BTreeMap<ModulePath, String> = files
        .iter()
        .map(|file| {
            let file = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            let path = file.trim_end_matches(".rs");
            let path = if path == "lib" { "" } else { path };
            (path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(), file)
        })
        .collect();
    let mut found = Vec::new();
    for (module, file) in &modules {
        for (line, path) in paths(&root.join(file)) {
            let Some((target, name)) = resolve(&modules, module, &path) else { continue };
            if target != file {
                let (file, target) = (file.clone(), target.clone());
                found.push(Import { file, line, target, name });
            }
        }
    }
    found
}

/// The file of the longest prefix of a path that is a module, and the name after that prefix. None
/// for a path that starts with something else, such as another crate.
fn resolve<'a>(
    modules: &'a BTreeMap<ModulePath, String>,
    own: &ModulePath,
    path: &[String],
) -> Option<(&'a String, String)> {
    let mut names = path.iter().map(String::as_str).peekable();
    let mut module = match names.peek()? {
        &"crate" => Vec::new(),
        _ => own.clone(),
    };
    let relative = match names.peek()? {
        &"crate" | &"self" => names.next().is_none(),
        &"super" => false,
        _ => true,
    };
    while names.next_if_eq(&"super").is_some() {
        module.pop();
    }
    let mut name = module.last().cloned().unwrap_or_default();
    let mut is_module = !relative;
    for next in names {
        next.clone_into(&mut name);
        module.push(next.to_owned());
        if !modules.contains_key(&module) {
            module.pop();
            break;
        }
        is_module = true;
    }
    // A relative path that starts with no child module names a type or another crate.
    is_module.then(|| (&modules[&module], name))
}

/// The paths of two or more names in the code of a file; groups in braces are taken apart.
fn paths(file: &Path) -> Vec<(usize, Vec<String>)> {
    let mut tokens = Vec::new();
    for (line, code) in code_lines(file) {
        tokens.extend(split(&code).into_iter().map(|token| (line, token)));
    }
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let begins = is_name(&tokens[at].1) && tokens.get(at + 1).is_some_and(|(_, t)| t == "::");
        // `$crate` is a macro's path through `lib.rs`; `pub(in …)` imports nothing.
        let before = at.checked_sub(1).map_or("", |before| tokens[before].1.as_str());
        match begins && !matches!(before, "::" | "$" | "in") {
            true => at = read_path(&tokens, at, Vec::new(), &mut found),
            false => at += 1,
        }
    }
    found
}

/// Reads the path at `at`, behind the names in `path`. Returns the index after it.
fn read_path(
    tokens: &[(usize, String)],
    mut at: usize,
    mut path: Vec<String>,
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let line = tokens[at].0;
    loop {
        match token(at) {
            "{" => {
                at += 1;
                while !matches!(token(at), "}" | "") {
                    at = match token(at) {
                        "," => at + 1,
                        _ => read_path(tokens, at, path.clone(), found),
                    };
                }
                return at + 1;
            }
            // `self` in a group is the module in front of it.
            "self" if !path.is_empty() => at += 1,
            name => {
                path.push(name.to_owned());
                at += 1;
            }
        }
        let goes_on = token(at) == "::" && (is_name(token(at + 1)) || token(at + 1) == "{");
        if !goes_on {
            found.push((line, path));
            // `as` and its name.
            return if token(at) == "as" { at + 2 } else { at };
        }
        at += 1;
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The names, the `::` and all other characters of a line.
fn split(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_name = false;
    for c in code.chars() {
        let is_part = c.is_alphanumeric() || c == '_';
        match tokens.last_mut() {
            Some(last) if is_part && in_name => last.push(c),
            Some(last) if c == ':' && last == ":" => last.push(c),
            _ if c.is_whitespace() => {}
            _ => tokens.push(c.to_string()),
        }
        in_name = is_part;
    }
    tokens
}

#[test]
fn paths_are_read_from_groups_and_expressions() {
    let folder = std::env::temp_dir().join(format!("redigo-imports-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("a")).unwrap();
    let code = "mod b;
use std::fmt;
use crate::{c::{self, C as D}, a::b::B};
pub(in crate::c) fn f(x: crate::c::Other) -> b::E { super::c::g::<u8>(x) } // crate::c::Comment
macro_rules! m { () => { $crate::c::Macro } }
#[cfg(test)]
use crate::c::Test;
";
    let files = ["a.rs", "a/b.rs", "c.rs", "lib.rs"].map(|file| folder.join(file));
    for (file, code) in files.iter().zip([code, "use super::A;", "", ""]) {
        std::fs::write(file, code).unwrap();
    }
    let found = imports(&folder, &files);
    std::fs::remove_dir_all(&folder).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|import| (&*import.file, import.line, &*import.target, &*import.name))
        .collect();
    let expected = [
        ("a.rs", 3, "c.rs", "c"),
        ("a.rs", 3, "c.rs", "C"),
        ("a.rs", 3, "a/b.rs", "B"),
        ("a.rs", 4, "c.rs", "Other"),
        ("a.rs", 4, "a/b.rs", "E"),
        ("a.rs", 4, "c.rs", "g"),
        ("a/b.rs", 1, "a.rs", "A"),
    ];
    assert_eq!(found, expected);
}
