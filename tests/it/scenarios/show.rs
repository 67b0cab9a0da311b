//! What a fleet's report says, in a script's words.

use fairlead_core::model::digest::CommitId;
use fairlead_core::model::release::ReleaseRef;
use fairlead_core::rollout::{RolloutState, explain, report};

use super::world::World;

impl World {
    pub(super) fn show(&self) -> Vec<String> {
        let report = report(&self.state);
        let name = |commit: Option<_>| commit.map_or("none".to_owned(), |c: CommitId| c.short());
        let rollout = match &report.rollout {
            RolloutState::Idle => "nothing seen yet".to_owned(),
            RolloutState::Converged => "converged".to_owned(),
            RolloutState::Rolling { converged, affected } => {
                format!("rolling, {converged} of {affected} converged")
            }
            RolloutState::Holding { reason } => format!("holding: {reason}"),
            RolloutState::Returning { left, cause, to } => {
                format!("returning to {}, {left} left: {cause}", name(*to))
            }
            RolloutState::Degraded { converged, of, cause } => {
                format!("degraded, {converged} of {of} converged; {cause}")
            }
            RolloutState::Failed { cause, to } => format!("failed, back to {}: {cause}", name(*to)),
        };
        let mut lines = vec![format!(
            "observed {}, accepted {}; {rollout}",
            name(report.observed),
            name(report.accepted)
        )];
        for wave in report.waves.iter().filter(|_| report.waves.len() > 1) {
            let busy = if wave.at_work == 0 { String::new() } else { format!(", {} at work", wave.at_work) };
            lines.push(format!("wave {} of {}{busy}: {}", wave.name, wave.affected, wave.standing));
        }
        for one in &report.targets {
            assert_eq!(explain(&self.state, &one.target).as_ref(), Some(one));
            let label = |release: &Option<ReleaseRef>| {
                release.as_ref().map_or("-", |release| self.label(release.digest)).to_owned()
            };
            let status = format!("{:?}", one.status).to_lowercase();
            lines.push(format!(
                "{}  runs {}  assigned {}  base {}  {status}: {}",
                one.target,
                label(&one.converged),
                label(&one.assigned),
                label(&one.base),
                one.reason
            ));
        }
        lines.iter().map(|line| self.readable(line)).collect()
    }
}
