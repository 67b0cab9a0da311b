//! The OpenAPI document, made from the routes and the types.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::access::Access;
use super::api::Route;
use super::problem::Problem;

type Make = fn(&mut SchemaGenerator) -> Schema;

/// What the document says about a route.
pub(super) struct Operation {
    id: &'static str,
    summary: &'static str,
    query: Vec<(&'static str, &'static str, &'static str)>,
    body: Option<Make>,
    answers: Vec<(u16, &'static str, &'static str, Option<Make>)>,
}

impl Operation {
    pub(super) fn new(id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, query: Vec::new(), body: None, answers: Vec::new() }
    }

    /// An optional query parameter: its name, JSON type and meaning.
    pub(super) fn query(
        mut self,
        name: &'static str,
        json_type: &'static str,
        meaning: &'static str,
    ) -> Self {
        self.query.push((name, json_type, meaning));
        self
    }

    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(|generator| generator.subschema_for::<T>());
        self
    }

    pub(super) fn gives<T: JsonSchema>(self) -> Self {
        self.or::<T>(200, "Done")
    }

    pub(super) fn or<T: JsonSchema>(mut self, status: u16, meaning: &'static str) -> Self {
        self.answers.push((
            status,
            meaning,
            "application/json",
            Some(|generator| generator.subschema_for::<T>()),
        ));
        self
    }

    pub(super) fn gives_text(mut self, content_type: &'static str) -> Self {
        self.answers.push((200, "Done", content_type, None));
        self
    }

    pub(super) fn or_text(mut self, status: u16, meaning: &'static str) -> Self {
        self.answers.push((status, meaning, "text/plain", None));
        self
    }

    /// Statuses that come with a [`Problem`].
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            let name = http::StatusCode::from_u16(*status)
                .ok()
                .and_then(|s| s.canonical_reason())
                .unwrap_or("Error");
            let make: Make = |generator| generator.subschema_for::<Problem>();
            self.answers.push((*status, name, Problem::CONTENT_TYPE, Some(make)));
        }
        self
    }

    fn document(self, path: &str, access: Access, generator: &mut SchemaGenerator) -> Value {
        let of_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let of_path = of_path
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
        let of_query = self.query.iter().map(|(name, json_type, meaning)| {
            json!({"name": name, "in": "query", "description": meaning, "schema": {"type": json_type}})
        });
        let parameters: Vec<Value> = of_path.chain(of_query).collect();
        let with_host = self.refuses(match access {
            Access::Free => &[403],
            // A token file that can't be read is 503.
            Access::Read | Access::Change => &[401, 403, 503],
        });
        let mut responses = Map::new();
        for (status, meaning, content_type, make) in with_host.answers {
            let schema = make.map_or_else(|| json!({"type": "string"}), |make| make(generator).to_value());
            let answer = json!({"description": meaning, "content": {content_type: {"schema": schema}}});
            responses.entry(status.to_string()).or_insert(answer);
        }
        let mut operation = json!({
            "operationId": with_host.id,
            "summary": with_host.summary,
            "parameters": parameters,
            "responses": responses,
            "security": security(access),
        });
        if let Some(body) = with_host.body {
            let schema = body(generator).to_value();
            let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
            operation["requestBody"] = body;
        }
        operation
    }
}

/// An empty requirement means that none is needed.
fn security(access: Access) -> Value {
    match access {
        Access::Free => json!([]),
        Access::Read => json!([{"token": []}, {}]),
        Access::Change => json!([{"token": []}]),
    }
}

/// The whole document, OpenAPI 3.1: its schemas are JSON Schema 2020-12.
pub(super) fn document(routes: Vec<Route>) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator = settings.with(|s| s.definitions_path = "/components/schemas".into()).into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let operation = route.operation.document(route.path, route.access, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Fairlead",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Reading is free on a loopback address and over the Unix socket; a command needs the Unix socket \
                or a token, and on other addresses so does reading.",
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}
