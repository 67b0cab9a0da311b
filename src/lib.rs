//! Fairlead keeps a fleet of Kubernetes clusters true to the cluster profiles in a Git repository.

pub mod model;
