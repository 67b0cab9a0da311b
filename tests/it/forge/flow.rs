//! The whole way on a real forge with a real cluster.

use super::http::Http;
use super::world::World;
use crate::e2e::{SOON, config_map, deployment, namespace, target, value};
use crate::harness::{FAIL_ANNOTATION, shared};

const SETTINGS: &str = "profiles/app/app/settings.yaml";
const WEB: &str = "profiles/app/app/web.yaml";

fn states(told: &[(String, String)]) -> Vec<&str> {
    told.iter().map(|(state, _)| state.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_applied_and_told_a_bad_one_goes_back_and_a_revert_is_told_too() {
    let plane = shared("alpha").await.unwrap();
    let ns = "forge-flow";
    let mut world = World::new(plane, ns).await;
    let first = world
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write(SETTINGS, &config_map(ns, "settings", "1"))
        .write(WEB, &deployment(ns, "web", 1, ""))
        .push("First");
    world.daemon.start();
    world.wait_until_up().await;
    world.add_webhook();
    let told = world.expect_status(&first, "retail", "success").await;
    // Pending first, unless it converged before that could be sent: only the newest word is kept.
    assert!(states(&told).iter().rev().skip(1).all(|state| *state == "pending"), "{told:?}");
    assert_eq!(told.last().unwrap().1, "1 of 1 converged");
    assert_eq!(world.expect_status(&first, "validate", "success").await.len(), 1);

    // A push, heard of by the webhook alone.
    let second = world.repo.write(SETTINGS, &config_map(ns, "settings", "2")).push("Second");
    let told = world.expect_status(&second, "retail", "success").await;
    assert!(states(&told).iter().rev().skip(1).all(|state| *state == "pending"), "{told:?}");
    assert_eq!(value(plane, ns, "settings").await.as_deref(), Some("2"));

    let readme = world.repo.write("README.md", "# Fleet\n").push("A README");
    let told = world.expect_status(&readme, "retail", "success").await;
    assert_eq!(told.last().unwrap().1, "no cluster affected");

    // A commit that does not validate, and one that does and fails.
    let invalid = world.repo.write(SETTINGS, "data: {value: [}\n").push("Invalid");
    let told = world.expect_status(&invalid, "validate", "failure").await;
    assert!(told.last().unwrap().1.contains("1 error: profiles/app/app/settings.yaml:1:"), "{told:?}");
    world.expect_status(&invalid, "retail", "failure").await;
    let crash = format!("{FAIL_ANNOTATION}: crash");
    let bad = world
        .repo
        .write(SETTINGS, &config_map(ns, "settings", "3"))
        .write(WEB, &deployment(ns, "web", 1, &crash))
        .push("Bad");
    let told = world.expect_status(&bad, "retail", "failure").await;
    let last = &told.last().unwrap().1;
    assert!(last.starts_with("1 of 1 failed: edge-001 "), "{told:?}");
    assert!(last.contains("Deployment forge-flow/web"), "{told:?}");
    assert!(last.contains("; back to "), "{told:?}");
    assert_eq!(states(&told)[0], "pending", "{told:?}");

    world.repo.revert(&bad);
    let reverted = world.repo.write(SETTINGS, &config_map(ns, "settings", "2")).push("And the invalid one");
    let told = world.expect_status(&reverted, "retail", "success").await;
    assert!(!told.is_empty());
    assert_eq!(value(plane, ns, "settings").await.as_deref(), Some("2"));
    // Links lead to the daemon.
    let statuses = world.gitea.get(&world.at(&format!("/commits/{first}/statuses"))).await;
    let link = format!("http://{}/fleets/retail/rollouts/{first}", world.address());
    assert!(statuses.as_array().unwrap().iter().any(|status| status["target_url"] == *link), "{statuses:#}");
    let page = Http::new().send("GET", &link, &[], "").await.unwrap();
    assert!(page.status == 200 && page.body.contains("1 of 1 converged"), "{}", page.body);

    // The words of a person who may not, and of one who goes back by command.
    let stranger = world.gitea.add_user("mallory").await;
    let token = world.secret("stranger", &stranger);
    let output = world.daemon.command(&["webhook", "--create", "--token-file", token.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(3) && text.contains("It needs: a token with write:repository"),
        "{text}"
    );
    let hooks = world.gitea.get(&world.at("/hooks")).await;
    assert_eq!(hooks.as_array().map(Vec::len), Some(1), "{hooks:#}");
    let mut back = std::process::Command::new(env!("CARGO_BIN_EXE_fairlead"));
    back.args(["rollback", "retail", "--open", "--to", &first, "--config"]).arg(world.daemon.config());
    // It would win over the settings of the clone.
    back.arg("--repo").arg(world.repo.clone_path()).env_remove("GIT_SSL_CAINFO");
    let output = back.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let link = text.lines().find_map(|line| line.strip_prefix("pull request: ")).unwrap();
    let pulls = world.gitea.get(&world.at("/pulls")).await;
    assert_eq!(pulls[0]["html_url"], link, "{pulls:#}");
    world.expect_status(pulls[0]["head"]["sha"].as_str().unwrap(), "validate", "success").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_told_in_the_end_though_the_forge_was_down_and_the_daemon_killed() {
    let plane = shared("alpha").await.unwrap();
    let ns = "forge-outage";
    let mut world = World::new(plane, ns).await;
    world.settings("1s");
    let first = world
        .repo
        .write("profiles/app/app/namespace.yaml", &namespace(ns))
        .write(WEB, &deployment(ns, "web", 1, ""))
        .push("First");
    world.daemon.start();
    world.expect_status(&first, "retail", "success").await;

    let unready = format!("{FAIL_ANNOTATION}: unready");
    let bad = world.repo.write(WEB, &deployment(ns, "web", 1, &unready)).push("Never ready");
    world.expect_status(&bad, "retail", "pending").await;
    world.gitea.stop();
    // The rollout does not wait for the forge: it fails, and goes back.
    world
        .daemon
        .until("the fleet went back", SOON, |status| {
            let fleet = &status["fleets"][0];
            fleet["state"] == "failed" && target(status, "edge-001")["converged"]["commit"] == *first
        })
        .await;
    world.daemon.kill();
    world.daemon.start();
    world.daemon.until("it is back", SOON, |status| status["fleets"][0]["state"] == "failed").await;
    world.gitea.resume().await;
    let told = world.expect_status(&bad, "retail", "failure").await;
    assert_eq!(states(&told), ["pending", "failure"], "{told:?}");
    assert!(told[1].1.ends_with(&format!("; back to {}", &first[..7])), "{told:?}");

    let fixed = world.repo.write(WEB, &deployment(ns, "web", 2, "")).push("Fixed");
    world.expect_status(&fixed, "retail", "success").await;
    // Nothing was said twice.
    assert_eq!(world.told(&first, "retail").await.len(), 2);
    assert_eq!(states(&world.told(&bad, "retail").await), ["pending", "failure"]);
}
