//! Which addresses are allowed.

use super::super::{RepoError, RepositoryUrl};

fn parse(text: &str) -> Result<RepositoryUrl, RepoError> {
    text.parse()
}

#[test]
fn https_ssh_and_local_paths_are_allowed() {
    let remote = [
        ("https://git.example.com/platform/fleet.git", "git.example.com", 443, false),
        ("HTTPS://Git.Example.com:8443/fleet", "git.example.com", 8443, false),
        ("https://[2001:db8::1]:8443/fleet", "2001:db8::1", 8443, false),
        ("ssh://git@git.example.com/platform/fleet.git", "git.example.com", 22, true),
        ("ssh://git.example.com:2222/fleet.git", "git.example.com", 2222, true),
        ("git@git.example.com:platform/fleet.git", "git.example.com", 22, true),
        ("git.example.com:fleet", "git.example.com", 22, true),
        ("git@[2001:db8::1]:fleet", "2001:db8::1", 22, true),
    ];
    for (text, host, port, ssh) in remote {
        let url = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (url.host(), url.port(), url.is_ssh(), url.local()),
            (Some(host), Some(port), ssh, None),
            "{text}"
        );
        assert_eq!(url.to_string(), text);
    }
    for (text, path) in [
        ("/srv/fleet.git", "/srv/fleet.git"),
        ("./fleet", "./fleet"),
        (".", "."),
        ("fleet", "fleet"),
        ("file:///srv/fleet.git", "/srv/fleet.git"),
        ("../a:b/c", "../a:b/c"),
    ] {
        assert_eq!(parse(text).unwrap().local(), Some(std::path::Path::new(path)), "{text}");
    }
}

#[test]
fn the_path_that_a_server_gets_over_ssh_is_the_one_that_git_sends() {
    for (text, path) in [
        ("ssh://git@git.example.com/platform/fleet.git", "/platform/fleet.git"),
        ("ssh://git@git.example.com:2222/a%20b/it's.git", "/a b/it's.git"),
        ("ssh://git@git.example.com/~ann/fleet", "~ann/fleet"),
        ("git@git.example.com:platform/fleet.git", "platform/fleet.git"),
        ("git@git.example.com:/srv/fleet.git", "/srv/fleet.git"),
        ("git@git.example.com:~ann/fleet", "~ann/fleet"),
        ("git@git.example.com:/~ann/fleet", "~ann/fleet"),
        ("git@git.example.com:a%20b", "a%20b"),
    ] {
        assert_eq!(parse(text).unwrap().ssh_path().as_deref(), Some(path), "{text}");
    }
    assert_eq!(parse("https://git.example.com/fleet.git").unwrap().ssh_path(), None);
    for (text, user) in [
        ("ssh://ann@example.com@source.example.com:2022/p/fleet", "ann@example.com"),
        ("ssh://ann%40example.com@source.example.com/p/fleet", "ann@example.com"),
        ("ann+ci@git.example.com:fleet", "ann+ci"),
    ] {
        assert_eq!(parse(text).unwrap().user(), Some(user), "{text}");
    }
    for text in
        ["ssh://git.example.com/a%0ab", "ssh://git.example.com/%ff", "ssh://git.example.com/%2doption"]
    {
        assert_eq!(parse(text).unwrap_err().label(), "url-not-allowed", "{text}");
    }
}

#[test]
fn threat_git_url_tricks() {
    let tricks = [
        "",
        "-oProxyCommand=touch /tmp/x",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c 'touch /tmp/x'",
        "fd::17",
        "foo::https://example.com/x",
        "http://git.example.com/fleet",
        "git://git.example.com/fleet",
        "ftp://git.example.com/fleet",
        "file://",
        "gopher://git.example.com/fleet",
        "https://user:hunter2@git.example.com/fleet",
        "https://ghp_hunter2@git.example.com/fleet",
        "https://git.example.com",
        "https://git.example.com/",
        "https://git.example.com/fleet?token=hunter2",
        "https://git.example.com/fleet#x",
        "https:///fleet",
        "https://-host/fleet",
        "https://git.example.com:0/fleet",
        "https://git.example.com:99999/fleet",
        "https://git.example.com:/fleet",
        "https://[::1/fleet",
        "https://[git.example.com]/fleet",
        "https://git.example.com\\@evil.example/fleet",
        "ssh://-oProxyCommand=x/fleet",
        "ssh://git:hunter2@git.example.com/fleet",
        "ssh://-x@git.example.com/fleet",
        "ssh://%2dx@git.example.com/fleet",
        "ssh://git%3ahunter2@git.example.com/fleet",
        "ssh://a%0ab@git.example.com/fleet",
        "ssh://git@git.example.com/-upload",
        "git@-oProxyCommand=x:fleet",
        "git@git.example.com:-fleet",
        "git@git.example.com:",
        "git:hunter2@git.example.com:fleet",
        "https://git.example.com/fl\neet",
        "https://git.example.com/fleet ",
        "\u{7f}x",
        "https://git.example.com/fleet\0",
    ];
    for text in tricks {
        let error = parse(text).map(|url| format!("{url:?}")).unwrap_err();
        assert_eq!(error.label(), "url-not-allowed", "{text}");
        let shown = error.to_string();
        assert!(!shown.contains("hunter2") && !shown.chars().any(char::is_control), "{shown}");
    }
    assert!(parse(&format!("https://example.com/{}", "a".repeat(3_000))).is_err());
}

#[test]
fn http_is_allowed_only_where_it_is_asked_for() {
    let text = "http://gitea.gitea.svc:3000/platform/fleet.git";
    let error = parse(text).unwrap_err().to_string();
    assert!(error.contains("repository.plainHttp"), "{error}");
    let url = RepositoryUrl::parse(text, true).unwrap();
    assert_eq!((url.host(), url.port(), url.is_plain()), (Some("gitea.gitea.svc"), Some(3000), true));
    let url = RepositoryUrl::parse("http://gitea/x", true).unwrap();
    assert_eq!((url.port(), url.is_ssh(), url.local()), (Some(80), false, None));
    assert!(!RepositoryUrl::parse("https://gitea/x", true).unwrap().is_plain());
    for bad in ["http://user:hunter2@gitea/x", "http://gitea", "http://gitea/x?token=hunter2"] {
        let error = RepositoryUrl::parse(bad, true).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
