//! Stand-in.
use crate::link::Link;
use crate::model::VirtualRouter;
use crate::netlink::{Error, Netlink};
/// Stand-in.
pub async fn ensure(_: &Netlink, _: &VirtualRouter, base: &Link) -> Result<Link, Error> {
    Ok(base.clone())
}
/// Stand-in.
pub async fn remove(_: &Netlink, _: u32) -> Result<(), Error> {
    Ok(())
}
