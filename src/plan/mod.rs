//! A release and what a cluster has, or two releases, to a plan.
