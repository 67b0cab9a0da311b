//! Forges: webhooks in, statuses and comments out.

mod http;
mod webhooks;
