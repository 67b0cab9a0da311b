//! One cluster under comparison: sends a step's request, and reads what comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::step::{Context, Send};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a cluster said.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

/// A cluster in the middle of a sequence.
pub struct Side {
    pub client: kube::Client,
    pub context: Context,
    watches: BTreeMap<String, mpsc::UnboundedReceiver<Value>>,
}

impl Side {
    pub fn new(client: kube::Client, namespace: String) -> Self {
        let context = Context { namespace, answers: BTreeMap::new() };
        Self { client, context, watches: BTreeMap::new() }
    }

    /// Sends a request; the answer has placeholders instead of the namespace's name.
    pub async fn send(&mut self, send: &Send) -> Answer {
        let Answer { code, body } = self.send_raw(send).await;
        if !send.id.is_empty() {
            self.context.answers.insert(send.id.clone(), body.clone());
        }
        Answer { code, body: self.context.generalise(&body) }
    }

    async fn send_raw(&self, send: &Send) -> Answer {
        let body = match &send.body {
            Value::Null => Vec::new(),
            body => self.context.fill_value(body).to_string().into_bytes(),
        };
        let request = self.request(&send.method, &send.path, &send.accept, &send.content_type, body);
        let asked = tokio::time::timeout(PATIENCE, async {
            let response = self.client.send(request).await.map_err(|error| error.to_string())?;
            let code = response.status().as_u16();
            let bytes = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
            Ok::<_, String>(Answer { code, body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) })
        });
        match asked.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer { code: 0, body: json!({"transport": error}) },
            Err(_) => Answer { code: 0, body: json!({"transport": "no answer"}) },
        }
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> http::Request<Body> {
        let or_json = |value: &str| if value.is_empty() { "application/json" } else { value }.to_owned();
        http::Request::builder()
            .method(method)
            .uri(self.context.fill(path).replace(' ', "%20"))
            .header(http::header::ACCEPT, or_json(accept))
            .header(http::header::CONTENT_TYPE, or_json(kind))
            .header(http::header::USER_AGENT, "differ/1")
            .body(Body::from(body))
            .expect("a request of a sequence is well-formed")
    }

    /// Opens a watch; a refusal is the answer.
    pub async fn watch(&mut self, id: &str, path: &str, accept: &str) -> Answer {
        let request = self.request("GET", path, accept, "", Vec::new());
        let response = match tokio::time::timeout(PATIENCE, self.client.send(request)).await {
            Ok(Ok(response)) => response,
            other => {
                return Answer {
                    code: 0,
                    body: json!({"transport": format!("{:?}", other.map(|r| r.is_ok()))}),
                };
            }
        };
        let code = response.status().as_u16();
        if code != 200 {
            let bytes = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            return Answer { code, body: self.context.generalise(&body) };
        }
        let (sender, events) = mpsc::unbounded_channel();
        self.watches.insert(id.to_owned(), events);
        tokio::spawn(read_events(response.into_body(), sender));
        Answer { code, body: Value::Null }
    }

    /// The next event of a watch, if there is one within `patience`.
    pub async fn event(&mut self, id: &str, patience: Duration) -> Option<Value> {
        let events = self.watches.get_mut(id)?;
        let event = tokio::time::timeout(patience, events.recv()).await.ok()??;
        Some(self.context.generalise(&event))
    }
}

/// Ends when nobody listens, or the stream ends.
async fn read_events(body: Body, sender: mpsc::UnboundedSender<Value>) {
    let mut chunks = body.into_data_stream();
    let mut buffer = Vec::new();
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            () = sender.closed() => return,
        };
        let Some(Ok(chunk)) = chunk else { return };
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let Ok(event) = serde_json::from_slice(&line) else { continue };
            if sender.send(event).is_err() {
                return;
            }
        }
    }
}
