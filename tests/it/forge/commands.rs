//! `fairlead webhook` and `fairlead rollback --open`, as people use them.

use std::fs;
use std::process::{Command, Output};

use super::fake::server::TOKEN;
use super::fake::{FakeForge, Kind, SECRET, SETTINGS};
use crate::e2e::config_map;

fn words(output: &Output) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!format!("{out}{error}").contains(TOKEN), "a token was printed");
    format!("{out}{error}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_prints_what_to_paste_and_creates_it_once() {
    for (kind, secret) in
        [(Kind::Github, SECRET), (Kind::Gitlab, SECRET), (Kind::Gitlab, "whsec_MDEyMzQ1Njc4OWFiY2RlZg==")]
    {
        let forge = FakeForge::new(kind, "hooks", None).await;
        fs::write(forge.secret("webhook"), secret).unwrap();
        let printed = forge.daemon.command(&["webhook"]);
        let text = words(&printed);
        assert!(printed.status.success(), "{text}");
        let name = if kind == Kind::Github { "github" } else { "gitlab" };
        let url = format!("https://fairlead.example.com/webhooks/{name}");
        assert!(
            text.contains(&url) && text.contains(&forge.secret("webhook").display().to_string()),
            "{text}"
        );
        assert!(!text.contains(secret), "{text}");
        let revealed = words(&forge.daemon.command(&["webhook", "--reveal-secret"]));
        assert!(revealed.contains(secret), "{revealed}");

        for done in ["created", "is set right"] {
            let output = forge.daemon.command(&["webhook", "--create"]);
            let text = words(&output);
            assert!(output.status.success() && text.contains(done), "{text}");
        }
        let hooks = forge.server.known().hooks.clone();
        assert_eq!(hooks.len(), 1);
        let hook = &hooks[0].1;
        let (at, given) = match (kind, secret.starts_with("whsec_")) {
            (Kind::Github, _) => (&hook["config"]["url"], &hook["config"]["secret"]),
            (Kind::Gitlab, false) => (&hook["url"], &hook["token"]),
            (Kind::Gitlab, true) => (&hook["url"], &hook["signing_token"]),
        };
        assert_eq!((at.as_str(), given.as_str()), (Some(&*url), Some(secret)));

        // A token that may not; one that nobody knows; none; a forge that is not there.
        fs::write(forge.secret("reader"), "a-token-that-may-only-read").unwrap();
        fs::write(forge.secret("unknown"), "a-token-that-nobody-knows").unwrap();
        fs::write(forge.secret("nothing"), "\n").unwrap();
        forge.server.known().readers.push("a-token-that-may-only-read".to_owned());
        for (file, code, says) in [
            ("reader", 3, "It needs: a token with"),
            ("unknown", 3, "the forge does not know the token"),
            ("nothing", 2, "the file is empty"),
            ("missing", 2, "cannot read the secret in"),
        ] {
            let path = forge.secret(file);
            let output =
                forge.daemon.command(&["webhook", "--create", "--token-file", path.to_str().unwrap()]);
            let text = words(&output);
            assert!(output.status.code() == Some(code) && text.contains(says), "{file}: {text}");
        }
        forge.assert_in_shape();
        assert_eq!(forge.server.known().hooks.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_says_what_is_missing_in_the_settings() {
    let forge = FakeForge::new(Kind::Github, "hooks", None).await;
    let good = fs::read_to_string(forge.daemon.config()).unwrap();
    let without = |key: &str| -> String {
        good.lines()
            .filter(|line| !line.trim_start().starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let (head, _) = good.split_once("forge:\n").unwrap();
    let nowhere = good.replace(&forge.server.address.to_string(), "127.0.0.1:9");
    for (settings, args, says) in [
        (head.to_owned(), &["webhook"][..], "names no forge"),
        (without("link:"), &["webhook"], "--url https://"),
        (without("webhookSecretFile:"), &["webhook"], "openssl rand -hex 32"),
        (without("tokenFile:"), &["webhook", "--create"], "--token-file names a file"),
        (good.clone(), &["webhook", "--url", "fairlead"], "is not an address"),
        (good.replace("link: https:", "link: ssh:"), &["webhook"], "link is not an address"),
        (nowhere, &["webhook", "--create"], "forge.url names the API's address"),
    ] {
        fs::write(forge.daemon.config(), &settings).unwrap();
        let output = forge.daemon.command(args);
        let text = words(&output);
        assert!(!output.status.success() && text.contains(says), "{says}: {text}");
    }
    // The generic one has nobody to ask, and prints how to sign.
    let generic = without("tokenFile:").replace("kind: github", "kind: generic");
    fs::write(forge.daemon.config(), generic).unwrap();
    let text = words(&forge.daemon.command(&["webhook"]));
    assert!(text.contains("X-Fairlead-Signature-256") && text.contains("/webhooks/generic"), "{text}");
    let text = words(&forge.daemon.command(&["webhook", "--create"]));
    assert!(text.contains("nothing can be asked of the forge generic"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollback_opens_the_pull_request_that_brings_the_fleet_back() {
    for kind in [Kind::Github, Kind::Gitlab] {
        let forge = FakeForge::new(kind, "rollback", None).await;
        let first = forge.push("First");
        forge.repo.write(SETTINGS, &config_map("shop", "settings", "2"));
        forge.push("Second");
        let rollback = |token: Option<&str>, base: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
            command.args([
                "rollback",
                "retail",
                "--open",
                "--reason",
                "checkout is broken",
                "--base",
                base,
                "--to",
            ]);
            command.arg(&first).arg("--config").arg(forge.daemon.config());
            if let Some(token) = token {
                command.arg("--token-file").arg(forge.secret(token));
            }
            command.arg("--repo").arg(forge.repo.clone_path()).output().unwrap()
        };
        // What can't end does not begin.
        forge.repo.git(&["branch", "other"]);
        for (token, base, says) in
            [(Some("missing"), "main", "cannot read the secret"), (None, "other", "--base main")]
        {
            let output = rollback(token, base);
            let text = words(&output);
            assert!(output.status.code() == Some(2) && text.contains(says), "{text}");
        }
        assert!(!forge.repo.git(&["branch", "--list", "rollback/*"]).contains("rollback"));

        let output = rollback(None, "main");
        let text = words(&output);
        assert!(output.status.success(), "{text}");
        let pull = forge.server.known().pulls[0].clone();
        assert_eq!(pull.branch, format!("rollback/retail-{}", &first[..7]));
        assert!(
            text.contains(&format!("/{}\n", pull.number)) && text.contains("pull request: https://"),
            "{text}"
        );
        let old = forge.repo.git(&["show", &format!("origin/{}:{SETTINGS}", pull.branch)]);
        assert_eq!(old, config_map("shop", "settings", "1"));

        // A token without rights: what was done, and what to do.
        forge.server.known().readers.push("a-token-that-may-only-read".to_owned());
        fs::write(forge.secret("reader"), "a-token-that-may-only-read").unwrap();
        forge.repo.git(&["branch", "-D", &pull.branch]);
        forge.repo.git(&["push", "--quiet", "origin", &format!(":{}", pull.branch)]);
        let output = rollback(Some("reader"), "main");
        let text = words(&output);
        assert!(output.status.code() == Some(3) && text.contains("may open pull requests"), "{text}");
        assert!(text.contains("is pushed"), "{text}");
        forge.assert_in_shape();
    }
}
