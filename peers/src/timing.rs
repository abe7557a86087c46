//! Taking times, and writing figures beside their ratios.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::subject::COMPILERS;

/// The least time of several runs: whatever disturbs a run makes it longer.
pub(crate) fn least_of(runs: usize, mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut least = Duration::MAX;
    for _ in 0..runs {
        let start = Instant::now();
        work()?;
        least = least.min(start.elapsed());
    }
    Ok(least)
}

/// Microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The cells of a row: figures, each beside its ratio to the first.
pub(crate) fn ratios(figures: &[Option<f64>]) -> String {
    let first = figures.first().copied().flatten();
    let ratio = |figure: f64| first.map(|first| figure / first);
    let cells = figures.iter().enumerate();
    cells
        .map(|(i, figure)| cell(*figure, figure.and_then(ratio).filter(|_| i > 0)))
        .collect()
}

/// The cells of a row: medians over rounds, each beside the median of the rounds' ratios to the first.
pub(crate) fn paired(rounds: &[Vec<Option<f64>>]) -> String {
    let columns = rounds.first().map_or(0, Vec::len);
    let column = |i: usize| {
        let middle = median(rounds.iter().filter_map(|round| round[i]));
        let ratio = median(
            rounds
                .iter()
                .filter_map(|round| Some(round[i]? / round[0]?)),
        );
        cell(middle, ratio.filter(|_| i > 0))
    };
    (0..columns).map(column).collect()
}

fn cell(figure: Option<f64>, ratio: Option<f64>) -> String {
    let Some(figure) = figure else {
        return " – |".to_owned();
    };
    let decimals = if figure.fract() == 0.0 || figure >= 1000.0 {
        0
    } else {
        1
    };
    match ratio {
        Some(ratio) => format!(" {figure:.decimals$} (× {ratio:.2}) |"),
        None => format!(" {figure:.decimals$} |"),
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// The head of a table of so many compilers.
pub(crate) fn header(what: &str, columns: usize) {
    let names = COMPILERS[..columns.min(COMPILERS.len())].join(" | ");
    println!("| {what} | {names} |\n|---|{}", "---|".repeat(columns));
}
