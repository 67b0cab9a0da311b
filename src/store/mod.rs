//! What survives a restart and is in neither Git nor a ledger.
