//! The flags of traces.

use std::path::PathBuf;

use clap::Args;

use crate::traces::{self, TraceOptions};

/// Which requests are traced, and where to.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
pub struct TracesArgs {
    /// URL of an OpenTelemetry collector for traces, over HTTP in protobuf (/v1/traces is added). Default: none
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// File of the authority (PEM) that signed the certificate of a collector at https://. Default: those the machine
    /// trusts
    #[arg(long, value_name = "FILE", env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub otlp_ca_file: Option<PathBuf>,
    /// Share of the requests without a trace that begin one: from 0 (none) to 1 (all)
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    pub trace_sampling: f64,
}

impl TracesArgs {
    /// Begins to send, where a collector is named.
    ///
    /// # Errors
    /// A sentence that names the flag.
    pub fn start(&self, role: &str, name: &str) -> Result<(), String> {
        let endpoint = match self.otlp_endpoint.as_deref() {
            None | Some("") if self.trace_sampling > 0.0 => {
                return Err("--trace-sampling needs --otlp-endpoint".to_owned());
            }
            None | Some("") => return Ok(()),
            Some(endpoint) => endpoint.to_owned(),
        };
        let authority = match &self.otlp_ca_file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|error| format!("--otlp-ca-file {}: {error}", path.display()))?
            }
            None => String::new(),
        };
        let (role, name) = (role.to_owned(), name.to_owned());
        let options = TraceOptions { endpoint, authority, rate: self.trace_sampling, role, name };
        traces::start(&options).map_err(|error| format!("--otlp-endpoint: {error}"))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err(format!("{text:?} is not a number from 0 to 1")),
    }
}
