//! `[vrrp]`, `[sync]`, and what addresses, peers and tracked things are.

use super::{Key, Kind, duration, key};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("vrrp", Kind::Table, "[vrrp]", &["keepalived", "ha"]).about("Addresses that several directors hold together."),
    duration("vrrp.startup_delay", "startup_delay = \"0s\"", &["vrrp_startup_delay"])
        .about("After the start nobody becomes active for this long."),
    key("vrrp.log_unknown_vrids", Kind::Boolean, "log_unknown_vrids = true", &[])
        .about("Adverts for routers that nobody here has are logged."),
    key("vrrp.pipe", Kind::Tables, "[[vrrp.pipe]]", &["fifo", "vrrp_notify_fifo", "notify_fifo"])
        .about("A named pipe that gets a line for every change of routers and groups."),
    key("vrrp.pipe.path", Kind::Text, "path = \"/run/shunt/vrrp\"", &["fifo", "name"]).required().pattern("^/")
        .about("Where it is made."),
    key("vrrp.pipe.reader", Kind::Command, "reader = \"/usr/local/bin/changes.sh\"", &["script", "vrrp_notify_fifo_script"])
        .about("A program that is started with the path as its last argument, and reads it."),
    key("vrrp.router", Kind::Tables, "[[vrrp.router]]", &["instance", "vrrp_instance", "routers"])
        .about("A virtual router: addresses, and who else has them."),
    key("vrrp.router.name", Kind::Text, "name = \"web\"", &["id"]).required().about("What it is called."),
    key("vrrp.router.interface", Kind::Text, "interface = \"eth0\"", &["dev", "device", "iface"]).required()
        .about("The interface to the other directors."),
    key("vrrp.router.vrid", Kind::Integer, "vrid = 51", &["virtual_router_id", "router_id"]).required().range(1, 255)
        .about("Number of the router, the same on all directors."),
    key("vrrp.router.addresses", Kind::TextsOrTables, "addresses = [\"192.0.2.10/24\"]", &["virtual_ipaddress", "address", "vip", "vips"])
        .about("What the active director holds, and adverts tell."),
    key("vrrp.router.excluded", Kind::TextsOrTables, "excluded = [\"198.51.100.10\"]", &["virtual_ipaddress_excluded"])
        .about("What the active director holds, and adverts do not tell; any family."),
    key("vrrp.router.version", Kind::Integer, "version = 3", &["vrrp_version"]).range(2, 3).about("Version of VRRP."),
    key("vrrp.router.priority", Kind::Integer, "priority = 100", &["prio"]).range(1, 255)
        .about("The highest becomes active; 255: the owner of the addresses."),
    key("vrrp.router.state", Kind::Text, "state = \"backup\"", &[]).words(&["backup", "active"])
        .about("What this director is meant to be."),
    duration("vrrp.router.interval", "interval = \"1s\"", &["advert_int", "advert_interval"]).about("Between two adverts."),
    key("vrrp.router.down_timer_adverts", Kind::Integer, "down_timer_adverts = 3", &[]).range(1, 100)
        .about("Adverts that are missed until the active director counts as gone."),
    key("vrrp.router.preempt", Kind::Boolean, "preempt = true", &["nopreempt"])
        .about("A higher priority takes over from an active director."),
    duration("vrrp.router.preempt_delay", "preempt_delay = \"0s\"", &[])
        .about("After the start it takes over only after this long."),
    key("vrrp.router.password", Kind::Text, "password = \"1111\"", &["auth_pass", "authentication"]).pattern("^.{1,8}$")
        .about("Password of version 2, sent in clear."),
    key("vrrp.router.source", Kind::Text, "source = \"192.0.2.2\"", &["unicast_src_ip", "mcast_src_ip"])
        .about("Source address of adverts."),
    key("vrrp.router.track_source", Kind::Boolean, "track_source = true", &["track_src_ip"])
        .about("It is a fault that the interface has not this source."),
    key("vrrp.router.group", Kind::Text, "group = \"224.0.0.18\"", &["mcast_dst_ip", "vrrp_mcast_group4", "vrrp_mcast_group6"])
        .about("Multicast group that adverts go to."),
    key("vrrp.router.peers", Kind::TextsOrTables, "peers = [\"192.0.2.3\"]", &["unicast_peer", "peer"])
        .about("The other directors, where adverts do not go to a group."),
    key("vrrp.router.ttl", Kind::Integer, "ttl = 255", &["unicast_ttl"]).range(0, 255)
        .about("TTL or hop limit of adverts to peers."),
    key("vrrp.router.fault_without_peers", Kind::Boolean, "fault_without_peers = true", &["unicast_fault_no_peer"])
        .about("No peers are a fault, and no slip."),
    key("vrrp.router.check_source", Kind::Boolean, "check_source = true", &["check_unicast_src"])
        .about("Adverts of hosts that are no peers are refused."),
    key("vrrp.router.skip_known_addresses", Kind::Boolean, "skip_known_addresses = true", &["skip_check_adv_addr"])
        .about("The address list of a director that is active already is not compared again."),
    key("vrrp.router.strict", Kind::Boolean, "strict = true", &["strict_mode", "vrrp_strict"])
        .about("Adverts with another address list are refused, and not only reported."),
    key("vrrp.router.lower_prio_no_advert", Kind::Boolean, "lower_prio_no_advert = true", &[])
        .about("As active, a lower priority is not answered at once."),
    key("vrrp.router.higher_prio_send_advert", Kind::Boolean, "higher_prio_send_advert = true", &[])
        .about("Yielding to a higher priority, one more advert is sent."),
    key("vrrp.router.checksum", Kind::Text, "checksum = \"pseudo-header\"", &["v3_checksum_as_v2"])
        .words(&["pseudo-header", "rfc9568"]).about("Checksum of version 3 over IPv4."),
    key("vrrp.router.vmac", Kind::BooleanOrText, "vmac = true", &["use_vmac"])
        .about("A virtual MAC address, and the name of its interface."),
    key("vrrp.router.vmac_transmit_base", Kind::Boolean, "vmac_transmit_base = true", &["vmac_xmit_base"])
        .about("Adverts leave by the interface below."),
    key("vrrp.router.announce", Kind::Table, "[vrrp.router.announce]", &["garp"])
        .about("Gratuitous ARP and unsolicited neighbour advertisements."),
    key("vrrp.router.announce.repeat", Kind::Integer, "repeat = 5", &["garp_master_repeat"]).range(1, 10_000)
        .about("How often, on becoming active."),
    duration("vrrp.router.announce.delay", "delay = \"5s\"", &["garp_master_delay"])
        .about("As often again after this; 0s: not."),
    duration("vrrp.router.announce.refresh", "refresh = \"0s\"", &["garp_master_refresh"])
        .about("And ever again; 0s: not."),
    key("vrrp.router.announce.refresh_repeat", Kind::Integer, "refresh_repeat = 1", &["garp_master_refresh_repeat"])
        .range(1, 10_000).about("How often then."),
    key("vrrp.router.announce.lower_repeat", Kind::Integer, "lower_repeat = 5", &["garp_lower_prio_repeat"])
        .range(0, 10_000).about("How often after a lower priority was heard."),
    duration("vrrp.router.announce.lower_delay", "lower_delay = \"5s\"", &["garp_lower_prio_delay"])
        .about("As often again after this; 0s: not."),
    duration("vrrp.router.announce.arp_gap", "arp_gap = \"0s\"", &["garp_interval"])
        .about("Between two gratuitous ARP on the interface."),
    duration("vrrp.router.announce.na_gap", "na_gap = \"0s\"", &["gna_interval"])
        .about("Between two neighbour advertisements on the interface."),
    key("vrrp.router.announce.form", Kind::Text, "form = \"request\"", &["garp_form"]).words(&["request", "reply", "both"])
        .about("Form of gratuitous ARP."),
    key("vrrp.router.track", Kind::Table, "[vrrp.router.track]", &["tracking"]).about("What makes it yield."),
    key("vrrp.router.track.own_interface", Kind::Boolean, "own_interface = true", &["dont_track_primary"])
        .about("Its interface; it is a fault that it is down."),
    key("vrrp.router.track.interfaces", Kind::TextsOrTables, "interfaces = [\"eth1\"]", &["interface", "track_interface"])
        .about("Interfaces that must be up."),
    key("vrrp.router.track.scripts", Kind::TextsOrTables, "scripts = [\"haproxy\"]", &["script", "track_script"])
        .about("Scripts that must succeed."),
    key("vrrp.router.track.files", Kind::TextsOrTables, "files = [\"load\"]", &["file", "track_file"])
        .about("Files with a number."),
    key("vrrp.router.track.processes", Kind::TextsOrTables, "processes = [\"haproxy\"]", &["process", "track_process"])
        .about("Processes that must run."),
    key("vrrp.router.track.workers", Kind::IntegerOrText, "workers = \"fault\"", &["worker"]).words(&["fault"]).range(-253, 253)
        .about("A worker that stands still: a fault, or a weight."),
    duration("vrrp.router.track.silence", "silence = \"10s\"", &["receiving"])
        .about("An interface of the director received nothing for this long."),
    key("vrrp.router.track.silent", Kind::IntegerOrText, "silent = \"fault\"", &[]).words(&["fault"]).range(-253, 253)
        .about("What that silence does: a fault, or a weight."),
    key("vrrp.router.track.real_servers", Kind::IntegerOrText, "real_servers = \"fault\"", &["real_server", "real"])
        .words(&["fault"]).range(-253, 253).about("No real server is up: a fault, or a weight."),
    key("vrrp.router.notify_active", Kind::Command, "notify_active = \"/usr/local/bin/active.sh\"", &["notify_master"])
        .about("Run when it becomes active."),
    key("vrrp.router.notify_backup", Kind::Command, "notify_backup = \"/usr/local/bin/backup.sh\"", &[])
        .about("Run when it becomes backup."),
    key("vrrp.router.notify_fault", Kind::Command, "notify_fault = \"/usr/local/bin/fault.sh\"", &[])
        .about("Run when something that it needs fails."),
    key("vrrp.router.notify_stop", Kind::Command, "notify_stop = \"/usr/local/bin/stop.sh\"", &[])
        .about("Run when it stops."),
    key("vrrp.router.notify", Kind::Command, "notify = \"/usr/local/bin/changes.sh\"", &["notify_any"])
        .about("Run for each of them, told which."),
    key("vrrp.router.notify_lower_heard", Kind::Command, "notify_lower_heard = \"/usr/local/bin/rival.sh\"", &["notify_master_rx_lower_pri"])
        .about("Run when a lower priority was heard while it is active."),
    key("vrrp.router.priority_changes", Kind::Boolean, "priority_changes = true", &["notify_priority_changes"])
        .about("Pipes are told of changes of its priority too."),
    key("vrrp.router.mail", Kind::Boolean, "mail = true", &["smtp_alert"]).about("Mail is sent for its changes."),
    key("vrrp.group", Kind::Tables, "[[vrrp.group]]", &["sync_group", "vrrp_sync_group"])
        .about("Routers that fail together."),
    key("vrrp.group.name", Kind::Text, "name = \"both\"", &["id"]).required().about("What it is called."),
    key("vrrp.group.members", Kind::Texts, "members = [\"web\", \"web6\"]", &["group", "routers"]).required()
        .about("Its routers."),
    key("vrrp.group.tracking_weight", Kind::Boolean, "tracking_weight = true", &["sync_group_tracking_weight", "global_tracking"])
        .about("Members may have weights, which change their priorities apart."),
    key("vrrp.group.track", Kind::Table, "[vrrp.group.track]", &["tracking"]).about("What makes all of them yield."),
    key("vrrp.group.notify_active", Kind::Command, "notify_active = \"/usr/local/bin/active.sh\"", &["notify_master"])
        .about("Run when it becomes active."),
    key("vrrp.group.notify_backup", Kind::Command, "notify_backup = \"/usr/local/bin/backup.sh\"", &[])
        .about("Run when it becomes backup."),
    key("vrrp.group.notify_fault", Kind::Command, "notify_fault = \"/usr/local/bin/fault.sh\"", &[])
        .about("Run when a member is in fault."),
    key("vrrp.group.notify_stop", Kind::Command, "notify_stop = \"/usr/local/bin/stop.sh\"", &[])
        .about("Run when it stops."),
    key("vrrp.group.notify", Kind::Command, "notify = \"/usr/local/bin/changes.sh\"", &["notify_any"])
        .about("Run for each of them, told which."),
    key("vrrp.group.notify_lower_heard", Kind::Command, "notify_lower_heard = \"/usr/local/bin/rival.sh\"", &["notify_master_rx_lower_pri"])
        .about("Run when a lower priority was heard while it is active."),
    key("vrrp.group.priority_changes", Kind::Boolean, "priority_changes = true", &["notify_priority_changes"])
        .about("Pipes are told of changes of its priority too."),
    key("vrrp.group.mail", Kind::Boolean, "mail = true", &["smtp_alert"]).about("Mail is sent for its changes."),
    key("vrrp.script", Kind::Tables, "[[vrrp.script]]", &["vrrp_script", "scripts"])
        .about("A program whose exit status says whether all is well."),
    key("vrrp.script.name", Kind::Text, "name = \"haproxy\"", &["id"]).required().about("What it is called."),
    key("vrrp.script.command", Kind::Command, "command = \"/usr/bin/pidof haproxy\"", &["script", "run", "exec"]).required()
        .about("The program; exit status 0 is well."),
    duration("vrrp.script.interval", "interval = \"1s\"", &[]).about("From start to start."),
    key("vrrp.script.weight", Kind::Integer, "weight = 0", &[]).range(-253, 253)
        .about("What its failure does to priorities; 0: it is a fault."),
    key("vrrp.script.reverse", Kind::Boolean, "reverse = true", &[]).about("The weight counts the other way round."),
    key("vrrp.script.rise", Kind::Integer, "rise = 1", &[]).range(1, i32::MAX as i64)
        .about("Successes in a row until it is well again."),
    key("vrrp.script.fall", Kind::Integer, "fall = 1", &[]).range(1, i32::MAX as i64)
        .about("Failures in a row until it is not."),
    key("vrrp.script.init_fail", Kind::Boolean, "init_fail = true", &[]).about("It counts as failed until it has succeeded."),
    key("vrrp.file", Kind::Tables, "[[vrrp.file]]", &["track_file", "files"])
        .about("A file with a number that is added to priorities."),
    key("vrrp.file.name", Kind::Text, "name = \"load\"", &["id"]).required().about("What it is called."),
    key("vrrp.file.path", Kind::Text, "path = \"/run/load\"", &["file"]).required().pattern("^/").about("Where it is."),
    key("vrrp.file.init", Kind::Integer, "init = 0", &["init_file", "value"])
        .about("It is made at the start with this number."),
    key("vrrp.file.overwrite", Kind::Boolean, "overwrite = true", &[]).about("The same if it is there."),
    key("vrrp.process", Kind::Tables, "[[vrrp.process]]", &["vrrp_track_process", "track_process", "processes"])
        .about("Processes that are counted."),
    key("vrrp.process.name", Kind::Text, "name = \"haproxy\"", &["id"]).required().about("What it is called."),
    key("vrrp.process.process", Kind::Text, "process = \"haproxy\"", &["program", "command", "path"]).required()
        .about("Name of the program."),
    key("vrrp.process.arguments", Kind::Texts, "arguments = [\"-f\", \"/etc/haproxy.cfg\"]", &["args", "params"])
        .about("Arguments that it must have."),
    key("vrrp.process.match", Kind::Text, "match = \"exact\"", &["param_match"]).words(&["exact", "initial", "partial"])
        .about("How they are compared."),
    key("vrrp.process.full_command", Kind::Boolean, "full_command = true", &[])
        .about("The name is the whole of argv[0]."),
    key("vrrp.process.quorum", Kind::Integer, "quorum = 1", &["min", "least"]).range(1, 65_535).about("Least number."),
    key("vrrp.process.quorum_max", Kind::Integer, "quorum_max = 10", &["max", "most"]).range(0, 65_535)
        .about("Greatest number."),
    duration("vrrp.process.fork_delay", "fork_delay = \"0s\"", &["delay"])
        .about("A process that has begun is believed after this long."),
    duration("vrrp.process.terminate_delay", "terminate_delay = \"0s\"", &[])
        .about("One that has ended is believed after this long."),
    key("address.address", Kind::Text, "address = \"192.0.2.10/24\"", &["ip"]).required()
        .about("The address and its prefix length."),
    key("address.interface", Kind::Text, "interface = \"eth1\"", &["dev", "device"]).about("Where it is put."),
    key("address.broadcast", Kind::Text, "broadcast = \"192.0.2.255\"", &["brd"]).about("Broadcast address."),
    key("address.scope", Kind::IntegerOrText, "scope = \"global\"", &[]).words(&["global", "site", "link", "host", "nowhere"])
        .range(0, 255).about("Scope, as `ip address` has it."),
    key("address.label", Kind::Text, "label = \"eth0:1\"", &[]).about("Label, as `ip address` has it."),
    key("address.peer", Kind::Text, "peer = \"192.0.2.99\"", &[]).about("Point-to-point peer."),
    key("address.no_track", Kind::Boolean, "no_track = true", &[])
        .about("That it is removed by hand changes nothing: it is added again."),
    key("peer.address", Kind::Text, "address = \"192.0.2.3\"", &["ip"]).required().about("Its address."),
    key("peer.min_ttl", Kind::Integer, "min_ttl = 255", &[]).range(0, 255).about("Least TTL of its adverts."),
    key("peer.max_ttl", Kind::Integer, "max_ttl = 255", &[]).range(0, 255).about("Greatest one."),
    key("tracked.name", Kind::Text, "name = \"eth1\"", &["interface", "script", "file", "process"]).required()
        .about("What is tracked."),
    key("tracked.weight", Kind::Integer, "weight = -10", &[]).range(-253, 253)
        .about("What its failure does to the priority; 0: it is a fault."),
    key("tracked.reverse", Kind::Boolean, "reverse = true", &[]).about("The weight counts the other way round."),
    key("sync", Kind::Table, "[sync]", &["lvs_sync_daemon", "flow_sync"])
        .about("Directors tell each other of flows, so that connections outlive a director."),
    key("sync.interface", Kind::Text, "interface = \"eth0\"", &["dev", "device", "iface"]).required()
        .about("The interface to the other directors."),
    key("sync.peers", Kind::Texts, "peers = [\"224.0.0.81\"]", &["group", "peer"])
        .about("The other directors, or one multicast group."),
    key("sync.port", Kind::Integer, "port = 8848", &[]).range(1, 65_535).about("UDP port of all of them."),
    key("sync.key_file", Kind::Text, "key_file = \"/etc/shunt/sync.key\"", &["key"]).pattern("^/")
        .about("File with the key that they share: 64 hexadecimal digits."),
    key("sync.rate", Kind::Integer, "rate = 50000", &[]).range(1, 10_000_000).about("Flows a second that are sent at most."),
    duration("sync.wait", "wait = \"10s\"", &[])
        .about("A director that returns waits this long at most for the flows of the others."),
];
