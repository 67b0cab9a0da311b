//! Cluster roles that are made of others.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cluster::{Inner, State};
use crate::kind::{Kind, built_in};
use crate::object::Key;
use crate::selector::Selector;
use crate::write::{self, Intent};

const MANAGER: &str = "clusterrole-aggregation-controller";

/// A cluster role was written or has gone: each role that gathers others gathers anew.
pub fn gather(cluster: &Inner, state: &mut State) {
    let Some(kind) = built_in("rbac.authorization.k8s.io", "ClusterRole") else { return };
    let roles: Vec<Value> = state.store.all(&kind.resource).map(|object| object.value()).collect();
    for role in roles.iter().filter(|role| role.get("aggregationRule").is_some_and(Value::is_object)) {
        let rules = rules_of(role, &roles);
        if role["rules"].as_array().map(Vec::as_slice).unwrap_or_default() != rules.as_slice() {
            set_rules(cluster, state, kind, role, rules);
        }
    }
}

/// The rules of the roles that a role selects, each once, by the names of the roles.
fn rules_of(role: &Value, roles: &[Value]) -> Vec<Value> {
    let mut rules: Vec<Value> = Vec::new();
    for selector in role["aggregationRule"]["clusterRoleSelectors"].as_array().into_iter().flatten() {
        let text = crate::scale::selector_text(selector);
        // An empty selector takes all; none is written so.
        let Ok(selector) = Selector::parse(&text) else { continue };
        let others = roles.iter().filter(|other| other["metadata"]["name"] != role["metadata"]["name"]);
        for other in others.filter(|other| selector.fits(other)) {
            for rule in other["rules"].as_array().into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}

/// As the controller does: a server-side apply of the rules alone, by force.
fn set_rules(cluster: &Inner, state: &mut State, kind: &Arc<Kind>, role: &Value, rules: Vec<Value>) {
    let name = role["metadata"]["name"].as_str().unwrap_or_default();
    if state.store.get(&kind.resource, &Key::new("", name)).is_none() {
        return;
    }
    let config = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name}, "rules": rules});
    write::apply_by(cluster, state, kind, name, &config, &Intent::by(MANAGER));
}
