//! The requests that executing a plan consists of. Each is one task, and ends in one [`Done`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::api::{Call, MAX_PAGE, METADATA_LIST, METADATA_ONLY, most_of};
use crate::discovery::{Resource, escape};
use crate::error::ApiError;
use crate::health::{Observer, Reduced};
use crate::ledger::PART_OF;
use crate::session::Session;
use crate::stamp;
use crate::take_over::{Extent, let_go, still_there, take_over};
use fairlead_core::model::digest::ObjectDigest;
use fairlead_core::model::fleet::IgnoredPath;
use fairlead_core::model::object::ObjectKey;
use fairlead_core::model::release::ReleaseObject;
use fairlead_core::plan::offline::fold_string_data;
use fairlead_core::plan::{Precondition, Stay};

pub const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";
/// How long a cluster that may be gone has to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How one request ended.
#[derive(Debug)]
pub enum Done {
    Applied {
        key: ObjectKey,
        digest: ObjectDigest,
        left_out: Vec<String>,
        /// With the fields that stay though Git dropped them.
        answer: Result<(Reduced, Vec<Stay>), ApiError>,
    },
    /// Whether everything of the release is in the live object; None: there is no live object.
    Compared {
        key: ObjectKey,
        digest: ObjectDigest,
        left_out: Vec<String>,
        answer: Result<Option<(Reduced, bool)>, ApiError>,
    },
    /// Asked to be deleted; or found to be another object than was meant (`Meaning::Stale`).
    Deleted {
        key: ObjectKey,
        answer: Result<(), ApiError>,
    },
    /// Not deleted: a CRD of which others have made objects since the plan was made.
    StillUsed {
        key: ObjectKey,
        count: usize,
    },
    Released {
        key: ObjectKey,
        answer: Result<(), ApiError>,
    },
    /// What is under a key now.
    Looked {
        key: ObjectKey,
        answer: Result<Option<Reduced>, ApiError>,
    },
    /// What hinders the end of a namespace.
    Described {
        key: ObjectKey,
        answer: Result<String, ApiError>,
    },
    /// Objects that are not as they should be.
    Verified(Result<Vec<ObjectKey>, ApiError>),
}

/// How an object is applied.
#[derive(Debug, Clone, Default)]
pub struct How {
    pub force: bool,
    /// What others own of the object becomes ours first.
    pub take: bool,
    /// Others own fields of ours too: what Git drops of these is taken out of their entries first, where they are
    /// people's.
    pub drops: bool,
    /// Paths of fields that stayed when Git dropped them.
    pub stays: Vec<String>,
}

/// What all requests of a run share.
#[derive(Clone)]
pub struct Hand {
    pub session: Arc<Session>,
    pub set: Arc<str>,
    pub ignored: Arc<[IgnoredPath]>,
}

impl Hand {
    fn reduce(&self, resource: &Resource, object: &Value) -> Result<Reduced, ApiError> {
        let manager = self.session.settings.manager();
        let observer = Observer { manager: &manager, set: Some(&self.set), ignored: &self.ignored };
        observer.reduce(&resource.group_kind(), object).ok_or_else(|| {
            ApiError::Decode(<serde_json::Error as serde::de::Error>::custom(
                "an object without a name or uid",
            ))
        })
    }

    pub fn apply_path(&self, resource: &Resource, key: &ObjectKey, force: bool) -> String {
        let manager = self.session.settings.manager();
        let path = resource.object(key);
        format!("{path}?fieldManager={}&force={force}&fieldValidation=Strict", escape(&manager))
    }

    /// One server-side apply. The answer is asked for as metadata: nothing else of it is needed.
    pub async fn apply(
        self,
        resource: Resource,
        key: ObjectKey,
        object: ReleaseObject,
        how: How,
        left_out: Vec<String>,
    ) -> Done {
        let answer = async {
            let body = stamp::body(&object, &key, &self.set, &left_out).map_err(ApiError::Decode)?;
            let mut stays = how.stays;
            if how.drops {
                let whole: Value = serde_json::from_slice(&object.bytes).map_err(ApiError::Decode)?;
                stays.extend(self.let_go(&resource, &key, whole).await?);
            }
            if how.take {
                let extent = if left_out.is_empty() { Extent::of(&key) } else { Extent::Shared };
                self.take_over(&resource, &key, &body, extent).await?;
            }
            let path = self.apply_path(&resource, &key, how.force);
            let call = Call::send(Method::PATCH, path, APPLY, body.to_string()).accept(METADATA_ONLY);
            let answer = self.session.api.json(call).await?;
            let manager = self.session.settings.manager();
            let stays = still_there(stays, &answer, &manager, &body);
            Ok((self.reduce(&resource, &answer)?, stays))
        };
        let answer = answer.await;
        Done::Applied { key, digest: object.digest, left_out, answer }
    }

    /// Takes what Git drops out of the entries of people who own it too; the paths of what others keep.
    async fn let_go(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        mut manifest: Value,
    ) -> Result<Vec<String>, ApiError> {
        fold_string_data(&mut manifest);
        let path = resource.object(key);
        let live = match self.session.api.json(Call::get(path.clone()).accept(METADATA_ONLY)).await {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            other => other?,
        };
        let manager = self.session.settings.manager();
        let gone = let_go(&live, &manager, &manifest);
        if let Some(fields) = gone.entries {
            self.write_managers(path, &live, fields).await?;
        }
        Ok(gone.stays)
    }

    /// Replaces the managed fields of just the object that was looked at.
    async fn write_managers(&self, path: String, live: &Value, fields: Vec<Value>) -> Result<(), ApiError> {
        let metadata = &live["metadata"];
        let patch = json!({"metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "managedFields": fields,
        }});
        let path = format!("{path}?fieldManager={}", escape(&self.session.settings.manager()));
        let call = Call::send(Method::PATCH, path, MERGE, patch.to_string()).accept(METADATA_ONLY);
        self.session.api.call(call).await.map(drop)
    }

    /// Merges the managers before us into our own entry. An object of another set is left as it is: the apply says
    /// whose it is.
    async fn take_over(
        &self,
        resource: &Resource,
        key: &ObjectKey,
        body: &Value,
        extent: Extent,
    ) -> Result<(), ApiError> {
        let path = resource.object(key);
        let live = match self.session.api.json(Call::get(path.clone()).accept(METADATA_ONLY)).await {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let metadata = &live["metadata"];
        if metadata["labels"][PART_OF].as_str().is_some_and(|set| set != &*self.set) {
            return Ok(());
        }
        let manager = self.session.settings.manager();
        let Some(fields) = take_over(&live, &manager, body, extent) else { return Ok(()) };
        self.write_managers(path, &live, fields).await
    }

    /// Reads an object and compares it with what would be sent.
    pub async fn compare(
        self,
        resource: Resource,
        key: ObjectKey,
        object: ReleaseObject,
        left_out: Vec<String>,
    ) -> Done {
        let answer = async {
            let body = stamp::body(&object, &key, &self.set, &left_out).map_err(ApiError::Decode)?;
            let live = match self.session.api.json(Call::get(resource.object(&key)).most(MAX_PAGE)).await {
                Err(error) if error.is_gone() => return Ok(None),
                other => other?,
            };
            let same = stamp::covers(&live, &body);
            Ok(Some((self.reduce(&resource, &live)?, same)))
        };
        let answer = answer.await;
        Done::Compared { key, digest: object.digest, left_out, answer }
    }

    /// Deletes just the object that was looked at.
    pub async fn delete(self, resource: Resource, key: ObjectKey, only: Precondition) -> Done {
        let options = json!({
            "preconditions": {"uid": only.uid, "resourceVersion": only.resource_version},
            "propagationPolicy": "Background",
        });
        let call = Call::send(Method::DELETE, resource.object(&key), JSON, options.to_string());
        let answer = match self.session.api.call(call.accept(METADATA_ONLY)).await {
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(()),
        };
        Done::Deleted { key, answer }
    }

    /// Deletes a CRD, if none but our own objects are of its kind: they would go with it.
    pub async fn delete_crd(
        self,
        resource: Resource,
        key: ObjectKey,
        only: Precondition,
        (brings, known): (Resource, BTreeSet<ObjectKey>),
    ) -> Done {
        match self.count_foreign(&brings, &known).await {
            Ok(0) => self.delete(resource, key, only).await,
            Ok(count) => Done::StillUsed { key, count },
            Err(error) if error.is_no_such_resource() => self.delete(resource, key, only).await,
            Err(error) => Done::Deleted { key, answer: Err(error) },
        }
    }

    /// Takes our label, annotation and ownership off an object, and nothing else: its fields keep their values.
    pub async fn release(self, resource: Resource, key: ObjectKey) -> Done {
        let answer = self.release_inner(&resource, &key).await;
        Done::Released { key, answer }
    }

    async fn release_inner(&self, resource: &Resource, key: &ObjectKey) -> Result<(), ApiError> {
        let path = resource.object(key);
        let live = match self.session.api.json(Call::get(path.clone()).accept(METADATA_ONLY)).await {
            Err(error) if error.is_gone() => return Ok(()),
            other => other?,
        };
        let metadata = &live["metadata"];
        if metadata["labels"][PART_OF].as_str() != Some(&*self.set) {
            return Ok(());
        }
        let manager = self.session.settings.manager();
        let others = metadata["managedFields"].as_array().into_iter().flatten();
        let mut others: Vec<&Value> = others.filter(|entry| entry["manager"] != manager.as_str()).collect();
        // An empty list is read as "leave it"; one empty entry as "nobody".
        let nobody = json!({});
        if others.is_empty() {
            others.push(&nobody);
        }
        let patch = json!({"metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "labels": {PART_OF: null},
            "annotations": {stamp::DIGEST: null},
            "managedFields": others,
        }});
        let path = format!("{path}?fieldManager={}", escape(&manager));
        let call = Call::send(Method::PATCH, path, MERGE, patch.to_string()).accept(METADATA_ONLY);
        match self.session.api.call(call).await {
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(()),
        }
    }

    /// What is under a key, whatever its labels.
    pub async fn look(self, resource: Resource, key: ObjectKey) -> Done {
        let answer = self.read(&resource, &key).await;
        Done::Looked { key, answer }
    }

    pub async fn read(&self, resource: &Resource, key: &ObjectKey) -> Result<Option<Reduced>, ApiError> {
        let whole = crate::health::needs_whole(&resource.group_kind());
        let accept = if whole { JSON } else { METADATA_ONLY };
        match self.session.api.json(Call::get(resource.object(key)).accept(accept).most(MAX_PAGE)).await {
            Err(error) if error.is_gone() => Ok(None),
            other => Ok(Some(self.reduce(resource, &other?)?)),
        }
    }

    /// How many instances of a kind are not ours: neither `known` nor, for what was applied since, ours by the fields
    /// that we set. That one carries our label says little, for labels are copied.
    pub async fn count_foreign(
        &self,
        resource: &Resource,
        known: &BTreeSet<ObjectKey>,
    ) -> Result<usize, ApiError> {
        let labelled = escape(&format!("{PART_OF}={}", self.set));
        let path = format!("{}?labelSelector={labelled}", resource.all());
        let (mut copies, mut failed) = (0_usize, None);
        let take = |item: Value| {
            match self.reduce(resource, &item) {
                Ok(reduced) => {
                    copies += usize::from(!known.contains(&reduced.key) && reduced.object.fields.is_none());
                }
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        };
        let listed = self.session.api.list(&path, METADATA_LIST, most_of(known.len()), take).await;
        if let Some(error) = failed {
            return Err(error);
        }
        listed?;
        let selector = escape(&format!("{PART_OF}!={}", self.set));
        let path = format!("{}?limit=500&labelSelector={selector}", resource.all());
        let mut others = 0_usize;
        let list = self.session.api.page(Call::get(path).accept(METADATA_LIST), |_| others += 1).await?;
        let more = list.remaining_item_count.and_then(|n| usize::try_from(n).ok());
        Ok(copies.saturating_add(others).saturating_add(more.unwrap_or(0)))
    }

    /// Whether the cluster answers.
    pub async fn probe(self) -> Result<(), ApiError> {
        self.session.api.call(Call::get("/version").timeout(PROBE_TIMEOUT)).await.map(drop)
    }
}
