//! The shape of the code: who may depend on whom, how long files may be, that no file is an orphan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// For each crate, the crates of the workspace it may name. `features` holds no code.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("features", &[]),
    ("base", &["features"]),
    ("index", &["base"]),
    ("storage", &["base", "index"]),
    ("raft", &["base"]),
    ("cluster", &["base", "index", "raft", "storage"]),
    ("exec", &["base", "cluster", "index", "storage"]),
    ("sql", &["base", "cluster", "exec", "index"]),
    ("quiver", &["base", "cluster", "exec", "sql", "storage"]),
];

/// Crates from outside that only these may name.
const OWNERS: [(&str, &[&str]); 8] = [
    ("socket2", &["sql"]),
    ("datafusion", &["exec", "sql"]),
    ("raft", &["raft"]),
    ("raft-engine", &["raft"]),
    ("object_store", &["storage"]),
    ("hnsw_rs", &["index"]),
    ("parquet", &["storage", "index", "quiver"]),
    ("axum", &["quiver"]),
];

/// Lines past which a file is too long, tests apart.
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn dependencies(name: &str, section: &str) -> BTreeSet<String> {
    let path = root().join("crates").join(name).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest: toml::Table = text.parse().expect("a manifest");
    let table = manifest.get(section).and_then(|it| it.as_table());
    table.map(|it| it.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn crates_depend_only_downwards() {
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    let found: BTreeSet<String> = std::fs::read_dir(root().join("crates"))
        .expect("crates")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("a name"))
        .collect();
    assert_eq!(
        found,
        allowed.keys().map(|it| (*it).to_owned()).collect(),
        "every crate has its line in ALLOWED"
    );
    for (name, may) in &allowed {
        for dependency in dependencies(name, "dependencies") {
            if let Some(ours) = dependency.strip_prefix("quiver-") {
                assert!(may.contains(&ours), "{name} must not depend on {ours}: it may on {may:?}");
            }
        }
    }
}

#[test]
fn outside_crates_have_their_owners() {
    for (outside, owners) in OWNERS {
        for (name, _) in ALLOWED {
            if dependencies(name, "dependencies").contains(outside) {
                assert!(owners.contains(&name), "only {owners:?} may name {outside}, {name} does");
            }
        }
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for (name, _) in ALLOWED {
        sources(&root().join("crates").join(name).join("src"), &mut found);
    }
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).expect("text"))).collect()
}

/// Lines above the first inline test module; a file of tests has none.
fn production_lines(path: &Path, text: &str) -> usize {
    let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
    if name == "tests.rs" || path.components().any(|it| it.as_os_str() == "tests") {
        return 0;
    }
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count()
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for (path, text) in all_sources() {
        let lines = production_lines(&path, &text);
        assert!(lines <= LINES_MAX, "{}: {lines} lines, {LINES_MAX} allowed", path.display());
        assert!(text.starts_with("//!"), "{}: the first lines say what the file is for", path.display());
    }
}

#[test]
fn every_file_is_part_of_its_crate() {
    for (path, _) in all_sources() {
        let stem = path.file_stem().and_then(|it| it.to_str()).expect("a name");
        let dir = path.parent().expect("a folder");
        if ["lib", "main"].contains(&stem) {
            continue;
        }
        let (parent, module) = match stem {
            "mod" => {
                (dir.parent().expect("a folder"), dir.file_name().and_then(|it| it.to_str()).expect("a name"))
            }
            _ => (dir, stem),
        };
        let beside = parent.with_extension("rs");
        let candidates = [parent.join("lib.rs"), parent.join("main.rs"), parent.join("mod.rs"), beside];
        let named = candidates.iter().filter_map(|it| std::fs::read_to_string(it).ok()).any(|text| {
            text.lines().any(|line| {
                let line = line
                    .trim()
                    .trim_start_matches("pub ")
                    .trim_start_matches("pub(crate) ")
                    .trim_start_matches("pub(super) ");
                line == format!("mod {module};")
            })
        });
        assert!(named, "{}: no `mod {module};` names it", path.display());
    }
}
