//! The native format as a JSON schema (draft 2020-12), for editors: [`keys`] in other words. `configs/shunt.schema.json`
//! is what it says; a test keeps it so.

use serde_json::{Map, Value, json};

use super::keys::{self, Key, Kind};

/// Tables that stand in several places.
const SHARED: &[&str] = &["command", "service.check", "vrrp.router.track", "address", "peer", "tracked"];

/// The schema, as text that ends in a newline.
pub fn schema() -> String {
    let mut schema = table("");
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "shunt",
        "description": "Configuration of shunt, a layer-4 director.",
        "$defs": Map::from_iter(SHARED.iter().map(|path| ((*path).to_owned(), table(path)))),
    });
    if let (Value::Object(schema), Value::Object(head)) = (&mut schema, head) {
        schema.extend(head);
    }
    format!("{schema:#}\n")
}

/// The table whose keys are listed under `path`.
fn table(path: &str) -> Value {
    let properties: Map<String, Value> =
        keys::children(path).map(|key| (key.name().to_owned(), described(key))).collect();
    let required: Vec<&str> = keys::children(path).filter(|key| key.required).map(Key::name).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn described(key: &Key) -> Value {
    let mut value = value(key);
    value["description"] = key.about.into();
    value["examples"] = json!([example(key)]);
    value
}

/// The value that the key has in its example, in JSON.
fn example(key: &Key) -> Value {
    let table: toml::Table = key.example.parse().unwrap_or_default();
    let value = table.get(key.name()).and_then(|value| serde_json::to_value(value).ok());
    value.unwrap_or_else(|| json!({}))
}

fn value(key: &Key) -> Value {
    let one_or_several = |one: Value| json!({ "anyOf": [one, { "type": "array", "items": one }] });
    let inner = || match key.inside() {
        shared if SHARED.contains(&shared) => json!({ "$ref": format!("#/$defs/{shared}") }),
        path => table(path),
    };
    match key.kind {
        Kind::Table => inner(),
        Kind::Tables => json!({ "type": "array", "items": inner() }),
        Kind::TableOrTables => one_or_several(inner()),
        Kind::Text => text(key),
        Kind::Integer => integer(key),
        Kind::IntegerOrText => json!({ "anyOf": [integer(key), text(key)] }),
        Kind::IntegersOrTexts => {
            let one = json!({ "anyOf": [integer(key), text(key)] });
            one_or_several(one)
        }
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::BooleanOrText => json!({ "anyOf": [{ "type": "boolean" }, text(key)] }),
        Kind::Texts => json!({ "type": "array", "items": text(key) }),
        Kind::TextsOrTables => {
            json!({ "type": "array", "items": { "anyOf": [{ "type": "string" }, inner()] } })
        }
        Kind::Integers => json!({ "type": "array", "items": integer(key) }),
        Kind::Words => one_or_several(text(key)),
        Kind::Command => {
            json!({ "anyOf": [text(key), { "type": "array", "items": text(key) }, inner()] })
        }
    }
}

fn text(key: &Key) -> Value {
    let mut schema = json!({ "type": "string" });
    if !key.words.is_empty() {
        schema["enum"] = json!(key.words);
    }
    if let Some(pattern) = key.pattern {
        schema["pattern"] = pattern.into();
    }
    schema
}

fn integer(key: &Key) -> Value {
    match key.range {
        Some((least, largest)) => json!({ "type": "integer", "minimum": least, "maximum": largest }),
        None => json!({ "type": "integer" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = include_str!("../../../configs/shunt.schema.json");
    const REFERENCE: &str = include_str!("../../../configs/reference.toml");

    #[test]
    fn the_schema_beside_the_configurations_is_this_one() {
        if std::env::var_os("BLESS").is_some() {
            std::fs::write("../configs/shunt.schema.json", schema()).unwrap();
        } else {
            assert!(
                schema() == COMMITTED,
                "run: shunt schema > configs/shunt.schema.json, or this with BLESS=1"
            );
        }
    }

    #[test]
    fn every_configuration_that_is_shipped_fits_the_schema() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let shipped = [
            REFERENCE,
            include_str!("../../../configs/minimal.toml"),
            include_str!("../../../configs/demo.toml"),
            include_str!("../../../configs/pair.toml"),
        ];
        for text in shipped {
            let document: toml::Table = text.parse().unwrap();
            assert_eq!(misfit(&schema, &schema, &serde_json::to_value(document).unwrap()), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_seen() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let good = "[director]\ninterfaces = [\"eth0\"]\n";
        for bad in [
            "",
            "[director]\n",
            "[director]\ninterfaces = 1\n",
            &format!("{good}x = 1\n"),
            &format!("{good}idle = \"never\"\n"),
            &format!("{good}icmp_rate = -1\n"),
            &format!("{good}hash_key = \"0\"\n"),
            &format!("{good}[[service]]\nvip = \"a\"\nport = 0\nprotocol = \"tcp\"\n"),
            &format!(
                "{good}[[service]]\nvip = \"a\"\nport = 1\nprotocol = \"tcp\"\nquorum_up = {{ user = \"a\" }}\n"
            ),
            &format!(
                "{good}[[service]]\nvip = \"a\"\nport = 1\nprotocol = \"tcp\"\n[service.check]\ntype = \"x\"\n"
            ),
        ] {
            let document: toml::Table = bad.parse().unwrap();
            assert!(misfit(&schema, &schema, &serde_json::to_value(document).unwrap()).is_some(), "{bad}");
        }
    }

    /// A range or a list of words in the schema is what the program takes: its ends are taken, what lies beyond is not.
    #[test]
    fn ranges_and_words_are_those_of_the_program() {
        let reference: toml::Table = REFERENCE.parse().unwrap();
        // Their ends depend on other keys.
        let depends = ["mtu", "persistence_prefix", "frames_per_queue", "lower"];
        for key in keys::all().filter(|key| !depends.contains(&key.name())) {
            // Tables that are alike are listed once, and stand where they are typed.
            let home =
                keys::all().find(|home| home.inside() == key.table()).map_or(key.table(), |home| home.path);
            let path = keys::join(home, key.name());
            let refused = |value: toml::Value| {
                let mut document = toml::Value::Table(reference.clone());
                put(&mut document, &path.split('.').collect::<Vec<_>>(), &value);
                let told = crate::config::parse("a", &toml::to_string(&document).unwrap());
                let faults = told.map_or_else(|faults| faults, |loaded| loaded.warnings);
                let words = ["out of range", "unknown", "is not a", "is no "];
                faults.iter().any(|fault| {
                    (fault.key == path || (home != key.table() && fault.key == home))
                        && words.iter().any(|word| fault.message.contains(word))
                })
            };
            let listed = |value: toml::Value| match key.kind {
                Kind::Texts | Kind::Integers | Kind::IntegersOrTexts => toml::Value::Array(vec![value]),
                _ => value,
            };
            if let Some((least, largest)) = key.range {
                assert!(!refused(listed(least.into())), "{} {least}", key.path);
                assert!(!refused(listed(largest.into())), "{} {largest}", key.path);
                assert!(refused(listed((least - 1).into())), "{} {least} - 1", key.path);
                assert!(refused(listed((largest + 1).into())), "{} {largest} + 1", key.path);
            }
            for word in key.words {
                assert!(!refused(listed((*word).into())), "{} {word}", key.path);
            }
            if !key.words.is_empty() {
                assert!(refused(listed("no-such-word".into())), "{} no-such-word", key.path);
            }
        }
    }

    /// Puts `value` at the key `path` of the first table that has it, else of the first table.
    fn put(document: &mut toml::Value, path: &[&str], value: &toml::Value) -> bool {
        match document {
            toml::Value::Array(entries) => entries.iter_mut().any(|entry| put(entry, path, value)),
            toml::Value::Table(table) => match path {
                [name] if table.contains_key(*name) => {
                    table.insert((*name).to_owned(), value.clone());
                    true
                }
                [name, rest @ ..] if !rest.is_empty() => {
                    table.get_mut(*name).is_some_and(|inner| put(inner, rest, value))
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Why `value` does not fit `schema`: as much of JSON schema as this file writes.
    fn misfit(root: &Value, schema: &Value, value: &Value) -> Option<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let definition = reference.strip_prefix("#/$defs/").unwrap();
            return misfit(root, &root["$defs"][definition], value);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            let misfits: Option<Vec<String>> = any.iter().map(|one| misfit(root, one, value)).collect();
            return misfits.map(|all| all.join(", or "));
        }
        let no = |why: &str| Some(format!("{value} {why}"));
        match schema["type"].as_str().unwrap() {
            "boolean" => value.as_bool().is_none().then(|| no("is no boolean")).flatten(),
            "integer" => {
                let Some(number) = value.as_i64() else { return no("is no integer") };
                let (least, largest) = (&schema["minimum"], &schema["maximum"]);
                let fits = least.as_i64().is_none_or(|least| number >= least)
                    && largest.as_i64().is_none_or(|largest| number <= largest);
                (!fits).then(|| no("is out of range")).flatten()
            }
            "string" => {
                let Some(text) = value.as_str() else { return no("is no string") };
                let words = schema["enum"].as_array();
                let pattern = schema["pattern"].as_str().map(|pattern| regex::Regex::new(pattern).unwrap());
                let fits = words.is_none_or(|words| words.iter().any(|word| word == text))
                    && pattern.is_none_or(|pattern| pattern.is_match(text));
                (!fits).then(|| no("is none of the words")).flatten()
            }
            "array" => {
                let Some(entries) = value.as_array() else { return no("is no array") };
                entries.iter().find_map(|entry| misfit(root, &schema["items"], entry))
            }
            "object" => {
                let Some(table) = value.as_object() else { return no("is no table") };
                let lacks = schema["required"].as_array().unwrap().iter();
                if let Some(name) = lacks.filter_map(Value::as_str).find(|name| !table.contains_key(*name)) {
                    return no(&format!("lacks {name}"));
                }
                table.iter().find_map(|(name, value)| match &schema["properties"][name] {
                    Value::Null => no(&format!("has {name}")),
                    schema => misfit(root, schema, value),
                })
            }
            other => unreachable!("no key is {other}"),
        }
    }
}
