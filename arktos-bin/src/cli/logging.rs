//! Where log lines go and what they look like.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::traces::TracesArgs;

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub struct LoggingArgs {
    /// What to log: a level (off, error, warn, info, debug, trace), or filters such as `info,arktos_sched=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "ARKTOS_LOG")]
    pub log_level: String,
    /// Format of log lines
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    #[command(flatten)]
    traces: TracesArgs,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LoggingArgs {
    /// Starts logging to standard error, and sending traces where they are asked for: of which role, and which of
    /// them.
    ///
    /// # Errors
    /// A sentence that says which flag is wrong.
    pub fn start(&self, role: &str, name: &str) -> Result<(), String> {
        let filter = filter(&self.log_level)?;
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let started = match self.log_format {
            LogFormat::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
            LogFormat::Json => builder.json().try_init(),
        };
        started.map_err(|error| format!("cannot start logging: {error}"))?;
        self.traces.start(role, name)
    }
}

/// A bare word is a level here, and never the name of a module: a level that is mistyped would else be taken for one,
/// of which everything is logged, and nothing else.
fn filter(text: &str) -> Result<EnvFilter, String> {
    for word in text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[', '{'])) {
        if !word.is_empty() && word.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "--log-level: {word:?} is not a level (off, error, warn, info, debug, trace); for one module, write \
                 MODULE=LEVEL"
            ));
        }
    }
    EnvFilter::try_new(text).map_err(|error| format!("--log-level: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_word_is_a_level_or_refused() {
        for good in
            ["info", "WARN", "off", "info,arktos_sched=debug", "", "warn,hyper=off", "arktos_api[{tenant}]=debug"]
        {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["banana", "info,banana", "arktos_sched"] {
            assert!(filter(bad).expect_err("is refused").contains("is not a level"), "{bad}");
        }
    }
}
