//! How a branch moved. Pure.

use fairlead_core::model::digest::CommitId;

/// How the head of a branch moved since it was last observed or accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadChange {
    /// There was no head before.
    First,
    Same,
    /// The new head holds the old one in its history.
    FastForward,
    /// History was rewritten or rolled back: holds until a person accepts it.
    NonFastForward,
}

impl HeadChange {
    /// `old_is_ancestor` is [`super::History::is_ancestor`]`(old, new)`; ask it only when the two differ.
    pub fn classify(old: Option<CommitId>, new: CommitId, old_is_ancestor: bool) -> Self {
        match old {
            None => Self::First,
            Some(old) if old == new => Self::Same,
            Some(_) if old_is_ancestor => Self::FastForward,
            Some(_) => Self::NonFastForward,
        }
    }
}
