//! The cases, by area. A file is a topic, a function is a rule.

mod files;
