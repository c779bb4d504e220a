//! `/api/openapi.json`: what there is, in the words of OpenAPI 3.1.

use indrik_core::admin::access::Need;
use serde_json::{Value as Json, json};

/// One of the things that can be asked for.
pub(crate) struct Row {
    pub(crate) method: String,
    pub(crate) path: &'static str,
    pub(crate) need: Need,
    pub(crate) query: Vec<&'static str>,
}

/// What it is, in a sentence.
pub(crate) fn about(row: &Row) -> Option<&'static str> {
    Some(match (row.method.as_str(), row.path) {
        ("PATCH", "/api/settings") => {
            "Other values for settings that an operator may change, and a reload with them."
        }
        (_, "/api/settings") => "The settings in use, and where they come from.",
        (_, "/health") => "Whether this process answers, and how the server is.",
        (_, "/ready") => "Whether requests should be sent to it: 200, or 503 with the reasons.",
        (_, "/status") => "The server, its front and its workers.",
        (_, "/requests") => "The requests that wait or are with workers, the oldest first.",
        (_, "/events") => "What has happened, and as a stream what happens.",
        (_, "/logs") => "The last entries of the error log, and as a stream those that come.",
        (_, "/nginx_status") => "The connections, in the form of nginx's stub_status.",
        (_, "/metrics") => "What is counted, for Prometheus.",
        (_, "/dashboard/history") => "What charts are drawn of.",
        (_, "/dashboard/live") => "What the page shows as it happens.",
        (_, "/api/watch") => {
            "What happens to the requests of one browser, as a stream; it gets a cookie by which they are known."
        }
        (_, "/api/stacks") => "What every thread, task and greenlet of workers does just now.",
        (_, "/api/profile") => {
            "Where the workers' time goes, for some seconds: as JSON, a flame graph (svg), speedscope or collapsed text. \
             It ends when its client leaves."
        }
        (_, "/api/memory") => {
            "What workers have of memory and what it grows with; trace=top: what has grown since a trace began."
        }
        (_, "/api/trace") => {
            "Begin or end noting what memory is made of: start or stop, and a worker."
        }
        (_, "/api/openapi.json") => "This description.",
        (_, "/api/command") => "A command of the control socket.",
        (_, "/api/reload") => "Load code and settings anew.",
        (_, "/api/scale") => "Have more or fewer workers.",
        (_, "/api/recycle") => "Replace workers in their turn.",
        (_, "/api/restart") => "End workers at once, and start others.",
        (_, "/api/pause") => "Hold new requests back for a while.",
        (_, "/api/resume") => "Serve what a pause holds.",
        (_, "/api/maintenance") => "Answer requests in the front, or no longer.",
        (_, "/api/reopen") => "Open the log files again.",
        (_, "/api/upgrade") => "Have a new server take the place of this one.",
        (_, "/api/shutdown") => "End the server.",
        _ => return None,
    })
}

/// The description.
pub(crate) fn description(rows: &[Row]) -> Json {
    let mut paths = serde_json::Map::new();
    for row in rows {
        let operations = paths.entry(row.path).or_insert_with(|| json!({}));
        operations[row.method.to_lowercase()] = operation(row);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Indrik's admin listener",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Looking at a running server, and steering it.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["status", "error"],
                    "properties": {
                        "status": {"type": "integer"},
                        "error": {"type": "string"},
                        "hint": {"type": "string"},
                    },
                },
                "Order": {
                    "type": "object",
                    "required": ["confirm"],
                    "properties": {
                        "command": {"type": "string", "description": "for /api/command: the whole command"},
                        "arguments": {"type": "array", "items": {"type": ["string", "number"]}},
                        "confirm": {"type": "string", "description": "the command with its arguments"},
                    },
                },
                "Changes": {
                    "type": "object",
                    "required": ["changes"],
                    "properties": {
                        "changes": {"type": "object", "description": "a value by name; null: as the files say"},
                        "dry_run": {"type": "boolean"},
                        "confirm": {"type": "string", "description": "the names, in alphabetical order, with commas"},
                    },
                },
            },
        },
    })
}

fn operation(row: &Row) -> Json {
    let about = about(row).unwrap_or_default();
    let error = json!({
        "description": "why not",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    });
    let mut operation = json!({
        "operationId": id(row),
        "summary": about,
        "parameters": row.query.iter().map(|name| {
            json!({"name": name, "in": "query", "required": false, "schema": {"type": "string"}})
        }).collect::<Vec<_>>(),
        "responses": {"200": {"description": about}, "default": error},
        "security": match row.need {
            Need::Nothing => json!([{}]),
            Need::Look => json!([{}, {"token": []}]),
            Need::LookInside | Need::Change => json!([{"token": []}]),
        },
    });
    if row.need == Need::Change {
        let schema = if row.method == "PATCH" { "Changes" } else { "Order" };
        let schema = format!("#/components/schemas/{schema}");
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": {"$ref": schema}}},
        });
    }
    operation
}

fn id(row: &Row) -> String {
    format!("{}{}", row.method.to_lowercase(), row.path.replace(['/', '.'], "_"))
}
