//! Ledgers in a cluster.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::super::api::{Api, Call, METADATA_ONLY};
use super::super::discovery::escape;
use super::super::error::ApiError;
use super::super::read;
use super::encode::{Encoded, LedgerDamage, MAX_PART, MAX_UNPACKED, decode, encode};
use super::types::{INSTANCE_LABEL, Ledger, NAMESPACE, ledger_name};
use fairlead_core::model::name::{FleetName, InstanceName};

/// A ledger as the cluster has it, with what a replacement must name.
#[derive(Debug, Clone)]
pub struct Stored {
    pub ledger: Ledger,
    /// None before the first write.
    version: Option<String>,
    slot: char,
    /// Pieces that are in the cluster, with their resourceVersions.
    parts: BTreeMap<String, String>,
}

impl Stored {
    /// A ledger that the cluster does not have yet.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, version: None, slot: 'a', parts: BTreeMap::new() }
    }

    pub fn is_written(&self) -> bool {
        self.version.is_some()
    }
}

/// Why a ledger was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Someone else wrote since it was read.
    #[error("another writer was faster")]
    Overtaken,
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Encode(#[from] LedgerDamage),
}

/// Reads and writes the ledgers of one instance in one cluster.
#[derive(Debug, Clone)]
pub struct LedgerStore {
    api: Api,
    instance: InstanceName,
}

/// Most records of ledgers, and what all of them together may weigh: a ledger of 100,000 objects has 3 MB as it is
/// stored.
const MAX_RECORDS: usize = 2_000;
const MAX_STORED: usize = 128 << 20;
const JSON: &str = "application/json";

impl LedgerStore {
    pub fn new(api: Api, instance: InstanceName) -> Self {
        Self { api, instance }
    }

    /// All ledgers of this instance, in one list. One that can't be read is in it as its damage.
    pub async fn list(&self) -> Result<BTreeMap<String, Result<Stored, LedgerDamage>>, ApiError> {
        let selector = escape(&format!("{INSTANCE_LABEL}={}", self.instance));
        let path = format!("{}?labelSelector={selector}", maps());
        let (mut all, mut weight) = (Vec::new(), 0);
        let take = |item: Value| {
            weight += read::weight(&item);
            all.push(item);
            weight <= MAX_STORED
        };
        self.api.list(&path, JSON, MAX_RECORDS, take).await?;
        let items: Vec<&Value> = all.iter().collect();
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let by_name: BTreeMap<_, _> = items.iter().map(|item| (name(item), *item)).collect();
        let is_main = |item: &&&Value| item["metadata"]["labels"].get("applyset.kubernetes.io/id").is_some();
        // What they hold unpacked is bounded as a whole: a small record may unpack to a large one.
        let mut left = MAX_UNPACKED;
        let mains = items.iter().filter(is_main);
        let read = |main: &&Value| (fleet_of(main, &name(main)), self.stored(main, &by_name, &mut left));
        Ok(mains.map(read).collect())
    }

    /// The ledger of one fleet, as it is now.
    pub async fn read(&self, fleet: &FleetName) -> Result<Option<Result<Stored, LedgerDamage>>, ApiError> {
        Ok(self.list().await?.remove(fleet.as_str()))
    }

    fn stored(
        &self,
        main: &Value,
        all: &BTreeMap<String, &Value>,
        left: &mut usize,
    ) -> Result<Stored, LedgerDamage> {
        let (ledger, slot) = decode(&self.instance, main, all, left)?;
        let version =
            |item: &Value| item["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let prefix = format!("{}.", ledger_name(&ledger.instance, &ledger.fleet));
        let parts = all.iter().filter(|(name, _)| name.starts_with(&prefix));
        let parts = parts.map(|(name, item)| (name.clone(), version(item))).collect();
        Ok(Stored { ledger, version: Some(version(main)), slot, parts })
    }

    /// Replaces a ledger as a whole, if nobody else wrote since it was read.
    pub async fn write(&self, stored: &mut Stored) -> Result<(), WriteError> {
        let Encoded { mut main, parts, slot } = encode(&stored.ledger, stored.slot, MAX_PART)?;
        for part in parts {
            let name = part["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let there = stored.parts.contains_key(&name);
            let version = self.put(&name, &part, there).await?;
            stored.parts.insert(name, version);
        }
        let name = ledger_name(&self.instance, &stored.ledger.fleet);
        if let Some(version) = &stored.version {
            main["metadata"]["resourceVersion"] = json!(version);
        }
        let version = self.put(&name, &main, stored.version.is_some()).await?;
        stored.version = Some(version);
        stored.slot = slot;
        Ok(())
    }

    /// Whether the cluster's ledger is the one that was read or written last.
    pub async fn is_current(&self, stored: &Stored) -> Result<bool, ApiError> {
        let path = format!("{}/{}", maps(), escape(&ledger_name(&self.instance, &stored.ledger.fleet)));
        let found = match self.api.json(Call::get(path).accept(METADATA_ONLY)).await {
            Err(error) if error.is_not_found() => None,
            other => other?["metadata"]["resourceVersion"].as_str().map(str::to_owned),
        };
        Ok(found == stored.version)
    }

    async fn put(&self, name: &str, map: &Value, there: bool) -> Result<String, WriteError> {
        let answer = if there { self.replace(name, map).await } else { self.create(map).await };
        match answer {
            Ok(answer) => Ok(answer["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()),
            Err(error) if error.is_conflict() || (there && error.is_not_found()) => {
                Err(WriteError::Overtaken)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the cluster to take a write that changes nothing, of the ledger's own record.
    pub async fn try_a_write(&self, fleet: &FleetName) -> Result<(), ApiError> {
        let path = format!("{}/{}?dryRun=All", maps(), escape(&ledger_name(&self.instance, fleet)));
        let call = Call::send(Method::PATCH, path, "application/merge-patch+json", "{}");
        self.api.call(call.accept(METADATA_ONLY)).await.map(drop)
    }

    async fn replace(&self, name: &str, map: &Value) -> Result<Value, ApiError> {
        let path = format!("{}/{}", maps(), escape(name));
        self.api.json(Call::send(Method::PUT, path, JSON, map.to_string()).accept(METADATA_ONLY)).await
    }

    async fn create(&self, map: &Value) -> Result<Value, ApiError> {
        let call = || Call::send(Method::POST, maps(), JSON, map.to_string()).accept(METADATA_ONLY);
        let create = || self.api.json(call());
        match create().await {
            Err(error) if error.is_not_found() => {
                self.create_namespace().await?;
                create().await
            }
            other => other,
        }
    }

    async fn create_namespace(&self) -> Result<(), ApiError> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        match self.api.call(Call::send(Method::POST, "/api/v1/namespaces", JSON, namespace.to_string())).await
        {
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a ledger, its parts last: a crash between leaves parts that the next writer of the name replaces.
    pub async fn delete(&self, stored: &Stored) -> Result<(), WriteError> {
        let name = ledger_name(&self.instance, &stored.ledger.fleet);
        let Some(version) = &stored.version else { return Ok(()) };
        let options = json!({"preconditions": {"resourceVersion": version}});
        self.remove(&name, &options).await?;
        for part in stored.parts.keys() {
            self.remove(part, &json!({})).await?;
        }
        Ok(())
    }

    async fn remove(&self, name: &str, options: &Value) -> Result<(), WriteError> {
        let path = format!("{}/{}", maps(), escape(name));
        match self.api.call(Call::send(Method::DELETE, path, JSON, options.to_string())).await {
            Err(error) if error.is_conflict() => Err(WriteError::Overtaken),
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn maps() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

/// The fleet by the name, not by the label: anybody may edit labels.
fn fleet_of(main: &Value, name: &str) -> String {
    let by_name = name.split_once('.').map(|(_, fleet)| fleet.to_owned());
    by_name.unwrap_or_else(|| main["metadata"]["uid"].as_str().unwrap_or(name).to_owned())
}
