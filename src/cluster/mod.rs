//! One worker a cluster: connect, observe, apply, prune, health, ledger, heal.
