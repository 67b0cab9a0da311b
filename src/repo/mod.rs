//! Mirror, fetch, trees, history.
//!
//! In: the settings of a source repository. Out: commits, trees, tags, facts about ancestry.
//! Guarantees: what was not read in full is an error, never "not there". IO: Git.
