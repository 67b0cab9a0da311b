//! What became of a merged commit.

use crate::repo::History;
use crate::server::{FleetStatus, FleetView};
use fairlead_core::model::digest::CommitId;
use fairlead_core::plan::offline::foreign;
use fairlead_core::rollout::CommitState;

/// Fleets that are named.
const MAX_FLEETS: usize = 30;

/// The last line, when every fleet is through with the commit; none before. Each fleet comes with what was said of
/// the commit. Blocking.
pub(super) fn of(
    history: &History,
    commit: CommitId,
    fleets: &[(FleetView, Option<(CommitState, String)>)],
) -> Option<String> {
    let within =
        |tip: Option<CommitId>| tip.is_some_and(|tip| history.is_ancestor(commit, tip).unwrap_or(false));
    if fleets.is_empty() || !fleets.iter().any(|(fleet, _)| within(fleet.observed)) {
        return None;
    }
    let mut out = format!("**Merged as {}**\n\n", commit.short());
    for (number, (fleet, told)) in fleets.iter().enumerate() {
        let fate = of_fleet(fleet, told.as_ref(), &within)?;
        if number < MAX_FLEETS {
            out.push_str(&format!("- fleet {}: {fate}\n", fleet.name));
        }
    }
    if fleets.len() > MAX_FLEETS {
        out.push_str(&format!("- and {} more fleets\n", fleets.len() - MAX_FLEETS));
    }
    Some(out)
}

fn of_fleet(
    fleet: &FleetView,
    told: Option<&(CommitState, String)>,
    within: &impl Fn(Option<CommitId>) -> bool,
) -> Option<String> {
    let settled = matches!(fleet.state, FleetStatus::Failed | FleetStatus::Converged | FleetStatus::Degraded);
    match told {
        Some((CommitState::Success, text)) => Some(foreign(text)),
        Some((CommitState::Failure, text)) if settled => Some(format!("**failed**: {}", foreign(text))),
        Some((CommitState::Pending | CommitState::Failure, _)) => None,
        // Newer commits took over: with them it went on.
        Some((CommitState::Superseded, _)) | None => match fleet.accepted {
            Some(accepted) if within(Some(accepted)) => Some(format!("converged with {}", accepted.short())),
            _ if settled && within(fleet.observed) => {
                Some(format!("**not converged**: {}", foreign(fleet.reason.as_deref().unwrap_or_default())))
            }
            _ => None,
        },
    }
}

/// What a person has to know before that: the fleets in which the commit is held. None: it is held in none.
pub(super) fn held(
    commit: CommitId,
    fleets: &[(FleetView, Option<(CommitState, String)>)],
) -> Option<String> {
    let held = |state| matches!(state, FleetStatus::Held | FleetStatus::Paused);
    let held = fleets.iter().filter(|(fleet, _)| held(fleet.state)).filter_map(|(fleet, told)| match told {
        Some((CommitState::Pending | CommitState::Failure, _)) => {
            let why = fleet.reason.as_deref().unwrap_or_default();
            Some(format!("- fleet {}: **held**: {}\n", fleet.name, foreign(why)))
        }
        _ => None,
    });
    let lines: String = held.take(MAX_FLEETS).collect();
    (!lines.is_empty()).then(|| format!("**Merged as {}**\n\n{lines}", commit.short()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_through_when_it_converged_or_came_back_and_not_before() {
        let (merged, later) = (CommitId::from_bytes([1; 20]), CommitId::from_bytes([2; 20]));
        let view = |accepted, state| FleetView {
            name: "retail".parse().unwrap(),
            observed: Some(later),
            accepted,
            state,
            reason: Some("because".to_owned()),
            counts: Default::default(),
            needs: Vec::new(),
            waves: Vec::new(),
            next_window: None,
            failures: Vec::new(),
        };
        let within = |tip: Option<CommitId>| tip == Some(merged) || tip == Some(later);
        let fate = |view: &FleetView, told: Option<(CommitState, &str)>| {
            of_fleet(view, told.map(|(state, text)| (state, text.to_owned())).as_ref(), &within)
        };
        let rolling = view(None, FleetStatus::RollingOut);
        let (failed, good) = (view(None, FleetStatus::Failed), view(Some(later), FleetStatus::Converged));
        assert_eq!(fate(&rolling, Some((CommitState::Pending, "1 of 2"))), None);
        assert_eq!(fate(&good, Some((CommitState::Success, "2 of 2"))).as_deref(), Some("2 of 2"));
        assert_eq!(fate(&rolling, Some((CommitState::Failure, "1 failed"))), None, "it is on its way back");
        assert_eq!(fate(&failed, Some((CommitState::Failure, "x"))).as_deref(), Some("**failed**: x"));
        assert_eq!(fate(&rolling, Some((CommitState::Superseded, "by y"))), None);
        assert_eq!(
            fate(&good, Some((CommitState::Superseded, "y"))).as_deref(),
            Some("converged with 0202020")
        );
        assert_eq!(fate(&failed, None).as_deref(), Some("**not converged**: because"));

        let told = Some((CommitState::Pending, "1 held".to_owned()));
        let says =
            |state, told: &Option<(CommitState, String)>| held(merged, &[(view(None, state), told.clone())]);
        let text = says(FleetStatus::Held, &told).expect("a hold is said");
        assert_eq!(text, "**Merged as 0101010**\n\n- fleet retail: **held**: because\n");
        assert_eq!(says(FleetStatus::RollingOut, &told), None);
        // Another commit is held there.
        assert_eq!(says(FleetStatus::Held, &None), None);
    }
}
