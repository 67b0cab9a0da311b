//! Which address goes through which proxy.

use std::collections::HashMap;

use http::Uri;

use crate::Proxies;
use crate::proxy::{Kind, Proxy};

fn proxies(variables: &[(&str, &str)]) -> Proxies {
    let variables: HashMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Proxies::read(|name| variables.get(name).cloned())
}

/// The proxy of an address as errors show it, or why there is none.
fn of(variables: &[(&str, &str)], address: &str) -> Result<Option<String>, String> {
    let proxy = proxies(variables).of(&address.parse::<Uri>().unwrap());
    proxy.map(|proxy| proxy.map(|proxy| proxy.to_string())).map_err(|error| error.to_string())
}

#[test]
fn the_first_variable_that_is_set_counts() {
    let https = "https://git.example.com/x";
    type Case = (&'static [(&'static str, &'static str)], &'static str, Option<&'static str>);
    let cases: &[Case] = &[
        (&[], https, None),
        (&[("HTTPS_PROXY", "http://a:1")], https, Some("a:1 (HTTPS_PROXY)")),
        (&[("https_proxy", "http://a:1")], https, Some("a:1 (https_proxy)")),
        (&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:1")], https, Some("a:1 (HTTPS_PROXY)")),
        (&[("HTTPS_PROXY", " "), ("https_proxy", "http://b:1")], https, Some("b:1 (https_proxy)")),
        (&[("ALL_PROXY", "http://a:1")], https, Some("a:1 (ALL_PROXY)")),
        (&[("all_proxy", "socks5://a")], https, Some("a:1080 (all_proxy)")),
        (&[("ALL_PROXY", "http://a:1"), ("https_proxy", "http://b:1")], https, Some("b:1 (https_proxy)")),
        (&[("HTTP_PROXY", "http://a:1")], https, None),
        (&[("HTTPS_PROXY", "http://a:1")], "http://git.example.com/x", None),
        (&[("HTTP_PROXY", "http://a:1")], "http://git.example.com/x", Some("a:1 (HTTP_PROXY)")),
        (&[("ALL_PROXY", "http://a:1")], "http://git.example.com/x", Some("a:1 (ALL_PROXY)")),
        // Not NO_PROXY's own address, but the one that is connected to.
        (&[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "a")], https, Some("a:1 (HTTPS_PROXY)")),
        (&[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "example.com")], https, None),
        (&[("HTTPS_PROXY", "http://a:1"), ("no_proxy", "example.com")], https, None),
        (&[("HTTPS_PROXY", "nonsense://a:1"), ("NO_PROXY", "example.com")], https, None),
    ];
    for (variables, address, wanted) in cases {
        assert_eq!(of(variables, address), Ok(wanted.map(str::to_owned)), "{variables:?} {address}");
    }
}

#[test]
fn no_proxy_takes_every_usual_form() {
    let cases = [
        ("example.com", "https://example.com", true),
        ("example.com", "https://EXAMPLE.com:6443", true),
        ("example.com", "https://git.example.com", true),
        ("example.com", "https://notexample.com", false),
        ("example.com", "https://example.com.evil.org", false),
        (".example.com", "https://git.example.com", true),
        (".example.com", "https://example.com", true),
        ("*.example.com", "https://git.example.com", true),
        ("*.example.com", "https://gitexample.com", false),
        ("example.com.", "https://example.com", true),
        ("example.com", "https://example.com.", true),
        ("Example.COM", "https://example.com", true),
        ("example.com:6443", "https://example.com:6443", true),
        ("example.com:443", "https://example.com", true),
        ("example.com:6443", "https://example.com", false),
        (".example.com:6443", "https://a.example.com:6443", true),
        ("10.0.0.1", "https://10.0.0.1", true),
        ("10.0.0.1", "https://10.0.0.11", false),
        ("10.0.0.1:6443", "https://10.0.0.1:6443", true),
        ("10.0.0.1:6443", "https://10.0.0.1:443", false),
        ("10.0.0.0/8", "https://10.200.3.4:6443", true),
        ("10.1.2.3/8", "https://10.200.3.4", true),
        ("10.0.0.0/8", "https://11.0.0.1", false),
        ("10.0.0.0/8", "https://ten.example.com", false),
        ("10.0.0.0/33", "https://10.0.0.0", false),
        ("0.0.0.0/0", "https://192.0.2.1", true),
        ("0.0.0.0/0", "https://[2001:db8::1]", false),
        ("::/0", "https://[2001:db8::1]", true),
        ("::1", "https://[::1]:6443", true),
        ("[::1]", "https://[::1]:6443", true),
        ("[::1]:6443", "https://[::1]:6443", true),
        ("[::1]:6443", "https://[::1]", false),
        ("2001:db8::/32", "https://[2001:db8:1::5]", true),
        ("[2001:db8::]/32", "https://[2001:db8:1::5]", true),
        ("2001:db8::/32", "https://[2001:db9::5]", false),
        ("::ffff:10.0.0.1", "https://10.0.0.1", true),
        ("10.0.0.1", "https://[::ffff:10.0.0.1]", true),
        ("::ffff:10.0.0.0/104", "https://10.9.9.9", true),
        ("localhost", "https://localhost:6443", true),
        ("localhost", "https://a.localhost", true),
        ("localhost", "https://127.0.0.1", true),
        ("localhost", "https://[::1]", true),
        ("127.0.0.1", "https://localhost", false),
        ("*", "https://example.com", true),
        ("*", "https://10.0.0.1", true),
        ("*", "https://[::1]", true),
        ("a.org, example.com", "https://example.com", true),
        ("a.org example.com", "https://example.com", true),
        ("a.org,,example.com,", "https://example.com", true),
        ("a.org,*", "https://example.com", true),
        ("", "https://example.com", false),
        (",", "https://example.com", false),
        (".", "https://example.com", false),
        ("com", "https://example.com", true),
        ("example.com:http", "https://example.com", false),
        ("[", "https://example.com", false),
    ];
    for (none_for, address, direct) in cases {
        let found = of(&[("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", none_for)], address).unwrap();
        assert_eq!(found.is_none(), direct, "NO_PROXY={none_for:?} {address}");
    }
}

#[test]
fn a_proxys_address_is_read_as_people_write_it_and_shown_without_its_login() {
    let cases = [
        ("http://proxy.corp:3128", "proxy.corp:3128 (HTTPS_PROXY)", Kind::Http, None),
        ("http://proxy.corp:3128/", "proxy.corp:3128 (HTTPS_PROXY)", Kind::Http, None),
        ("proxy.corp:3128", "proxy.corp:3128 (HTTPS_PROXY)", Kind::Http, None),
        ("//proxy.corp:3128", "proxy.corp:3128 (HTTPS_PROXY)", Kind::Http, None),
        ("127.0.0.1:16996", "127.0.0.1:16996 (HTTPS_PROXY)", Kind::Http, None),
        ("proxy", "proxy:80 (HTTPS_PROXY)", Kind::Http, None),
        (" HTTP://Proxy:80 ", "proxy:80 (HTTPS_PROXY)", Kind::Http, None),
        ("https://proxy.corp", "proxy.corp:443 (HTTPS_PROXY)", Kind::Https, None),
        ("socks5://proxy.corp", "proxy.corp:1080 (HTTPS_PROXY)", Kind::Socks5, None),
        ("socks5h://[::1]:9", "[::1]:9 (HTTPS_PROXY)", Kind::Socks5, None),
        ("http://u:p%40ss%2f@proxy:3128", "proxy:3128 (HTTPS_PROXY)", Kind::Http, Some(("u", "p@ss/"))),
        ("u:p@proxy:3128", "proxy:3128 (HTTPS_PROXY)", Kind::Http, Some(("u", "p"))),
        ("http://u@proxy:3128", "proxy:3128 (HTTPS_PROXY)", Kind::Http, Some(("u", ""))),
        // Not as it should be written, and there is only one way to mean it.
        ("http://u:p@ss/word@proxy:3128", "proxy:3128 (HTTPS_PROXY)", Kind::Http, Some(("u", "p@ss/word"))),
    ];
    for (text, shown, kind, login) in cases {
        let proxy = Proxy::read("HTTPS_PROXY", text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let found = proxy.login.as_ref().map(|login| (&*login.user, &*login.password));
        assert_eq!((&*proxy.to_string(), proxy.kind, found), (shown, kind, login), "{text}");
    }
    for bad in [
        "http://",
        "http://:3128",
        "http://proxy:x",
        "http://proxy:0",
        "http://proxy:99999",
        "http://[::1",
        "http://u:hunter2@",
        "http://u:hunter2@a b:1",
        "ftp://u:hunter2@proxy",
        "socks4://proxy:1",
        "http://[zz]:1",
    ] {
        let error = Proxy::read("proxy-url in /etc/a.yaml", bad)
            .err()
            .unwrap_or_else(|| panic!("{bad} passes"))
            .to_string();
        assert!(
            error.starts_with("proxy-url in /etc/a.yaml ") && !error.contains("hunter2"),
            "{bad}: {error}"
        );
    }
    let kinds = Proxy::read("ALL_PROXY", "socks4://proxy:1").err().unwrap().to_string();
    assert_eq!(
        kinds,
        "ALL_PROXY names a proxy of the kind 'socks4', which is not supported; http://, https:// and socks5:// are"
    );
}
