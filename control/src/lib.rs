#![doc = include_str!("../README.md")]

pub mod address;
pub mod admin;
pub mod compile;
pub mod config;
pub mod error;
pub mod event;
pub mod health;
pub mod link;
pub mod model;
pub mod neighbor;
pub mod netlink;
pub mod rights;
pub mod route;
pub mod setup;
pub mod supervisor;
pub mod survey;
