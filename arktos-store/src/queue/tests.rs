//! A work queue against a model of it.

use arktos_core::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
