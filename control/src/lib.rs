//! The director as a library: configuration, health, neighbours, administration.

pub mod config;
pub mod model;
