//! F6: whether time and memory grow with the fleet, and no faster.

use std::path::Path;

use crate::change;
use crate::figures::Figures;
use crate::harness::Result;
use crate::plot::{self, Point};
use crate::world::World;

/// What grows as the number of clusters does has exponent 1; noise is allowed for.
const EXPONENT: f64 = 1.1;

/// Measures the sizes that are not known yet, and judges all.
pub async fn measure(
    sizes: &[usize],
    known: Option<Point>,
    runs: usize,
    figures: &mut Figures,
) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for size in sizes {
        if let Some(point) = known.filter(|point| point.clusters == *size) {
            points.push(point);
            continue;
        }
        let (mut world, cold) = World::converged(*size).await?;
        points.push(change::measure(&mut world, &cold, runs, figures).await?);
        world.stop().await?;
    }
    figures.scenario("F6");
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(points) };
    if first.clusters < last.clusters {
        let exponent = |of: fn(&Point) -> f64| {
            let clusters = last.clusters as f64 / first.clusters as f64;
            vec![(of(last) / of(first)).ln() / clusters.ln()]
        };
        let range = format!("from {} to {} clusters", first.clusters, last.clusters);
        let mut judge = |what: &str, exponent| {
            figures.add(&format!("exponent of {what}, {range}"), "", exponent).at_most(EXPONENT);
        };
        judge("time", exponent(|point| point.seconds));
        judge("CPU", exponent(|point| point.cpu));
        judge("memory", exponent(|point| point.resident as f64));
    }
    Ok(points)
}

/// Draws time and memory over the number of clusters.
pub fn draw(points: &[Point], path: &Path) -> Result<()> {
    Ok(std::fs::write(path, plot::svg(points))?)
}
