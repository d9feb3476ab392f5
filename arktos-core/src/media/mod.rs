//! The forms in which objects travel beside JSON.
//!
//! | form | module |
//! |---|---|
//! | `application/vnd.kubernetes.protobuf`: what typed Go clients send, kubectl's `create` among them | [`protobuf`] |
//! | `application/yaml`, and files that people write | [`yaml`] |

pub mod protobuf;
pub mod yaml;
