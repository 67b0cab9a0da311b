//! Forges: webhooks in, statuses and comments out.

mod apart;
mod commands;
mod fake;
mod flow;
mod gitea;
mod http;
mod markdown;
mod pulls;
mod shapes;
mod webhooks;
mod world;
