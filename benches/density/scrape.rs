//! What the roles say of themselves at `/metrics`.

use std::collections::BTreeMap;

use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::remote::connect;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use crate::Outcome;

/// The values of one moment, by name and labels.
#[derive(Debug, Default, Clone)]
pub struct Metrics(BTreeMap<String, f64>);

/// Reads the metrics of a role.
pub async fn read(config: &Kubeconfig) -> Outcome<Metrics> {
    let http = connect::<Full<Bytes>>(config)?;
    let request = http::Request::get(format!("{}/metrics", config.server)).body(Full::default())?;
    let response = http.request(request).await?;
    if !response.status().is_success() {
        return Err(format!("{}/metrics answers {}", config.server, response.status()).into());
    }
    let body = response.into_body().collect().await?.to_bytes();
    Ok(parse(&String::from_utf8_lossy(&body)))
}

fn parse(text: &str) -> Metrics {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| line.rsplit_once(' '));
    Metrics(values.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
}

impl Metrics {
    /// The sum of all values of a metric whose labels have this text.
    pub fn sum(&self, metric: &str, label: &str) -> f64 {
        let of = |(name, _): &(&String, &f64)| name.split('{').next() == Some(metric) && name.contains(label);
        self.0.iter().filter(of).map(|(_, value)| *value).sum()
    }

    /// Adds another role's values.
    pub fn add(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
    }

    /// What has come since.
    pub fn since(&self, before: &Self) -> Self {
        let less = |(name, value): (&String, &f64)| (name.clone(), value - before.0.get(name).copied().unwrap_or(0.0));
        Self(self.0.iter().map(less).collect())
    }

    /// How many observations a histogram's series with this label have, and the value that parts of them lie below:
    /// the bound of the bucket it falls into. Nothing where there are none.
    pub fn percentiles<const N: usize>(
        &self,
        histogram: &str,
        label: &str,
        parts: [f64; N],
    ) -> Option<(f64, [f64; N])> {
        let bucket = format!("{histogram}_bucket");
        let mut buckets = BTreeMap::<u64, f64>::new(); // by the bits of the bound: order of numbers above zero
        for (name, value) in &self.0 {
            let Some(labels) = name.strip_prefix(&bucket).filter(|labels| labels.contains(label)) else { continue };
            let Some(rest) = labels.split(['{', ',']).find_map(|one| one.strip_prefix("le=\"")) else { continue };
            let bound = rest.split('"').next().unwrap_or_default();
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap_or(f64::INFINITY) };
            *buckets.entry(bound.to_bits()).or_default() += value;
        }
        let all = buckets.values().last().copied().filter(|all| *all > 0.0)?;
        let below = |part: f64| {
            let found = buckets.iter().find(|(_, count)| **count >= all * part);
            found.map_or(f64::INFINITY, |(bound, _)| f64::from_bits(*bound))
        };
        Some((all, parts.map(below)))
    }
}
