//! Changes in words, for logs, listings and the head of `shunt show config`.

use std::fmt;

use super::{Edit, RealChange, ServiceChange};

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edit::AddService { service, change } => with(f, &format!("add {service}"), &change.to_string()),
            Edit::ChangeService { service, change } => {
                with(f, &format!("change {service}"), &change.to_string())
            }
            Edit::RemoveService { service } => write!(f, "remove {service}"),
            Edit::AddReal { service, real, change } => {
                with(f, &format!("add {real} to {service}"), &change.to_string())
            }
            Edit::ChangeReal { service, real, change } => {
                with(f, &format!("change {real} of {service}"), &change.to_string())
            }
            Edit::RemoveReal { service, real } => write!(f, "remove {real} from {service}"),
            Edit::Weight { real, service: Some(service), weight } => {
                write!(f, "weight {weight} for {real} of {service}")
            }
            Edit::Weight { real, service: None, weight } => write!(f, "weight {weight} for {real}"),
            Edit::Drain { real } => write!(f, "drain {real}"),
            Edit::Undrain { real } => write!(f, "undrain {real}"),
            Edit::Clear => f.write_str("remove all services"),
            Edit::Timeouts { tcp, tcp_fin, udp } => {
                let named = [("tcp", tcp), ("tcp after a FIN", tcp_fin), ("udp", udp)];
                let named = named.iter().filter(|(_, seconds)| **seconds > 0);
                let named: Vec<String> = named.map(|(name, seconds)| format!("{name} {seconds} s")).collect();
                write!(f, "timeouts {}", named.join(", "))
            }
        }
    }
}

fn with(f: &mut fmt::Formatter<'_>, what: &str, how: &str) -> fmt::Result {
    match how {
        "" => f.write_str(what),
        how => write!(f, "{what}: {how}"),
    }
}

impl fmt::Display for ServiceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.scheduler.iter().map(|name| format!("scheduler {name}")));
        words.extend(self.flags.iter().filter(|flags| !flags.is_empty()).map(|flags| flags.join(", ")));
        match self.persistence {
            Some(0) => words.push("no persistence".to_owned()),
            Some(seconds) => words.push(format!("persistence {seconds} s")),
            None => {}
        }
        words.extend(self.prefix.map(|prefix| format!("clients told apart by {prefix} bits")));
        words.extend(self.one_packet.map(|one_packet| match one_packet {
            true => "one-packet scheduling".to_owned(),
            false => "no one-packet scheduling".to_owned(),
        }));
        f.write_str(&words.join(", "))
    }
}

impl fmt::Display for RealChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [("weight", self.weight.map(u32::from)), ("upper", self.upper), ("lower", self.lower)];
        let words: Vec<String> =
            words.iter().filter_map(|(name, value)| Some(format!("{name} {}", (*value)?))).collect();
        f.write_str(&words.join(", "))
    }
}
