//! What a tree may hold.
