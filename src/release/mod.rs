//! Documents, commits and a target to a release.
