//! Everything that is started is stopped and joined.
