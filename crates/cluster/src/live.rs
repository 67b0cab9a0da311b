//! What a cluster has, for a plan that compares with it. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::Value;

use super::answers::Class;
use super::api::{Call, MAX_PAGE, most_of};
use super::causes::look;
use super::discovery::{Discovery, Resource, escape};
use super::error::ApiError;
use super::health::Observer;
use super::ledger::{PART_OF, set_id};
use super::orders::{Ailment, LiveError, LiveView, Question};
use super::read;
use super::session::Session;
use super::text::chain;
use fairlead_core::model::name::FleetName;
use fairlead_core::model::object::{GroupKind, ObjectKey};
use fairlead_core::model::release::Release;
use fairlead_core::plan::{self, Inventory, Observed, Sibling};

/// Requests at a time.
const AT_ONCE: usize = 8;
/// What all objects that are shown may weigh in memory, and what for each object that is known beside that.
const MAX_VIEW: usize = 256 << 20;
const FOR_EACH: usize = 128 << 10;

/// Answers one question.
pub async fn answer(session: Arc<Session>, question: Question) {
    match question {
        Question::Live { fleet, release, answer } => {
            let view = view(&session, &fleet, &release).await;
            let _ = answer.send(view);
        }
        Question::Causes { fleet, answer } => {
            let causes = causes(&session, &fleet).await;
            let _ = answer.send(causes);
        }
    }
}

/// Why the fleet's objects are not healthy.
async fn causes(session: &Session, fleet: &FleetName) -> Result<Vec<Ailment>, LiveError> {
    let doubts = session.doubts(fleet);
    if doubts.is_empty() {
        return Ok(Vec::new());
    }
    let discovery = session.discovery().await.map_err(|e| failed(&e))?;
    let looks = doubts.into_iter().map(|doubt| {
        let discovery = Arc::clone(&discovery);
        async move {
            let reason = look(session, &discovery, &doubt).await;
            Ailment { object: doubt.key, reason }
        }
    });
    Ok(futures::future::join_all(looks).await)
}

fn failed(error: &ApiError) -> LiveError {
    let text = chain(error);
    if error.is_unreachable() || error.is_unauthorized() {
        LiveError::Offline(text)
    } else {
        LiveError::Api(text)
    }
}

async fn view(session: &Session, fleet: &FleetName, release: &Release) -> Result<LiveView, LiveError> {
    let mut ledgers = session.store.list().await.map_err(|e| failed(&e))?;
    let set = set_id(&session.settings.instance, fleet);
    let ledger = ledgers.remove(fleet.as_str());
    let inventory = match ledger {
        Some(Ok(stored)) => stored.ledger.inventory,
        Some(Err(damage)) => return Err(LiveError::Api(chain(&damage))),
        None => Inventory::default(),
    };
    let old = session.discovery().await.map_err(|e| failed(&e))?;
    let discovery = session.rediscover(&old).await.map_err(|e| failed(&e))?;
    let mut reader =
        Reader { session, set: &set, objects: BTreeMap::new(), unread: BTreeSet::new(), most: 0, left: 0 };
    reader.read(release, &inventory, &discovery).await.map_err(|e| failed(&e))?;
    let Reader { objects, unread, .. } = reader;
    let manager = session.settings.manager();
    let observer = Observer { manager: &manager, set: None, ignored: &[] };
    let reduced = objects.iter().filter_map(|(key, object)| observer.reduce(&key.group_kind(), object));
    let siblings: BTreeMap<Arc<str>, Sibling> = session.siblings_of(fleet);
    let observed = Observed {
        objects: reduced.map(|reduced| (reduced.key, reduced.object)).collect(),
        kinds: discovery.scopes(),
        unread,
        foreign_instances: BTreeMap::new(),
    };
    Ok(LiveView { inventory, observed, set, siblings, objects })
}

struct Reader<'a> {
    session: &'a Session,
    set: &'a str,
    objects: BTreeMap<ObjectKey, Value>,
    unread: BTreeSet<GroupKind>,
    /// Most objects of a kind.
    most: usize,
    /// What objects may still weigh.
    left: usize,
}

impl Reader<'_> {
    /// Reads what carries our label, and what stands where the release wants something.
    async fn read(
        &mut self,
        release: &Release,
        inventory: &Inventory,
        discovery: &Discovery,
    ) -> Result<(), ApiError> {
        let wanted = release.objects().map(|(_, object)| (object.key.group_kind(), object.version.as_str()));
        let had = inventory.objects.iter().map(|(key, entry)| (key.group_kind(), entry.version.as_str()));
        let kinds: BTreeMap<GroupKind, &str> = had.chain(wanted).collect();
        let known = inventory.objects.len() + release.objects().count();
        self.most = most_of(known);
        self.left = known.saturating_mul(FOR_EACH).saturating_add(MAX_VIEW);
        for (kind, version) in kinds {
            match discovery.find(&kind, version) {
                Some(resource) if resource.watchable => self.list(resource).await?,
                Some(_) => {
                    self.unread.insert(kind);
                }
                None if discovery.is_unknown(&kind.group) => {
                    self.unread.insert(kind);
                }
                None => {}
            }
        }
        let resolved = release.objects().filter_map(|(_, object)| {
            let resource = discovery.find(&object.key.group_kind(), &object.version)?;
            let key = plan::resolve_key(&object.key, resource.scope);
            Some((resource.object(&key), key))
        });
        let missing: Vec<_> = resolved.filter(|(_, key)| !self.objects.contains_key(key)).collect();
        let (session, unread) = (self.session, &self.unread);
        let reads = missing.into_iter().map(|(path, key)| async move {
            match session.api.json(Call::get(path).most(MAX_PAGE)).await {
                Err(error) if error.is_not_found() => Ok(None),
                Err(ApiError::Status(status)) if status.code == 403 => Ok(None),
                Err(ApiError::Status(status)) if unread.contains(&key.group_kind()) => {
                    tracing::debug!(object = %key, error = %status, "an object of a kind that can't be listed");
                    Ok(None)
                }
                other => other.map(|object| Some((key, object))),
            }
        });
        let mut reads = futures::stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some(read) = reads.next().await {
            self.objects.extend(read?);
        }
        Ok(())
    }

    async fn list(&mut self, resource: &Resource) -> Result<(), ApiError> {
        let kind = resource.group_kind();
        let selector = escape(&format!("{PART_OF}={}", self.set));
        let path = format!("{}?labelSelector={selector}", resource.all());
        let (mut found, mut weight, left) = (Vec::new(), 0, self.left);
        let take = |item: Value| {
            weight += read::weight(&item);
            found.push((key_of(&kind, &item), item));
            weight <= left
        };
        let listed = self.session.api.list(&path, "application/json", self.most, take).await;
        match listed {
            Ok(_) => {
                self.left -= weight;
                self.objects.extend(found);
            }
            // It is about this kind alone, whatever it is: others are read.
            Err(ApiError::Status(status)) if status.rule().class != Class::Unauthorized => {
                self.unread.insert(kind);
            }
            Err(ApiError::TooMany(_) | ApiError::Decode(_) | ApiError::TooLarge(_)) => {
                self.unread.insert(kind);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn key_of(kind: &GroupKind, object: &Value) -> ObjectKey {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    ObjectKey::new(&kind.group, &kind.kind, text("namespace"), text("name"))
}
