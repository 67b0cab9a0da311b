//! One fleet's share of a cluster.

use std::sync::Arc;

use tokio::sync::watch;

use super::ledger::{LedgerDamage, Stored};
use super::orders::Orders;
use super::session::{Lost, Session};
use crate::model::name::FleetName;

/// Why a fleet's task ended.
pub enum FleetEnd {
    Lost(Lost),
    /// Someone else wrote the ledger: it is read again.
    Reread,
}

/// Works on one fleet's share until the session or its ledger is lost.
pub async fn run(
    session: Arc<Session>,
    fleet: FleetName,
    ledger: Option<Result<Stored, LedgerDamage>>,
    mut orders: watch::Receiver<Orders>,
) -> FleetEnd {
    let _ = (session, fleet, ledger);
    while orders.changed().await.is_ok() {}
    FleetEnd::Reread
}
