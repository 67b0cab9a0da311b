//! What a real forge makes of foreign text in a comment.

use fairlead_core::plan::offline::foreign;
use serde_json::json;

use super::gitea::{Gitea, OWNER};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_text_becomes_no_reference_mention_link_or_mark_up() {
    let gitea = Gitea::start().await;
    gitea.must("POST", "/user/repos", json!({"name": "fleet", "auto_init": true}), 201).await;
    gitea.must("POST", &format!("/repos/{OWNER}/fleet/issues"), json!({"title": "an issue"}), 201).await;
    let commits = gitea.get(&format!("/repos/{OWNER}/fleet/commits")).await;
    let commit = commits[0]["sha"].as_str().unwrap().to_owned();
    let hostile = [
        format!("@{OWNER}"),
        "#1".to_owned(),
        "!1".to_owned(),
        format!("{OWNER}/fleet#1"),
        format!("{OWNER}/fleet@{commit}"),
        commit.clone(),
        commit[..10].to_owned(),
        "https://evil.example/x".to_owned(),
        "www.evil.example".to_owned(),
        "mallory@evil.example".to_owned(),
        "[click](https://evil.example)".to_owned(),
        "![](https://evil.example/x.png)".to_owned(),
        "<img src=https://evil.example/x.png> <h1>x</h1>".to_owned(),
        "`@platform` ``#1`` ```".to_owned(),
        "`".to_owned(),
        "a`\n\n@platform\n\n`#1".to_owned(),
        "| x | @platform |".to_owned(),
        "&#64;platform &commat;platform".to_owned(),
        ":tada: **bold** ~~no~~ $x$".to_owned(),
    ];
    // As they are, some of them are alive: else the test would tell nothing.
    let alive = render(&gitea, &format!("@{OWNER} #1 https://evil.example/x")).await;
    assert!(alive.matches("<a ").count() == 3, "{alive}");
    for text in hostile {
        for body in [format!("- **error** {}\n", foreign(&text)), format!("### {}\n\nend", foreign(&text))] {
            let html = render(&gitea, &body).await;
            let heading = html.replace("<h3 id=", "").matches("<h1").count();
            let lives = ["<a ", "<img", "<h2", "<table", "<em", "<del", "class=\"emoji\""];
            // A heading has a link of its own to itself in some versions.
            let found: Vec<_> = lives
                .iter()
                .filter(|tag| html.contains(**tag) && !html.contains("class=\"anchor\""))
                .collect();
            assert!(found.is_empty() && heading == 0, "{text}: {found:?}\n{body}\n{html}");
        }
    }
}

async fn render(gitea: &Gitea, text: &str) -> String {
    let asked = json!({"Text": text, "Mode": "comment", "Context": format!("{OWNER}/fleet"), "Wiki": false});
    let answer = gitea.api("POST", "/markdown", asked).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}
