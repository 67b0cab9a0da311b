//! What was measured, as a table and as JSON.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::harness::{Context, Result};

#[derive(Serialize)]
pub struct Figure {
    /// As the benchmarks' page names it; empty: none.
    scenario: &'static str,
    name: String,
    unit: &'static str,
    samples: Vec<f64>,
    goal: Option<Goal>,
}

#[derive(Serialize)]
struct Goal {
    text: String,
    met: bool,
}

#[derive(Default)]
pub struct Figures {
    rows: Vec<Figure>,
    scenario: &'static str,
}

impl Figures {
    /// What is added from now on belongs to this scenario.
    pub fn scenario(&mut self, name: &'static str) {
        self.scenario = name;
    }

    /// Adds a figure, whose goal can be set.
    pub fn add(&mut self, name: &str, unit: &'static str, samples: Vec<f64>) -> &mut Figure {
        let at = self.rows.len();
        self.rows.push(Figure { scenario: self.scenario, name: name.to_owned(), unit, samples, goal: None });
        &mut self.rows[at]
    }

    pub fn print(&self) {
        println!("| what | unit | samples | min | median | p99 | max | goal | met |");
        println!("|---|---|---|---|---|---|---|---|---|");
        for figure in &self.rows {
            let sorted = sorted(&figure.samples);
            let [min, median, p99, max] = [0.0, 0.5, 0.99, 1.0].map(|part| short(at(&sorted, part)));
            let (goal, met) = match &figure.goal {
                None => ("", ""),
                Some(goal) => (&*goal.text, if goal.met { "yes" } else { "**no**" }),
            };
            let name = format!("{} {}", figure.scenario, figure.name);
            let (name, unit, count) = (name.trim(), figure.unit, sorted.len());
            println!("| {name} | {unit} | {count} | {min} | {median} | {p99} | {max} | {goal} | {met} |");
        }
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.rows)?;
        fs::write(path, text).context(format!("writing {}", path.display()))
    }
}

impl Figure {
    /// Judged by the median.
    pub fn at_least(&mut self, least: f64) {
        let met = median(&self.samples) >= least;
        self.goal = Some(Goal { text: format!("median >= {}", short(least)), met });
    }

    /// Judged by the median.
    pub fn median_at_most(&mut self, most: f64) {
        let met = median(&self.samples) <= most;
        self.goal = Some(Goal { text: format!("median <= {}", short(most)), met });
    }

    /// Judged by the greatest.
    pub fn at_most(&mut self, most: f64) {
        let met = at(&sorted(&self.samples), 1.0) <= most;
        self.goal = Some(Goal { text: format!("<= {}", short(most)), met });
    }

    pub fn p99_at_most(&mut self, most: f64) {
        let met = p99(&self.samples) <= most;
        self.goal = Some(Goal { text: format!("p99 <= {}", short(most)), met });
    }

    pub fn exactly(&mut self, wanted: f64) {
        let met = !self.samples.is_empty() && self.samples.iter().all(|sample| (sample - wanted).abs() < 0.5);
        self.goal = Some(Goal { text: format!("exactly {}", short(wanted)), met });
    }
}

pub fn p99(samples: &[f64]) -> f64 {
    at(&sorted(samples), 0.99)
}

pub fn median(samples: &[f64]) -> f64 {
    at(&sorted(samples), 0.5)
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The sample below or at which this part of all lies (nearest rank).
fn at(sorted: &[f64], part: f64) -> f64 {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn short(number: f64) -> String {
    if number.fract() == 0.0 || number.abs() >= 100.0 {
        format!("{number:.0}")
    } else if number.abs() < 1.0 {
        format!("{number:.2}")
    } else {
        format!("{number:.1}")
    }
}
