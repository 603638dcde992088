//! Flags of schedulers, by the names that ipvsadm has for them.

/// The one of a service that names none.
pub const DEFAULT: &str = "wlc";

/// The flags that a comma-separated list names, without doubles.
///
/// # Errors
/// What is wrong with one of them.
pub fn flags(scheduler: Option<&str>, text: &str) -> Result<Vec<String>, String> {
    let scheduler = scheduler.unwrap_or(DEFAULT);
    let mut flags: Vec<String> = Vec::new();
    for flag in text.split(',').filter(|flag| !flag.is_empty()) {
        let name = match flag {
            // What the kernel calls them: IP_VS_SVC_F_SCHED1 to 3.
            "flag-1" => format!("{scheduler}-fallback"),
            "flag-2" => format!("{scheduler}-port"),
            "flag-3" | "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback" => flag.to_owned(),
            _ => return Err(format!("invalid scheduler flag `{flag}'")),
        };
        let hashes = matches!(scheduler, "sh" | "mh");
        let is_its = hashes && name.strip_prefix(scheduler).is_some_and(|rest| rest.starts_with('-'));
        match is_its {
            true if flags.contains(&name) => {}
            true => flags.push(name),
            false => return Err(format!("incompatible scheduler flag `{flag}'")),
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_belong_to_their_scheduler_and_have_numbers() {
        assert_eq!(flags(Some("mh"), "flag-2,mh-port,mh-fallback").unwrap(), ["mh-port", "mh-fallback"]);
        assert_eq!(flags(Some("sh"), "mh-port").unwrap_err(), "incompatible scheduler flag `mh-port'");
        assert_eq!(flags(None, "flag-1").unwrap_err(), "incompatible scheduler flag `flag-1'");
        assert_eq!(flags(Some("sh"), "flag-3").unwrap_err(), "incompatible scheduler flag `flag-3'");
        assert_eq!(flags(Some("sh"), "x").unwrap_err(), "invalid scheduler flag `x'");
    }
}
