//! Whether the schema says what is declared. Whether an independent validator takes the pipelines of this repository by
//! it, and no mistakes, is asked by `tests/oracle/schema.py`.

use serde_json::{Value, json};

use crate::pipeline::keys::{Kind, Need, all};
use crate::pipeline::schema::schema;

/// What the schema says at the path of a key.
fn at<'s>(schema: &'s Value, path: &str) -> Option<&'s Value> {
    path.split('.').try_fold(schema, |table, part| {
        let table = table.get("items").unwrap_or(table);
        table.get("properties")?.get(part.trim_end_matches("[]"))
    })
}

#[test]
fn is_every_key_there_and_no_other() {
    let schema = schema();
    for key in all() {
        let below = all().any(|table| !table.supported && key.path.starts_with(table.path));
        let found = at(&schema, key.path);
        assert_eq!(found.is_some(), key.supported && !below, "{}", key.path);
        let Some(found) = found else { continue };
        let doc = found["description"].as_str().unwrap();
        assert!(doc.starts_with(key.doc), "{}", key.path);
        if matches!(key.kind, Kind::Table | Kind::Tables) {
            let table = found.get("items").unwrap_or(found);
            assert_eq!(table["additionalProperties"], false, "{}", key.path);
        }
        let parent = match key.parent() {
            "" => &schema,
            parent => at(&schema, parent).unwrap(),
        };
        let parent = parent.get("items").unwrap_or(parent);
        let required = parent.get("required").and_then(Value::as_array);
        let is_required = required.is_some_and(|it| it.contains(&key.name().into()));
        assert_eq!(is_required, key.need == Need::Always, "{}", key.path);
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn what_is_said_of_single_keys() {
    let schema = schema();
    let check = |path: &str, name: &str, expected: Value| {
        assert_eq!(at(&schema, path).unwrap()[name], expected, "{path}");
    };
    check("job.workers", "default", json!(0));
    check("job.workers", "maximum", json!(256));
    check("job.order", "enum", json!(["arrival", "event_time"]));
    check("event.late", "default", json!("dead_letter"));
    check(
        "event.max_out_of_orderness",
        "pattern",
        json!("^[0-9]+(ms|s|m|h|d)$"),
    );
    check("history.fields", "default", json!([]));
    check("feature[].fill", "default", json!(0.0));
    // The default of what selects is selected where nothing is.
    let restart = at(&schema, "restart").unwrap();
    let ifs: Vec<_> = restart["allOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["if"])
        .collect();
    assert_eq!(ifs[0].get("required"), None);
    assert_eq!(ifs[1]["required"], json!(["strategy"]));
    let sources = at(&schema, "source").unwrap()["allOf"].as_array().unwrap();
    let of_file = sources
        .iter()
        .find(|it| it["if"]["properties"]["kind"]["const"] == "file");
    let then = &of_file.unwrap()["then"];
    assert_eq!(then["required"], json!(["path"]));
    assert_eq!(
        (&then["properties"]["seed"], &then["properties"]["path"]),
        (&json!(false), &Value::Null)
    );
}

#[test]
fn may_an_expression_stand_for_conditions() {
    let schema = schema();
    let said = &at(&schema, "feature[].where").unwrap()["anyOf"];
    let types = said.as_array().unwrap().iter().map(|it| &it["type"]);
    assert_eq!(types.collect::<Vec<_>>(), ["object", "string"]);
}
