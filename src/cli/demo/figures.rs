//! What the daemon's own metrics say: requests to clusters by verb, drift that was put right.

use std::collections::BTreeMap;
use std::fmt;

/// Counters at one moment, or what was added between two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    requests: BTreeMap<String, u64>,
    healed: u64,
}

impl Figures {
    /// Out of the text of `/metrics`; what is not there is zero.
    pub fn read(metrics: &str) -> Self {
        let mut figures = Self::default();
        for line in metrics.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            // A counter may be written as a whole number or with a fraction of zero.
            let Ok(value) = value.trim_end_matches(".0").parse::<u64>() else { continue };
            if series == "fairlead_drift_healed_total" {
                figures.healed = value;
            }
            let labels = series.strip_prefix("fairlead_api_requests_total{");
            let verb = labels.and_then(|labels| labels.split("verb=\"").nth(1)?.split('"').next());
            if let Some(verb) = verb {
                *figures.requests.entry(verb.to_owned()).or_default() += value;
            }
        }
        figures
    }

    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let requests = self.requests.iter().map(|(verb, count)| {
            (verb.clone(), count.saturating_sub(before.requests.get(verb).copied().unwrap_or_default()))
        });
        Self {
            requests: requests.filter(|(_, count)| *count > 0).collect(),
            healed: self.healed.saturating_sub(before.healed),
        }
    }

    /// Objects put right.
    pub fn healed(&self) -> u64 {
        self.healed
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// `26 requests: 13 apply, 13 patch`; those that change something first.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FIRST: [&str; 5] = ["apply", "create", "patch", "update", "delete"];
        let total = self.requests();
        write!(f, "{total} {}", if total == 1 { "request" } else { "requests" })?;
        let rank = |verb: &str| FIRST.iter().position(|first| *first == verb).unwrap_or(FIRST.len());
        let mut by_verb: Vec<_> = self.requests.iter().filter(|(_, count)| **count > 0).collect();
        by_verb.sort_by_key(|(verb, _)| (rank(verb), verb.as_str()));
        for (number, (verb, count)) in by_verb.into_iter().enumerate() {
            write!(f, "{} {count} {verb}", if number == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE fairlead_api_requests counter
fairlead_api_requests_total{verb=\"apply\",code=\"200\"} 12
fairlead_api_requests_total{verb=\"apply\",code=\"201\"} 3
fairlead_api_requests_total{verb=\"watch\",code=\"200\"} 7
fairlead_drift_healed_total 1
process_cpu_seconds_total 0.25
# EOF
";

    #[test]
    fn codes_are_added_up_and_the_difference_names_what_came() {
        let before = Figures::read(TEXT);
        assert_eq!(before.to_string(), "22 requests: 15 apply, 7 watch");
        let later = TEXT.replace(" 12\n", " 13\n").replace("total 1\n", "total 4\n");
        let added = Figures::read(&later).since(&before);
        assert_eq!((added.to_string().as_str(), added.healed()), ("1 request: 1 apply", 3));
        assert_eq!(before.since(&before).to_string(), "0 requests");
        assert_eq!(Figures::read("nonsense\n\nx{y} z"), Figures::default());
    }
}
