//! Forges: webhooks in, statuses and comments out.

mod flow;
mod gitea;
mod http;
mod pulls;
mod webhooks;
mod world;
