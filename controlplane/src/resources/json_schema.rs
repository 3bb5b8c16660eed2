//! JSON Schema (draft 2020-12) for editors, from the schema.
//!
//! It says less than the check does: formats of text are in words only.

use serde_json::{Map, Value, json};

use super::explain::kind_named;
use super::kinds::KINDS;
use super::schema::{Field, Kind, Need, Shape};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// For a document of any kind.
#[must_use]
pub fn json_schema() -> String {
    let kinds: Vec<Value> = KINDS.into_iter().map(document).collect();
    pretty(&json!({ "$schema": DIALECT, "title": "Corelane", "oneOf": kinds }))
}

/// For a document of that kind.
///
/// # Errors
/// One line when there is no such kind, with the nearest name.
pub fn json_schema_of(kind: &str) -> Result<String, String> {
    let mut schema = document(kind_named(kind)?);
    schema["$schema"] = DIALECT.into();
    Ok(pretty(&schema))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn document(kind: &Kind) -> Value {
    let fields: Vec<&Field> = kind.all_fields().collect();
    let mut schema = object(&fields, false);
    schema["title"] = kind.name.into();
    schema["description"] = kind.about.into();
    schema["properties"]["apiVersion"] = json!({ "const": kind.api });
    schema["properties"]["kind"] = json!({ "const": kind.name });
    schema
}

/// Fields that are not supported yet are not there, so that editors mark them.
fn object(fields: &[&Field], open: bool) -> Value {
    let there = || fields.iter().filter(|field| !matches!(field.shape, Shape::NotYet(_)));
    let properties: Map<String, Value> = there().map(|f| (f.name.into(), property(f))).collect();
    let required: Vec<&str> =
        there().filter(|f| f.need == Need::Required).map(|field| field.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": open,
    })
}

fn property(field: &Field) -> Value {
    let mut schema = shape(&field.shape);
    let described = match field.shape {
        Shape::Text(format) => format!("{} Expected: {}.", field.about, format.expect),
        _ => field.about.into(),
    };
    schema["description"] = described.into();
    if let Need::Default(value) = field.need {
        schema["default"] = match field.shape {
            Shape::Whole { .. } | Shape::Bool => value.parse().unwrap_or_else(|_| value.into()),
            _ => value.into(),
        };
    }
    schema
}

fn shape(of: &Shape) -> Value {
    match of {
        Shape::Text(_) => json!({ "type": "string" }),
        Shape::Whole { least, most } => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::PortOrName => json!({
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 65_535 }, { "type": "string" }]
        }),
        Shape::Bytes => json!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+([bB]|[kKmMgG][bB]?)?$" },
            ]
        }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::OneOf { now, .. } => json!({ "enum": now }),
        Shape::List { of, least } => {
            json!({ "type": "array", "items": shape(of), "minItems": least })
        }
        Shape::Object(fields) => object(&fields.iter().collect::<Vec<_>>(), false),
        Shape::Open(fields) => object(&fields.iter().collect::<Vec<_>>(), true),
        Shape::Texts => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Shape::Anything | Shape::NotYet(_) => json!({}),
    }
}
