mod findings;
mod isolation;
mod report;
mod variables;
mod yaml;

use std::path::Path;

use crate::catalog::{Catalog, Folders, schema};
use crate::model::tree::MemoryTree;

/// The files below a folder of this crate.
pub(super) fn folder(path: &str) -> MemoryTree {
    fn add(tree: MemoryTree, root: &Path, folder: &Path) -> MemoryTree {
        std::fs::read_dir(folder).unwrap().fold(tree, |tree, entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return add(tree, root, &path);
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            tree.with(&name, std::fs::read(&path).unwrap())
        })
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    add(MemoryTree::default(), &root, &root)
}

#[test]
fn the_example_fleet_is_valid() {
    let catalog = Catalog::read(&folder("examples/fleet"), &Folders::default());
    assert_eq!(catalog.diagnostics(), []);
    assert_eq!((catalog.profiles().count(), catalog.targets().count(), catalog.fleets().count()), (2, 8, 1));
    assert_eq!(catalog.targets_of(catalog.fleets().next().unwrap()).count(), 8);
}

#[test]
fn schema_files_are_those_of_the_types() {
    for (file, schema) in schema::documents() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join("schemas").join(file);
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == text,
            "{file} is not what the types say; 'fairlead schema --write' writes it:\n{text}"
        );
    }
}

#[test]
#[ignore = "writes the files: cargo test --lib write_schema_files -- --ignored"]
fn write_schema_files() {
    for (file, schema) in schema::documents() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join("schemas").join(file);
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&schema).unwrap())).unwrap();
    }
}
