//! The forge's tasks: what comes in by webhooks, and what goes out.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::hooks::Hooks;
use super::pulls::{self, Desk, Pulls};
use super::source::Kick;
use super::teller::{Shared, Teller};
use super::{DaemonError, Settings, Tasks};
use crate::forge::{Client, CommentRecord, ForgeSettings, Receiver, Reports, Sender, Watched};
use crate::repo::History;
use crate::server::{Metrics, Views, Webhooks};
use crate::store::{self, SaidRecord, Store, StoreError};

/// Pull requests that may be named before more are left to the list.
const HINTS: usize = 256;

/// What was said when the daemon last ran.
#[derive(Default)]
pub struct Said {
    statuses: Vec<SaidRecord>,
    comments: Vec<SaidRecord>,
}

impl Said {
    pub fn read(store: &Store) -> Result<Self, StoreError> {
        let records = store.records();
        Ok(Self { statuses: records.said(Reports::KIND)?, comments: records.said(CommentRecord::KIND)? })
    }
}

/// Nothing where the settings name no forge.
#[derive(Default)]
pub struct Forge {
    pub teller: Teller,
    pub webhooks: Option<Arc<dyn Webhooks>>,
    pub outlet: Outlet,
    /// Where single pull requests are asked for.
    pub desk: Option<Desk>,
}

impl Forge {
    /// # Errors
    /// A secret or certificate that is named is missing or not usable.
    pub fn open(
        settings: &Settings,
        said: Said,
        store: &store::Handle,
        kick: &Kick,
        views: &Views,
        metrics: &Arc<Metrics>,
        history: History,
    ) -> Result<Self, DaemonError> {
        let Some(forge) = &settings.forge else { return Ok(Self::default()) };
        let access = settings.access()?;
        let forge = ForgeSettings { ca_file: forge.ca_file.clone().or(access.ca_file), ..forge.clone() };
        let (hints, hints_in) = mpsc::channel(HINTS);
        let mut opened = Self::default();
        let repository = &settings.repository;
        let client = Client::open(&forge, &access.url)?;
        if let Some(secret) = &forge.webhook_secret_file {
            let watched = Watched::of(&forge, &access.url);
            let receiver = Receiver::open(forge.kind, secret, watched)?;
            let pulls = client.is_some().then_some(hints);
            let hooks = Hooks::new(receiver, kick.clone(), repository.branch.clone(), pulls, metrics.clone());
            opened.webhooks = Some(Arc::new(hooks));
        }
        let Some(client) = client else { return Ok(opened) };
        let outbox = Arc::new(Notify::new());
        let wrote = said.statuses.iter().chain(&said.comments).map(|said| said.at);
        let mut wrote: Vec<_> = wrote.collect();
        wrote.sort_unstable();
        let (instance, link) = (settings.instance.clone(), forge.link.clone());
        let reports = Reports::new(instance.clone(), client.repository().to_owned(), link, said.statuses);
        let reports: Shared = Arc::new(Mutex::new(reports));
        opened.teller = Teller::new(reports.clone(), outbox.clone());
        let sender = Sender::new(client.clone(), store.clone(), outbox.clone(), forge.writes_per_hour, wrote);
        let comments = said.comments.iter().filter_map(|said| serde_json::from_slice(&said.payload).ok());
        let pulls = Pulls::new(pulls::Parts {
            client,
            reports,
            store: store.clone(),
            outbox,
            views: views.clone(),
            history,
            instance,
            mirror: settings.mirror()?,
            folders: repository.folders.clone(),
            state: settings.state.clone(),
            poll: repository.poll.get(),
            said: comments.collect(),
        });
        opened.desk = Some(pulls.desk());
        opened.outlet = Outlet(Some((sender, pulls, hints_in)));
        Ok(opened)
    }
}

/// What sends, and what looks after pull requests.
#[derive(Default)]
pub struct Outlet(Option<(Sender, Pulls, mpsc::Receiver<u64>)>);

impl Outlet {
    pub fn start(self, tasks: &mut Tasks, cancel: &CancellationToken) {
        if let Some((sender, pulls, hints)) = self.0 {
            tasks.spawn("outbox", sender.run(cancel.clone()));
            tasks.spawn("pull requests", pulls.run(hints, cancel.clone()));
        }
    }
}
