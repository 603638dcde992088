//! The BPF objects of a process, and what is left of them when it has ended. Programs, maps and links belong to the
//! whole machine: they are told apart by their ids, which the kernel does not give twice.

use std::collections::BTreeSet;

use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};

/// The name of shunt's XDP program.
const STEER: &str = "steer";

/// Ids of BPF objects.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Objects {
    /// Programs.
    pub programs: BTreeSet<u32>,
    /// Maps.
    pub maps: BTreeSet<u32>,
    /// Links.
    pub links: BTreeSet<u32>,
}

impl Objects {
    /// What process `pid` has open.
    pub fn of(pid: i32) -> Objects {
        let mut objects = Objects::default();
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return objects };
        for text in descriptors.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok()) {
            for line in text.lines() {
                let Some((key, value)) = line.split_once(':') else { continue };
                let Ok(id) = value.trim().parse() else { continue };
                match key {
                    "prog_id" => objects.programs.insert(id),
                    "map_id" => objects.maps.insert(id),
                    "link_id" => objects.links.insert(id),
                    _ => continue,
                };
            }
        }
        objects
    }

    /// All that the kernel has now.
    #[track_caller]
    pub fn loaded() -> Objects {
        // One that goes while the list is read is none.
        Objects {
            programs: loaded_programs().filter_map(|program| Some(program.ok()?.id())).collect(),
            maps: loaded_maps().filter_map(|map| Some(map.ok()?.id())).collect(),
            links: loaded_links().filter_map(|link| Some(link.ok()?.id())).collect(),
        }
    }

    /// Those of them that the kernel still has.
    #[track_caller]
    pub fn left(&self) -> Objects {
        let loaded = Objects::loaded();
        Objects {
            programs: &self.programs & &loaded.programs,
            maps: &self.maps & &loaded.maps,
            links: &self.links & &loaded.links,
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Objects::default()
    }
}

/// The XDP programs of shunt that no process holds: of a shunt that has ended and left them.
pub fn orphans() -> BTreeSet<u32> {
    // In this order: a program that is loaded meanwhile is not in the first list.
    let steer =
        loaded_programs().filter_map(Result::ok).filter(|program| program.name_as_str() == Some(STEER));
    let mut ids: BTreeSet<u32> = steer.map(|program| program.id()).collect();
    let processes = std::fs::read_dir("/proc").into_iter().flatten();
    for pid in processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()) {
        if ids.is_empty() {
            break;
        }
        ids = &ids - &Objects::of(pid).programs;
    }
    ids
}
