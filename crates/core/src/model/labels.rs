//! Labels and Kubernetes label selectors.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub type Labels = BTreeMap<String, String>;

/// A Kubernetes label selector: all of its terms must hold. One without terms selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelSelector {
    /// Labels that must be there with exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: Labels,
    /// Further terms on single labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelTerm>,
}

/// One term of a label selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelTerm {
    pub key: String,
    pub operator: LabelOperator,
    /// Required for `In` and `NotIn`, absent for `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|term| term.matches(labels))
    }
}

impl LabelTerm {
    /// As in Kubernetes: `NotIn` holds for a label that is absent.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            LabelOperator::In => value.is_some_and(|v| self.values.contains(v)),
            LabelOperator::NotIn => !value.is_some_and(|v| self.values.contains(v)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equal = self.match_labels.iter().map(|(k, v)| format!("{k}={v}"));
        let terms: Vec<_> = equal.chain(self.match_expressions.iter().map(LabelTerm::to_string)).collect();
        f.write_str(if terms.is_empty() { "everything" } else { "" })?;
        f.write_str(&terms.join(","))
    }
}

impl fmt::Display for LabelTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.join(",");
        match self.operator {
            LabelOperator::In => write!(f, "{} in ({values})", self.key),
            LabelOperator::NotIn => write!(f, "{} notin ({values})", self.key),
            LabelOperator::Exists => write!(f, "{}", self.key),
            LabelOperator::DoesNotExist => write!(f, "!{}", self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_as_in_kubernetes() {
        use LabelOperator::*;
        let labels = Labels::from([("region".into(), "eu".into()), ("ring".into(), "canary".into())]);
        let term = |key: &str, operator, values: &[&str]| LabelSelector {
            match_expressions: vec![LabelTerm {
                key: key.into(),
                operator,
                values: values.iter().map(|v| (*v).to_owned()).collect(),
            }],
            ..LabelSelector::default()
        };
        let table = [
            (LabelSelector::default(), true),
            (LabelSelector { match_labels: labels.clone(), match_expressions: vec![] }, true),
            (term("region", In, &["us", "eu"]), true),
            (term("region", NotIn, &["eu"]), false),
            (term("zone", In, &["eu"]), false),
            (term("zone", NotIn, &["eu"]), true),
            (term("ring", Exists, &[]), true),
            (term("ring", DoesNotExist, &[]), false),
        ];
        for (selector, expected) in table {
            assert_eq!(selector.matches(&labels), expected, "{selector}");
        }
    }
}
