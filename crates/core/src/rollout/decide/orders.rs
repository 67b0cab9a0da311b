//! The orders that stand.

use super::{admit, removal};
use crate::rollout::effect::Effect;
use crate::rollout::state::Record;

/// Every order that stands.
pub fn standing_orders(record: &Record) -> Vec<Effect> {
    let mut orders = Vec::with_capacity(record.targets.len());
    for target in &record.targets {
        if target.suspend {
            orders.push(Effect::Suspend { target: target.name.clone(), suspend: true });
        }
        if target.gone() {
            orders.extend(removal::removal(record, target));
        } else {
            orders.extend(admit::assignment(record, target).map(Box::new).map(Effect::Assign));
        }
    }
    orders
}
