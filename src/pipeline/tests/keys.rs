//! Whether the table of keys holds together.

use std::collections::BTreeSet;

use toml::de::DeValue;

use crate::pipeline::keys::{Kind, all, of_table};

#[test]
fn is_the_key_table_sound() {
    let mut paths = BTreeSet::new();
    for key in all() {
        let path = key.path;
        assert!(paths.insert(path), "{path} is declared twice");
        let parent = all().find(|other| other.path == key.parent());
        assert!(
            key.parent().is_empty()
                || parent.is_some_and(|parent| matches!(parent.kind, Kind::Table | Kind::Tables)),
            "{path} stands in no table"
        );
        assert_eq!(path.ends_with("[]"), key.kind == Kind::Tables, "{path}");
        assert!(
            key.doc.ends_with(['.', '"', ')', ']', '}', '>', 'l']),
            "{path}: {}",
            key.doc
        );
        assert!(!key.doc.is_empty(), "{path}");
        let unread = key.kind == Kind::Other;
        assert!(
            !(unread && key.supported),
            "{path} is supported, but its kind cannot be read"
        );
        if let Some(default) = key.default {
            let value = DeValue::parse(default).unwrap();
            assert!(
                key.kind == Kind::Table || crate::pipeline::value::read(key, &value).is_ok(),
                "{path}: its default {default} is no value of its kind"
            );
        }
        let selecting = of_table(key.parent()).find(|other| other.selects);
        for word in key.only {
            let Some(Kind::Choice(choices)) = selecting.map(|key| key.kind) else {
                panic!("{path} depends on a key that does not select")
            };
            assert!(
                choices.iter().any(|choice| choice.name == *word),
                "{path}: {word}"
            );
        }
    }
}
