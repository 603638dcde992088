//! What is told of virtual routers.

use super::*;

fn router(state: Told, hooks: &VrrpHooks) -> News {
    News::Router { name: "VI_1".to_owned(), hooks: hooks.clone(), state, priority: 200 }
}

fn group(state: Told, hooks: &VrrpHooks) -> News {
    News::Group { name: "VG".to_owned(), hooks: hooks.clone(), state }
}

/// Programs that write a word each to a file, and the one for all states its arguments.
fn all_hooks(path: &Path) -> VrrpHooks {
    let say = |word: &str| Some(shell(&format!("echo {word} $# >> {}", path.display())));
    let mut any = shell(&format!("echo \"$@\" >> {}", path.display()));
    any.argv.push("notify".to_owned());
    VrrpHooks {
        active: say("active"),
        backup: say("backup"),
        fault: say("fault"),
        stop: say("stop"),
        lower_heard: say("lower"),
        any: Some(any),
        ..VrrpHooks::default()
    }
}

#[test]
fn lines_about_virtual_routers_are_keepalived_s_to_the_letter() {
    let hooks = VrrpHooks::default();
    let name = || "VI_1".to_owned();
    let of = |active| News::Priority { name: name(), hooks: VrrpHooks::default(), active, priority: 95 };
    assert_eq!(name::line(&router(Told::Active, &hooks)), "INSTANCE \"VI_1\" MASTER 200\n");
    assert_eq!(name::line(&router(Told::Stop, &hooks)), "INSTANCE \"VI_1\" STOP 200\n");
    assert_eq!(name::line(&group(Told::Fault, &hooks)), "GROUP \"VG\" FAULT 0\n");
    assert_eq!(name::line(&of(true)), "INSTANCE \"VI_1\" MASTER_PRIORITY 95\n");
    assert_eq!(name::line(&of(false)), "INSTANCE \"VI_1\" BACKUP_PRIORITY 95\n");
    let lower = News::LowerHeard { name: name(), hooks, priority: 200 };
    assert_eq!(name::line(&lower), "INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 200\n");
}

#[tokio::test]
async fn each_state_has_its_program_and_the_one_for_all_is_told_which() {
    let (_directory, path) = scratch();
    let hooks = all_hooks(&path);
    let notifier = start(Notify::default());
    for (state, said) in [
        (Told::Backup, "backup 0\nINSTANCE VI_1 BACKUP 200\n"),
        (Told::Active, "active 0\nINSTANCE VI_1 MASTER 200\n"),
        (Told::Fault, "fault 0\nINSTANCE VI_1 FAULT 200\n"),
    ] {
        notifier.tell(router(state, &hooks));
        eventually(|| text(&path) == said).await;
        eventually(|| notifier.scripts.subjects() == 0).await;
        fs::remove_file(&path).expect("it is there");
    }
    notifier.tell(group(Told::Active, &hooks));
    eventually(|| text(&path) == "active 0\nGROUP VG MASTER 0\n").await;
    notifier.tell(News::LowerHeard { name: "VI_1".to_owned(), hooks, priority: 200 });
    eventually(|| text(&path) == "active 0\nGROUP VG MASTER 0\nlower 0\n").await;
    notifier.finish(ENOUGH).await;
}

#[tokio::test]
async fn a_router_that_changes_quickly_is_told_of_in_order_and_ends_with_what_it_is() {
    let (_directory, path) = scratch();
    let gate = path.with_extension("gate");
    let mut hooks = all_hooks(&path);
    hooks.any = None;
    hooks.active = Some(shell(&format!(
        "until test -e {}; do sleep 0.01; done; echo active >> {}",
        gate.display(),
        path.display()
    )));
    let notifier = start(Notify::default());
    notifier.tell(router(Told::Active, &hooks));
    for state in [Told::Backup, Told::Fault, Told::Active, Told::Fault, Told::Backup] {
        notifier.tell(router(state, &hooks));
    }
    fs::write(&gate, "").expect("it can be written");
    notifier.finish(ENOUGH).await;
    assert_eq!(text(&path), "active\nbackup 0\n");
}

#[tokio::test]
async fn at_the_end_the_stop_programs_run_though_others_hang() {
    let (_directory, path) = scratch();
    let begun = path.with_extension("begun");
    let mut hooks = all_hooks(&path);
    hooks.active = Some(shell(&format!("echo > {}; sleep 66", begun.display())));
    let notifier = start(Notify::default());
    notifier.tell(router(Told::Active, &hooks));
    eventually(|| begun.exists()).await;
    notifier.tell(router(Told::Stop, &hooks));
    notifier.finish(ENOUGH).await;
    assert_eq!(text(&path), "stop 0\nINSTANCE VI_1 STOP 200\n");
}

#[tokio::test]
async fn a_stop_without_a_program_runs_no_other() {
    let (_directory, path) = scratch();
    let hooks = VrrpHooks { stop: None, any: None, ..all_hooks(&path) };
    let notifier = start(Notify::default());
    notifier.tell(router(Told::Stop, &hooks));
    notifier.finish(ENOUGH).await;
    assert_eq!(text(&path), "");
}

#[tokio::test]
async fn pipes_hear_of_what_they_are_for() {
    let (directory, all) = scratch();
    let (own, services) = (directory.path().join("vrrp"), directory.path().join("lvs"));
    let pipe = |path: &PathBuf| Pipe { path: path.clone(), reader: None };
    let mut model =
        model(Notify { pipes: vec![pipe(&all)], service_pipes: vec![pipe(&services)], ..Notify::default() });
    model.vrrp.pipes = vec![pipe(&own)];
    let notifier = Notifier::start(&model);
    let (mut of_all, mut of_own) = (reader_of(&all), reader_of(&own));
    let mut of_services = reader_of(&services);
    let quiet = VrrpHooks::default();
    let told = VrrpHooks { priority_changes: true, ..VrrpHooks::default() };
    let priority = |hooks: &VrrpHooks, priority| News::Priority {
        name: "VI_1".to_owned(),
        hooks: hooks.clone(),
        active: true,
        priority,
    };
    notifier.tell(quorum(10, None, true, &Hooks::default()));
    notifier.tell(router(Told::Active, &quiet));
    notifier.tell(priority(&quiet, 1));
    notifier.tell(priority(&told, 2));
    let read = |pipe: &mut fs::File| {
        let mut lines = [0; 4096];
        let length = pipe.read(&mut lines).expect("lines");
        String::from_utf8_lossy(&lines[..length]).into_owned()
    };
    let of_routers = "INSTANCE \"VI_1\" MASTER 200\nINSTANCE \"VI_1\" MASTER_PRIORITY 2\n";
    assert_eq!(read(&mut of_own), of_routers);
    assert_eq!(read(&mut of_services), "VS [192.0.2.10]:tcp:80 UP\n");
    assert_eq!(read(&mut of_all), format!("VS [192.0.2.10]:tcp:80 UP\n{of_routers}"));
    notifier.finish(ENOUGH).await;
    assert!(!own.exists() && !all.exists() && !services.exists());
}

#[tokio::test]
async fn mail_about_virtual_routers_says_what_keepalived_s_says() {
    let (port, server) = mail_server(4);
    let mut notify = mail_to(MailServer::Address(IpAddr::from([127, 0, 0, 1])), port);
    notify.mail.as_mut().expect("mail").no_faults = true;
    let notifier = start(notify);
    let hooks = VrrpHooks { mail: true, ..VrrpHooks::default() };
    notifier.tell(router(Told::Active, &VrrpHooks::default()));
    notifier.tell(router(Told::Fault, &hooks));
    notifier.tell(router(Told::Active, &hooks));
    notifier.tell(router(Told::Stop, &hooks));
    notifier.tell(group(Told::Backup, &hooks));
    notifier.tell(group(Told::Stop, &hooks));
    notifier.finish(ENOUGH).await;
    let mails = server.join().expect("the server works");
    for (mail, (subject, body)) in mails.iter().zip([
        ("VRRP Instance VI_1 - Entering MASTER state", "VRRP Instance is now owning VRRP VIPs"),
        ("VRRP Instance VI_1 - Stopping", "VRRP Instance stopping"),
        ("VRRP Group VG - Entering BACKUP state", "All VRRP group instances are now in BACKUP state"),
        ("VRRP Group VG - Stopping", "All VRRP group instances are now stopping"),
    ]) {
        assert!(has(mail, &format!("Subject: [LVS_1] {subject}")), "{mail:?}");
        assert!(has(mail, &format!("=> {body} <=")), "{mail:?}");
    }
}

#[tokio::test]
async fn what_was_said_of_a_group_is_forgotten_with_it() {
    let mut notifier = start(Notify::default());
    for number in 0..10 {
        notifier.tell(quorum(10, Some(&format!("web{number}")), true, &Hooks::default()));
    }
    let text = include_str!("../../../../configs/minimal.toml");
    let mut model = crate::config::parse("minimal.toml", text).expect("a configuration").model;
    model.services[0].group = Some("web3".to_owned());
    notifier.set(&model);
    let told: Vec<Subject> = notifier.told.lock().expect("nobody panicked").keys().cloned().collect();
    assert_eq!(told, [Subject::Service(Service::Group("web3".to_owned()), None)]);
    notifier.finish(ENOUGH).await;
}
