//! What ipvsadm prints, to the byte: blanks at the end of lines are its own.
//!
//! ipvsadm 1.31 on Linux 6.1 and 6.12 printed what `golden/` holds.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use super::names::Names;
use super::option::{Kind, Protocol};
use super::table::{Ports, Real, Service, Table};

/// The first line of a whole table. What it calls size is that of IPVS's hash table, unless somebody chose another.
pub const VERSION: &str = "IP Virtual Server version 1.2.1 (size=4096)\n";

/// What is printed of services and real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Weights and flows.
    Plain,
    /// Traffic so far.
    Stats,
    /// Traffic in a second.
    Rate,
    /// Limits of flows.
    Thresholds,
    /// Clients that stay.
    Persistent,
    /// Tunnels, of which there are none.
    Tunnels,
}

/// How it is printed.
pub struct Form<'a> {
    /// Which columns.
    pub columns: Columns,
    /// Numbers in full.
    pub is_exact: bool,
    /// In the order of addresses; else real servers that came last stand first, as in the kernel.
    pub is_sorted: bool,
    /// Names of addresses and ports; none: numbers.
    pub names: Option<&'a Names>,
}

impl Columns {
    /// The ones that these options ask for.
    pub fn of(has: impl Fn(Kind) -> bool) -> Columns {
        let order = [
            (Kind::Stats, Columns::Stats),
            (Kind::Rate, Columns::Rate),
            (Kind::Thresholds, Columns::Thresholds),
            (Kind::PersistentConn, Columns::Persistent),
            (Kind::TunnelInfo, Columns::Tunnels),
        ];
        order.into_iter().find(|(kind, _)| has(*kind)).map_or(Columns::Plain, |(_, columns)| columns)
    }
}

/// The whole table.
pub fn all(table: &Table, form: &Form<'_>) -> String {
    let mut out = VERSION.to_owned() + &title(form.columns);
    for service in form.in_order(table) {
        form.service(&mut out, service);
    }
    out
}

/// One service.
pub fn one(service: &Service, form: &Form<'_>) -> String {
    let mut out = title(form.columns);
    form.service(&mut out, service);
    out
}

/// The commands that make the table, for `-R`.
pub fn rules(table: &Table, form: &Form<'_>) -> String {
    let mut out = String::new();
    for service in form.in_order(table) {
        // A range of ports has no command.
        if matches!(service.ports, Ports::One(_)) {
            form.rule(&mut out, service);
        }
    }
    out
}

/// The text of `/proc/net/ip_vs`, for what reads that file (`ip_vs_ctl.c`: `ip_vs_info_seq_show`).
pub fn proc(table: &Table) -> String {
    let mut out = VERSION.to_owned();
    out += "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";
    // A range of ports is nothing that could stand there.
    let ported = table.services.iter().filter_map(|service| match service.ports {
        Ports::One(port) => Some((service, port)),
        Ports::Range(..) => None,
    });
    for (service, port) in ported {
        let protocol = service.protocol.to_string().to_uppercase();
        let mut row = format!("{protocol}  {}:{port:04X} {} ", hex(service.vip), service.scheduler);
        // Of IPv6 the kernel does not say it.
        if service.one_packet && service.vip.is_ipv4() {
            row += "ops ";
        }
        if let Some(seconds) = service.persistence {
            let prefix = u32::from(service.prefix.unwrap_or(32));
            let mask = match service.vip {
                IpAddr::V4(_) => u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0),
                IpAddr::V6(_) => prefix,
            };
            let _ = write!(row, "persistent {seconds} {mask:08X}");
        }
        line(&mut out, format_args!("{row}"));
        for real in service.reals.iter().rev() {
            let Real { weight, active, inactive, .. } = real;
            let at = hex(real.address);
            line(
                &mut out,
                format_args!(
                    "  -> {at}:{port:04X}      {:<7} {weight:<6} {active:<10} {inactive:<10}",
                    "Route"
                ),
            );
        }
    }
    out
}

fn hex(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08X}", address.to_bits()),
        IpAddr::V6(address) => {
            let groups = address.segments().map(|group| format!("{group:04x}"));
            format!("[{}]", groups.join(":"))
        }
    }
}

fn title(columns: Columns) -> String {
    let columns: &[(&str, usize)] = match columns {
        Columns::Plain => {
            return "Prot LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
                .to_owned();
        }
        Columns::Tunnels => {
            return "Prot LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
                .to_owned();
        }
        Columns::Stats => {
            return traffic_title(["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]);
        }
        Columns::Rate => return traffic_title(["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"]),
        Columns::Thresholds => {
            &[("Uthreshold", 10), ("Lthreshold", 10), ("ActiveConn", 10), ("InActConn", 10)]
        }
        Columns::Persistent => &[("Weight", 9), ("PersistConn", 11), ("ActiveConn", 10), ("InActConn", 10)],
    };
    let columns: String = columns.iter().map(|(name, width)| format!(" {name:<width$}")).collect();
    format!("{:<33}{columns}\n  -> RemoteAddress:Port\n", "Prot LocalAddress:Port")
}

fn traffic_title(columns: [&str; 5]) -> String {
    let columns = columns.map(|name| format!(" {name:>8}")).concat();
    format!("{:<33}{columns}\n  -> RemoteAddress:Port\n", "Prot LocalAddress:Port")
}

impl Form<'_> {
    fn in_order<'t>(&self, table: &'t Table) -> Vec<&'t Service> {
        let mut services: Vec<&Service> = table.services.iter().collect();
        if self.is_sorted {
            services.sort_by_key(|s| (s.vip.is_ipv6(), s.protocol, s.vip, s.ports));
        }
        services
    }

    fn reals<'s>(&self, service: &'s Service) -> Vec<&'s Real> {
        let mut reals: Vec<&Real> = service.reals.iter().rev().collect();
        if self.is_sorted {
            reals.sort_by_key(|real| real.address);
        }
        reals
    }

    /// `192.0.2.10:80`, `[2001:db8::10]:http`.
    fn at(&self, address: IpAddr, ports: Ports, protocol: Protocol) -> String {
        let (host, port) = match (self.names, ports) {
            (Some(names), Ports::One(port)) => (names.host(address), names.port(port, protocol)),
            (Some(names), ports) => (names.host(address), ports.to_string()),
            (None, Ports::One(port)) => (address.to_string(), port.to_string()),
            (None, ports) => (address.to_string(), ports.to_string()),
        };
        // As long as ipvsadm has room for.
        let mut at = if address.is_ipv6() { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        at.truncate(at.floor_char_boundary(59));
        at
    }

    fn service(&self, out: &mut String, service: &Service) {
        let protocol = service.protocol.to_string().to_uppercase();
        let mut name = format!("{protocol:<4} {}", self.at(service.vip, service.ports, service.protocol));
        if service.vip.is_ipv4() {
            name.truncate(name.floor_char_boundary(33));
        }
        let traffic = &service.traffic;
        match self.columns {
            Columns::Stats => {
                let numbers = [traffic.flows, traffic.packets, 0, traffic.bytes, 0];
                line(out, format_args!("{name:<33}{}", numbers.map(|number| self.large(number)).concat()));
            }
            Columns::Rate => {
                let numbers = [traffic.flow_rate, traffic.packet_rate, 0, traffic.byte_rate, 0];
                line(out, format_args!("{name:<33}{}", numbers.map(|number| self.large(number)).concat()));
            }
            _ => line(out, format_args!("{name} {}{}", service.scheduler, properties(service))),
        }
        for real in self.reals(service) {
            self.real(out, service, real);
        }
    }

    fn real(&self, out: &mut String, service: &Service, real: &Real) {
        let mut name = self.at(real.address, service.ports, service.protocol);
        if real.address.is_ipv4() {
            name.truncate(name.floor_char_boundary(28));
        }
        let Real { weight, upper, lower, active, inactive, persistent, traffic, .. } = real;
        let row = match self.columns {
            Columns::Plain => format!("{:<7} {weight:<6} {active:<10} {inactive:<10}", "Route"),
            Columns::Tunnels => {
                format!("{:<7} {:<13} {weight:<6} {active:<10} {inactive:<10}", "Route", "n/a")
            }
            Columns::Thresholds => format!("{upper:<10} {lower:<10} {active:<10} {inactive:<10}"),
            Columns::Persistent => format!("{weight:<9} {persistent:<11} {active:<10} {inactive:<10}"),
            Columns::Stats => {
                let numbers = [traffic.flows, traffic.packets, 0, traffic.bytes, 0];
                let row = numbers.map(|number| self.large(number)).concat();
                return line(out, format_args!("  -> {name:<28}{row}"));
            }
            Columns::Rate => {
                let bytes = [traffic.byte_rate, 0].map(|number| self.large(number)).concat();
                format!("{:>8} {:>8} {:>8}{bytes}", traffic.flow_rate, traffic.packet_rate, 0)
            }
        };
        line(out, format_args!("  -> {name:<28} {row}"));
    }

    fn rule(&self, out: &mut String, service: &Service) {
        let option = match service.protocol {
            Protocol::Tcp => "-t",
            Protocol::Udp => "-u",
            Protocol::Sctp => "--sctp-service",
        };
        let name = format!("{option} {}", self.at(service.vip, service.ports, service.protocol));
        let mut rule = format!("-A {name} -s {}", service.scheduler);
        if let Some(seconds) = service.persistence {
            let _ = write!(rule, " -p {seconds}");
            if let Some(mask) = mask(service) {
                let _ = write!(rule, " -M {mask}");
            }
        }
        if service.one_packet {
            rule += " -o";
        }
        if !service.flags.is_empty() {
            let _ = write!(rule, " -b {}", flags(service));
        }
        line(out, format_args!("{rule}"));
        for real in self.reals(service) {
            let at = self.at(real.address, service.ports, service.protocol);
            // ipvsadm 1.31 forgets thresholds; a table that is restored is to be the one that was saved.
            let thresholds = match (real.upper, real.lower) {
                (0, _) => String::new(),
                (upper, 0) => format!(" -x {upper}"),
                (upper, lower) => format!(" -x {upper} -y {lower}"),
            };
            line(out, format_args!("-a {name} -r {at} -g -w {}{thresholds}", real.weight));
        }
    }

    fn large(&self, number: u64) -> String {
        if self.is_exact {
            let width = 9.max(number.to_string().len() + 1);
            return format!("{number:>width$}");
        }
        match number {
            ..100_000_000 => format!("{number:>9}"),
            100_000_000..1_000_000_000 => format!("{:>8}K", number / 1_000),
            1_000_000_000..100_000_000_000 => format!("{:>8}M", number / 1_000_000),
            100_000_000_000..100_000_000_000_000 => format!("{:>8}G", number / 1_000_000_000),
            _ => format!("{:>8}T", number / 1_000_000_000_000),
        }
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes everything");
}

/// What follows the scheduler.
fn properties(service: &Service) -> String {
    let mut text = String::new();
    if !service.flags.is_empty() {
        let _ = write!(text, " ({})", flags(service));
    }
    if let Some(seconds) = service.persistence {
        let _ = write!(text, " persistent {seconds}");
        if let Some(mask) = mask(service) {
            let _ = write!(text, " mask {mask}");
        }
    }
    if service.one_packet {
        text += " ops";
    }
    text
}

/// Fallback before port, whatever the order in which they were given.
fn flags(service: &Service) -> String {
    let mut flags = service.flags.clone();
    flags.sort();
    flags.join(",")
}

/// The mask of clients, if it is not a whole address.
fn mask(service: &Service) -> Option<String> {
    let prefix = service.prefix?;
    match service.vip {
        IpAddr::V4(_) if prefix < 32 => {
            Some(Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).to_string())
        }
        IpAddr::V6(_) if prefix < 128 => Some(prefix.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvsadm::table::Traffic;

    const SERVICES: &str = "domain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nntp 123/udp\nhttps 443/tcp\n";

    fn service(protocol: Protocol, vip: &str, port: u16, scheduler: &str, reals: &[Real]) -> Service {
        Service {
            protocol,
            vip: vip.parse().unwrap(),
            ports: Ports::One(port),
            scheduler: scheduler.to_owned(),
            flags: Vec::new(),
            persistence: None,
            prefix: None,
            one_packet: false,
            is_added: true,
            traffic: Traffic::default(),
            reals: reals.to_vec(),
        }
    }

    fn real(address: &str, weight: u64) -> Real {
        let address = address.parse().unwrap();
        let traffic = Traffic::default();
        Real { address, weight, upper: 0, lower: 0, active: 0, inactive: 0, persistent: 0, traffic }
    }

    /// What `golden/setup.session` makes, in another order.
    fn table() -> Table {
        let vip = "198.18.0.100";
        let [eleven, twelve] = ["198.18.0.11", "198.18.0.12"];
        let limited = Real { upper: 2000, lower: 1000, ..real(twelve, 100) };
        let https = service(Protocol::Tcp, vip, 443, "wlc", &[limited, real(eleven, 100)]);
        let dns = service(Protocol::Udp, vip, 53, "sh", &[real(eleven, 1)]);
        let ntp = service(Protocol::Udp, vip, 123, "rr", &[]);
        let web6 = service(Protocol::Tcp, "2001:db8::100", 80, "wrr", &[real("2001:db8::11", 4)]);
        Table {
            services: vec![
                web6,
                service(Protocol::Sctp, vip, 3868, "lc", &[]),
                Service { one_packet: true, ..ntp },
                Service { flags: vec!["sh-port".to_owned()], ..dns },
                Service { persistence: Some(50), prefix: Some(32), ..https },
                service(Protocol::Tcp, vip, 80, "rr", &[real(twelve, 2), real(eleven, 1)]),
            ],
            timeouts: [900, 120, 300],
        }
    }

    fn form(columns: Columns) -> Form<'static> {
        Form { columns, is_exact: false, is_sorted: true, names: None }
    }

    #[test]
    fn listings_are_those_of_the_real_ipvsadm() {
        let table = table();
        assert_eq!(all(&table, &form(Columns::Plain)), include_str!("golden/full-Ln.txt"));
        assert_eq!(all(&table, &form(Columns::Stats)), include_str!("golden/full-Ln--stats.txt"));
        assert_eq!(all(&table, &form(Columns::Rate)), include_str!("golden/full-Ln--rate.txt"));
        assert_eq!(all(&table, &form(Columns::Thresholds)), include_str!("golden/full-Ln--thresholds.txt"));
        let persistent = include_str!("golden/full-Ln--persistent-conn.txt");
        assert_eq!(all(&table, &form(Columns::Persistent)), persistent);
        assert_eq!(one(&table.services[5], &form(Columns::Plain)), include_str!("golden/one-service-Ln.txt"));
        let names = Names::of(SERVICES, &[]);
        let named = Form { names: Some(&names), ..form(Columns::Plain) };
        assert_eq!(all(&table, &named), include_str!("golden/full-L.txt"));
    }

    #[test]
    fn an_empty_table_has_titles() {
        let empty = |columns| all(&Table::default(), &form(columns));
        assert_eq!(empty(Columns::Plain), include_str!("golden/empty-Ln.txt"));
        assert_eq!(empty(Columns::Stats), include_str!("golden/empty-Ln--stats.txt"));
        assert_eq!(empty(Columns::Rate), include_str!("golden/empty-Ln--rate.txt"));
        assert_eq!(empty(Columns::Thresholds), include_str!("golden/empty-Ln--thresholds.txt"));
        assert_eq!(empty(Columns::Persistent), include_str!("golden/empty-Ln--persistent-conn.txt"));
    }

    #[test]
    fn saved_commands_are_those_of_the_real_ipvsadm_and_have_the_thresholds() {
        let saved = include_str!("golden/full-S-n.txt");
        let limited = "-r 198.18.0.12:443 -g -w 100";
        let with_thresholds = saved.replace(limited, &format!("{limited} -x 2000 -y 1000"));
        assert_eq!(rules(&table(), &form(Columns::Plain)), with_thresholds);
    }

    #[test]
    fn traffic_is_that_of_the_lab_and_large_numbers_are_cut() {
        let traffic = |flows, packets, bytes, flow_rate, packet_rate, byte_rate| Traffic {
            flows,
            packets,
            bytes,
            flow_rate,
            packet_rate,
            byte_rate,
        };
        let mut web = service(Protocol::Tcp, "198.18.0.100", 80, "rr", &[]);
        web.traffic = traffic(30, 171, 11442, 2, 10, 653);
        web.reals = vec![
            Real { inactive: 15, traffic: traffic(15, 86, 5747, 1, 5, 338), ..real("198.18.0.11", 1) },
            Real { inactive: 15, traffic: traffic(15, 85, 5695, 1, 5, 315), ..real("198.18.0.12", 1) },
        ];
        let mut table = Table { services: vec![web], ..Table::default() };
        assert_eq!(all(&table, &form(Columns::Stats)), include_str!("golden/lab-Ln--stats.txt"));
        assert_eq!(all(&table, &form(Columns::Rate)), include_str!("golden/lab-Ln--rate.txt"));
        assert_eq!(all(&table, &form(Columns::Plain)), include_str!("golden/lab-Ln.txt"));

        table.services[0].traffic = traffic(99_999_999, 123_456_789, 98_765_432_100, 0, 0, 0);
        table.services[0].reals.clear();
        let row = |form: &Form<'_>| all(&table, form).lines().nth(3).unwrap().to_owned();
        assert_eq!(
            row(&form(Columns::Stats)),
            "TCP  198.18.0.100:80              99999999  123456K        0   98765M        0"
        );
        let exact = Form { is_exact: true, ..form(Columns::Stats) };
        assert_eq!(
            row(&exact),
            "TCP  198.18.0.100:80              99999999 123456789        0 98765432100        0"
        );
        let large = |number| exact_off().large(number);
        assert_eq!((large(10u64.pow(13)), large(10u64.pow(14))), ("   10000G".into(), "     100T".into()));
    }

    fn exact_off() -> Form<'static> {
        form(Columns::Plain)
    }

    #[test]
    fn long_names_are_cut_and_masks_are_shown() {
        let vip = "198.18.0.100".parse().unwrap();
        let name = "a-name-that-is-far-longer-than-there-is-room.example.com";
        let names = Names::of("", &[(vip, name)]);
        let mut web = service(Protocol::Tcp, "198.18.0.100", 80, "mh", &[real("198.18.0.100", 1)]);
        (web.persistence, web.prefix) = (Some(300), Some(24));
        web.flags = vec!["mh-port".to_owned(), "mh-fallback".to_owned()];
        let named = Form { names: Some(&names), ..form(Columns::Plain) };
        let text = one(&web, &named);
        let mut lines = text.lines().skip(2);
        assert_eq!(
            lines.next().unwrap(),
            "TCP  a-name-that-is-far-longer-th mh (mh-fallback,mh-port) persistent 300 mask 255.255.255.0"
        );
        assert_eq!(
            lines.next().unwrap(),
            "  -> a-name-that-is-far-longer-th Route   1      0          0         "
        );
    }

    #[test]
    fn the_text_of_proc_is_the_kernels() {
        assert_eq!(proc(&Table::default()), include_str!("golden/proc-ip_vs-empty.txt"));
        let text = proc(&table());
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[3], "TCP  [2001:0db8:0000:0000:0000:0000:0000:0100]:0050 wrr ");
        assert_eq!(
            rows[4],
            "  -> [2001:0db8:0000:0000:0000:0000:0000:0011]:0050      Route   4      0          0         "
        );
        assert_eq!(rows[6], "UDP  C6120064:007B rr ops ");
        assert_eq!(rows[9], "TCP  C6120064:01BB wlc persistent 50 FFFFFFFF");
    }

    #[test]
    fn unsorted_the_real_server_that_came_last_is_first() {
        let form = Form { is_sorted: false, ..form(Columns::Plain) };
        let text = all(&table(), &form);
        assert!(text.find("[2001:db8::100]").unwrap() < text.find("198.18.0.100:80").unwrap());
        let https = text.find("198.18.0.12:443").unwrap();
        assert!(text.find("198.18.0.11:443").unwrap() < https, "{text}");
    }
}
