//! `fairlead webhook`: the forge's side of the webhook.

use std::process::ExitCode;

use super::error::CliError;
use super::forge::{AtForge, refused};
use super::{Outcome, args, block_on};
use crate::forge::{HookAdvice, Put};

pub fn webhook(args: &args::Webhook) -> Outcome {
    let forge = AtForge::read(&args.config)?;
    let Some(link) = args.url.as_ref().or(forge.settings.link.as_ref()) else {
        return Err(CliError::usage("it is not known under which address the forge reaches the daemon")
            .hint("--url https://fairlead.example.com, or the setting forge.link"));
    };
    let secret = forge.settings.webhook_secret().map_err(|error| CliError::usage(error).hint(NEW_SECRET))?;
    let Some(secret) = secret else {
        let text = "the setting forge.webhookSecretFile is missing: without a secret no webhook is taken";
        return Err(CliError::usage(text).hint(NEW_SECRET));
    };
    let advice = HookAdvice::of(&forge.settings, &forge.url, link);
    if !is_address(&advice.url) {
        let text = format!("'{link}' is not an address that begins with https:// or http://");
        return Err(CliError::usage(text).hint("e.g. --url https://fairlead.example.com"));
    }
    if args.create {
        return create(args, &forge, &advice, &secret);
    }
    let file = forge.settings.webhook_secret_file.as_ref().map(|file| file.display().to_string());
    let shown = match args.reveal_secret {
        true => secret,
        false => format!("what is in {}", file.unwrap_or_default()),
    };
    anstream::print!("{}", paper(&advice, &shown));
    Ok(ExitCode::SUCCESS)
}

const NEW_SECRET: &str = "make one with 'openssl rand -hex 32 > FILE', name the file in forge.webhookSecretFile, and restart the daemon";

/// What a person pastes.
fn paper(advice: &HookAdvice, secret: &str) -> String {
    let mut rows = Vec::new();
    rows.extend(advice.page.as_ref().map(|page| ("page", page.clone())));
    let Some(guide) = &advice.guide else {
        rows.extend([
            ("address", advice.url.clone()),
            ("method", "POST, with the content type application/json".to_owned()),
            ("body", r#"{"ref": "refs/heads/<branch>", "after": "<commit>"}"#.to_owned()),
            ("signature", "X-Fairlead-Signature-256: sha256=<hex of HMAC-SHA256 over the body>".to_owned()),
            ("number", "X-Fairlead-Delivery: one that is not used twice".to_owned()),
            ("secret", secret.to_owned()),
        ]);
        return lines(&rows);
    };
    rows.extend([("where", guide.clicks.to_owned()), ("address", advice.url.clone())]);
    rows.extend(guide.content_type.map(|kind| ("content type", kind.to_owned())));
    rows.push(("secret", format!("{secret}; the field is {}", guide.secret)));
    rows.push(("events", guide.events.to_owned()));
    lines(&rows) + "\nOr let it be done: fairlead webhook --create --token-file FILE\n"
}

fn lines(rows: &[(&str, String)]) -> String {
    rows.iter().map(|(name, text)| format!("{name:14}{text}\n")).collect()
}

fn create(args: &args::Webhook, forge: &AtForge, advice: &HookAdvice, secret: &str) -> Outcome {
    let client = forge.client(args.token_file.as_deref())?;
    let rights = advice.guide.map_or("", |guide| guide.rights);
    block_on(async {
        let put = client.put_hook(&advice.url, secret).await;
        let put = put.map_err(|error| refused(error, client.repository(), rights))?;
        let done = match put {
            Put::Created => "created",
            Put::Updated => "was there, and is set right",
        };
        anstream::println!("webhook of {} to {}: {done}", client.repository(), advice.url);
        anstream::println!("next: push, and look for 'a push was announced' in the daemon's log");
        Ok(ExitCode::SUCCESS)
    })
}

fn is_address(url: &str) -> bool {
    let uri: Option<http::Uri> = url.parse().ok();
    uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}
