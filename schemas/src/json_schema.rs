//! The JSON Schemas in `schemas/json` are what editors and other tools check the files with. They follow from the types;
//! a difference is a change of contract, and `UPDATE_SCHEMAS=1 cargo test -p fondaco-schemas` writes it down.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

fn check<T: JsonSchema>(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("json").join(format!("{name}.schema.json"));
    let wanted = serde_json::to_string_pretty(&schema_of::<T>()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, wanted).unwrap();
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is not what the types say: run UPDATE_SCHEMAS=1 cargo test -p fondaco-schemas",
        path.display()
    );
}

/// The dotted keys of a schema. Keys that the author chooses are `*`; free tables have none.
fn keys_of_schema(root: &Value, at: &Value, path: &str, keys: &mut BTreeSet<String>) {
    if let Some(name) = at.get("$ref").and_then(Value::as_str) {
        return keys_of_schema(root, root.pointer(name.trim_start_matches('#')).unwrap(), path, keys);
    }
    for (key, inner) in at.get("properties").and_then(Value::as_object).into_iter().flatten() {
        keys.insert(format!("{path}{key}"));
        keys_of_schema(root, inner, &format!("{path}{key}."), keys);
    }
    for inner in ["additionalProperties", "items"].iter().filter_map(|k| at.get(k)).filter(|v| v.is_object()) {
        let path = if at.get("items").is_some() { path.to_owned() } else { format!("{path}*.") };
        keys_of_schema(root, inner, &path, keys);
    }
    for inner in ["anyOf", "allOf", "oneOf"].iter().filter_map(|k| at.get(k)?.as_array()).flatten() {
        keys_of_schema(root, inner, path, keys);
    }
}

/// The dotted keys of a document, so far as the schema knows them or the place has fixed keys.
fn keys_of_file(value: &Value, path: &str, known: &BTreeSet<String>, keys: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| keys_of_file(v, path, known, keys)),
        Value::Object(map) => {
            for (key, inner) in map {
                let free = known.iter().any(|k| k.starts_with(&format!("{path}*.")));
                let fixed = known.iter().any(|k| k.strip_prefix(path).is_some_and(|k| !k.starts_with('*')));
                let key = if free { "*" } else { key };
                if !free && fixed {
                    keys.insert(format!("{path}{key}"));
                }
                keys_of_file(inner, &format!("{path}{key}."), known, keys);
            }
        }
        _ => {}
    }
}

/// The reader and the schema are written apart: a sample with every key, which the reader accepts, must have exactly the
/// schema's keys.
fn same_keys<T: JsonSchema>(sample: &str) {
    let schema = serde_json::to_value(schema_of::<T>()).unwrap();
    let mut known = BTreeSet::new();
    keys_of_schema(&schema, &schema, "", &mut known);
    let file: toml::Table = sample.parse().unwrap();
    let mut used = BTreeSet::new();
    keys_of_file(&serde_json::to_value(file).unwrap(), "", &known, &mut used);
    let known: BTreeSet<_> = known.into_iter().filter(|k| !k.ends_with('*')).collect();
    assert_eq!(used, known);
}

#[test]
fn the_schemas_in_the_tree_follow_from_the_types() {
    check::<crate::Manifest>("manifest");
    check::<crate::Deployment>("deployment");
    check::<crate::WorkFile>("work");
    check::<crate::TrustFile>("trust");
}

#[test]
fn readers_and_schemas_know_the_same_keys() {
    same_keys::<crate::Manifest>(&crate::manifest::tests::packed().to_toml().unwrap());
    same_keys::<crate::Deployment>(crate::deployment::tests::FULL);
    same_keys::<crate::WorkFile>(crate::work_file::tests::FULL);
    same_keys::<crate::TrustFile>(crate::trust_file::tests::FULL);
}
