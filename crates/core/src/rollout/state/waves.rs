//! What the newest commit's policy says of waves.

use super::Record;
use crate::model::fleet::{Approval, Wave};
use crate::model::labels::Labels;
use crate::model::name::WaveName;
use crate::model::units::Amount;
use crate::rollout::state::target::Target;

/// The waves of the newest commit's policy, as they are written.
pub fn declared(record: &Record) -> &[Wave] {
    record.head.as_ref().map(|head| head.policy.rollout.waves.as_slice()).unwrap_or_default()
}

/// The wave of what is left: the first that takes all, else one after the declared ones.
pub fn rest(waves: &[Wave]) -> usize {
    waves.iter().position(Wave::takes_the_rest).unwrap_or(waves.len())
}

/// How many waves there are, with the one of what is left; at least one.
pub fn count(record: &Record) -> usize {
    let waves = declared(record);
    waves.len().max(rest(waves) + 1)
}

/// The first wave whose label selector takes a target.
pub fn select(record: &Record, labels: &Labels) -> Option<u16> {
    let fits = |wave: &Wave| wave.clusters.as_ref().is_some_and(|clusters| clusters.matches(labels));
    declared(record).iter().position(fits).and_then(|wave| u16::try_from(wave).ok())
}

/// What people call a wave.
pub fn name(record: &Record, wave: usize) -> WaveName {
    declared(record).get(wave).map_or_else(WaveName::rest, |wave| wave.name.clone())
}

/// The same where there are several; the only wave of a fleet need not be named.
pub fn title(record: &Record, wave: usize) -> Option<WaveName> {
    (count(record) > 1).then(|| name(record, wave))
}

/// The number of the wave with this name.
pub fn named(record: &Record, wanted: &WaveName) -> Option<usize> {
    (0..count(record)).find(|wave| name(record, *wave) == *wanted)
}

/// Whether the change of a target waits for a person's word; a release that is known to be good does not.
pub fn lacks_approval(record: &Record, target: &Target) -> bool {
    let wave = declared(record).get(usize::from(target.wave));
    let required = wave.is_some_and(|wave| wave.approval == Some(Approval::Required));
    let Some(wanted) = target.wanted().filter(|_| required) else { return false };
    let cleared = target.cleared.is_some_and(|cleared| record.interner.same(cleared, wanted));
    !cleared && !target.history.has(record.interner.digest(wanted))
}

/// How long a cluster of a wave must stay healthy before it counts; none: it counts at once.
pub fn bake_time(record: &Record, wave: u16) -> Option<std::time::Duration> {
    let span = declared(record).get(usize::from(wave))?.min_success_time?.get();
    (!span.is_zero()).then_some(span)
}

/// How many clusters of a wave may be at work at a time, of `whole`. Never less than one: nothing would ever move.
pub fn limit(record: &Record, wave: usize, whole: usize) -> usize {
    let amount = declared(record).get(wave).and_then(|wave| wave.max_concurrency);
    amount.unwrap_or(Amount::Percent(100)).ceil_of(whole).max(1)
}

pub fn number(wave: usize) -> u16 {
    u16::try_from(wave).unwrap_or(u16::MAX)
}

/// The number of a target's wave, as queues and counts count.
pub fn wave_of(target: &Target, waves: usize) -> usize {
    usize::from(target.wave).min(waves.saturating_sub(1))
}
