//! GitHub and GitLab, held to the shapes of their public API documents.

use std::fs;
use std::time::Duration;

use super::fake::server::{TOKEN, Trouble};
use super::fake::{FakeForge, Kind, SETTINGS};
use crate::e2e::config_map;
use crate::world::eventually;

const SOON: Duration = Duration::from_secs(60);

fn states(told: &[super::fake::server::Told]) -> Vec<&str> {
    told.iter().map(|told| told.state.as_str()).collect()
}

async fn the_way_of_a_change(kind: Kind) {
    let mut forge = FakeForge::new(kind, "shapes", None).await;
    let [pending, success, failure, _] = kind.words();
    let first = forge.push("First");
    forge.daemon.start();
    let told = forge.expect_status(&first, "retail", success).await;
    // Only the newest is said: where a second must be between two writes, what was pending may be over by then.
    assert!(states(&told).iter().rev().skip(1).all(|state| *state == pending), "{told:#?}");
    let last = told.last().unwrap();
    assert_eq!(
        (last.context.as_str(), last.description.as_str()),
        ("fairlead/shapes/retail", "1 of 1 converged")
    );
    let link = format!("https://fairlead.example.com/fleets/retail/rollouts/{first}");
    assert_eq!(last.link.as_deref(), Some(&*link));
    forge.wait_until_up().await;
    let page = forge.daemon.command(&["rollout", "history", "retail"]);
    assert!(page.status.success());

    // A pull request, as a draft: checked, and commented once.
    forge.repo.write(SETTINGS, &config_map("shop", "settings", "2"));
    let (pull, head) = forge.open_pull_request("change", true).await;
    let told = forge.expect_status(&head, "validate", success).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].link.as_deref(), Some(&*format!("https://fairlead.example.com/pulls/{pull}")));
    let note = forge.expect_comment(pull, "1 of 1 target would change").await;
    assert!(note.body.starts_with("<!-- fairlead:shapes:plan -->"), "{}", note.body);
    // The page behind the link shows the same, from the daemon.
    let view = forge.daemon.get(&format!("/api/v1/pulls/{pull}"));
    assert_eq!(
        (view["commit"].as_str(), &view["noPlan"]),
        (Some(&*head), &serde_json::Value::Null),
        "{view:#}"
    );
    assert!(view["text"].as_str().unwrap().contains("+  value: '2'"), "{view:#}");

    // Somebody writes our marker, and is not taken for us; a mistake edits the one comment.
    let id = forge.server.known().id();
    let body = "<!-- fairlead:shapes:plan -->\nAll is well.".to_owned();
    let theirs =
        super::fake::server::Note { id, pull, author: "mallory".into(), body: body.clone(), edits: 0 };
    forge.server.known().notes.insert(0, theirs);
    forge.repo.write("clusters/edge-002.yaml", "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarge\n");
    let (_, head) = forge.open_pull_request("change", false).await;
    let told = forge.expect_status(&head, "validate", failure).await;
    assert!(told[0].description.contains("clusters/edge-002.yaml:1:"), "{told:#?}");
    let edited = forge.expect_comment(pull, "clusters/edge-002.yaml:2:7: ").await;
    assert_eq!((edited.id, edited.edits), (note.id, 1), "{edited:#?}");
    assert!(forge.server.known().notes.iter().any(|note| note.author == "mallory" && note.body == body));

    // Mended and merged: the last line.
    forge.repo.remove("clusters/edge-002.yaml");
    let (_, head) = forge.open_pull_request("change", false).await;
    forge.expect_status(&head, "validate", success).await;
    // Nobody tells a daemon that is down; it finds out when it is back.
    if kind == Kind::Gitlab {
        forge.daemon.kill();
    }
    let merged = forge.merge(pull).await;
    if kind == Kind::Gitlab {
        forge.daemon.start();
    }
    forge.expect_status(&merged, "retail", success).await;
    let last = forge.expect_comment(pull, "- fleet retail: 1 of 1 converged").await;
    assert_eq!(last.id, note.id);
    assert!(last.body.contains(&format!("**Merged as {}**", &merged[..7])), "{}", last.body);
    forge.assert_in_shape();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn github_is_asked_as_its_documents_say() {
    the_way_of_a_change(Kind::Github).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gitlab_is_asked_as_its_documents_say() {
    the_way_of_a_change(Kind::Gitlab).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_signs_in_by_its_key_and_annotates_lines() {
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("app.pem");
    let pem = include_str!("../../../src/forge/testdata/app-key.pem");
    fs::write(&key, pem).unwrap();
    let app = format!("  app: {{id: Iv23fake, installation: 77, privateKeyFile: {}}}\n", key.display());
    let mut forge = FakeForge::new(Kind::Github, "app", Some(&app)).await;
    forge.server.known().app_key = Some(public_key(pem));
    let first = forge.push("First");
    forge.daemon.start();
    forge.expect_status(&first, "retail", "success").await;
    forge.wait_until_up().await;
    assert_eq!(forge.server.known().given, 1, "one token does for all");

    forge.repo.write("clusters/edge-002.yaml", "apiVersion: fairlead.dev/v1alpha1\nkind: ClusterTarge\n");
    let (pull, head) = forge.open_pull_request("mistake", false).await;
    forge.expect_status(&head, "validate", "failure").await;
    forge.expect_comment(pull, "clusters/edge-002.yaml:2:7: ").await;
    let run = eventually("the findings are at their lines", SOON, async || {
        forge.server.known().check_runs.first().cloned().ok_or("no check run".to_owned())
    })
    .await;
    assert_eq!(
        (run["name"].as_str(), run["head_sha"].as_str()),
        (Some("fairlead/app/findings"), Some(&*head))
    );
    assert_eq!(run["conclusion"], "failure");
    let annotation = &run["output"]["annotations"][0];
    assert_eq!(
        (annotation["path"].as_str(), annotation["annotation_level"].as_str()),
        (Some("clusters/edge-002.yaml"), Some("failure"))
    );
    assert!(annotation["start_line"].as_u64().is_some_and(|line| line > 0), "{annotation:#}");

    // The token is withdrawn: the next request asks for another.
    forge.server.known().tokens.retain(|token| !token.starts_with("ghs_"));
    forge.repo.remove("clusters/edge-002.yaml");
    let second = forge.push("Second");
    forge.expect_status(&second, "validate", "success").await;
    assert!(forge.server.known().given >= 2);
    assert_eq!(forge.server.known().check_runs.len(), 1);
    forge.assert_in_shape();
    assert!(!forge.daemon.log().contains("ghs_"));
}

/// Of a private key, as the forge has it.
fn public_key(pem: &str) -> Vec<u8> {
    use ring::signature::KeyPair as _;
    use rustls::pki_types::pem::PemObject as _;
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let pair = match &key {
        rustls::pki_types::PrivateKeyDer::Pkcs1(key) => {
            ring::signature::RsaKeyPair::from_der(key.secret_pkcs1_der())
        }
        key => ring::signature::RsaKeyPair::from_pkcs8(key.secret_der()),
    };
    pair.unwrap().public_key().as_ref().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_limits_and_unknown_commits_end_with_the_right_statuses_and_no_flood() {
    let mut forge = FakeForge::new(Kind::Github, "outage", None).await;
    forge.server.known().trouble = Some(Trouble::Down);
    let first = forge.push("First");
    forge.daemon.start();
    forge.wait_until_up().await;
    // The rollouts do not wait for the forge.
    let mut last = first.clone();
    for value in 2..=6 {
        let accepted = |status: &serde_json::Value| status["fleets"][0]["accepted"] == *last;
        forge.daemon.until("it converged without the forge", SOON, accepted).await;
        forge.repo.write(SETTINGS, &config_map("shop", "settings", &value.to_string()));
        last = forge.push(&format!("Number {value}"));
    }
    let accepted = |status: &serde_json::Value| status["fleets"][0]["accepted"] == *last;
    forge.daemon.until("it converged without the forge", SOON, accepted).await;
    let writes = |forge: &FakeForge, status: u16| {
        let known = forge.server.known();
        known.asked.iter().filter(|(_, line, found)| line.starts_with("POST") && *found == status).count()
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    let while_down = writes(&forge, 503);
    assert!((1..=20).contains(&while_down), "{while_down} writes at a forge that is down");
    assert!(forge.server.known().told.is_empty());

    // Killed with all of it still to be said; then the forge asks for patience; and one commit is gone.
    forge.daemon.kill();
    forge.server.known().trouble = Some(Trouble::Limited(4));
    forge.server.known().commits.retain(|commit| *commit != first);
    forge.daemon.start();
    let patience = |forge: &FakeForge| {
        let known = forge.server.known();
        let limited =
            known.asked.iter().filter(|(_, line, status)| *status == 429 && line.starts_with("POST"));
        limited.map(|(at, ..)| *at).collect::<Vec<_>>()
    };
    eventually("the limit was met twice", SOON, async || match patience(&forge).len() {
        0 | 1 => Err("not yet".to_owned()),
        _ => Ok(()),
    })
    .await;
    let met = patience(&forge);
    assert!(met[1] - met[0] >= Duration::from_secs(4), "retry-after was not obeyed: {:?}", met[1] - met[0]);
    forge.server.known().trouble = None;

    let told = forge.expect_status(&last, "retail", "success").await;
    assert_eq!(told.len(), 1, "only the newest is said: {told:#?}");
    forge.expect_status(&last, "validate", "success").await;
    assert!(
        forge.told(&first, "retail").is_empty(),
        "the commit is gone, and so is what was to be said of it"
    );
    eventually("nothing waits any more", SOON, async || {
        let commits = forge.server.known().commits.clone();
        match commits.iter().all(|commit| !forge.told(commit, "retail").is_empty()) {
            true => Ok(()),
            false => Err(format!("{:#?}", forge.server.known().told)),
        }
    })
    .await;
    // A second between writes, as GitHub asks.
    let known = forge.server.known();
    let written: Vec<_> =
        known.asked.iter().filter(|(_, line, status)| line.starts_with("POST") && *status == 201).collect();
    for pair in written.windows(2) {
        let between = pair[1].0 - pair[0].0;
        assert!(between >= Duration::from_millis(900), "{between:?} between two writes");
    }
    drop(known);
    forge.assert_in_shape();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_replaced_is_read_again() {
    let mut forge = FakeForge::new(Kind::Gitlab, "rotated", None).await;
    let first = forge.push("First");
    forge.daemon.start();
    forge.expect_status(&first, "retail", "success").await;
    forge.server.known().tokens = vec!["another-token-of-the-forge".to_owned()];
    fs::write(forge.secret("token"), "another-token-of-the-forge\n").unwrap();
    forge.repo.write(SETTINGS, &config_map("shop", "settings", "2"));
    let second = forge.push("Second");
    forge.expect_status(&second, "retail", "success").await;
    let known = forge.server.known();
    assert!(known.asked.iter().all(|(_, _, status)| *status != 401), "the old token was sent");
    drop(known);
    assert!(!forge.daemon.log().contains(TOKEN));
    forge.assert_in_shape();
}
