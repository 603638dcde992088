//! Arguments only: what is done with them is in the library.

mod cli;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use cli::{Cli, Command, Daemon};
use shunt::admin::protocol::{Answer, Request, What};
use shunt::admin::{client, table};
use shunt::ipvsadm::{self, Personality};
use shunt::rights::{self, Scripts};
use shunt::supervisor::{self, Options};
use shunt::{config, doctor, error, logging, manual};

fn main() -> ExitCode {
    if let Some((personality, program, words)) = called_ipvsadm() {
        return ExitCode::from(ipvsadm::run(personality, &program, words, &Daemon::default().socket()));
    }
    let cli = Cli::parse();
    let socket = cli.daemon.socket();
    let mut reading = config::Options::default();
    if let Some(id) = cli.config_id {
        reading.config_id = id;
    }
    let done = match cli.command {
        Command::Run { config, log, scripts_gain_rights } => {
            let scripts = if scripts_gain_rights { Scripts::GainRights } else { Scripts::Confined };
            run(Options { config, reading, socket }, log, scripts)
        }
        Command::Doctor(words) => doctor(&words, &reading, &socket),
        Command::Guard => guard(),
        Command::Check { file } => check(&file, &reading),
        Command::Convert { file } => convert(&file, &reading),
        Command::Man { folder } => manual::write_pages(Cli::command(), &folder)
            .with_context(|| format!("man pages in {}", folder.display())),
        Command::Completions { shell } => out(&manual::completions(Cli::command(), shell)),
        Command::Schema => out(&config::schema()),
        Command::Show { what, json, limit } => {
            ask(&socket, Request::Show { what, limit }).and_then(|answer| print(what, &answer, json))
        }
        Command::Ipvsadm { words } => {
            return ExitCode::from(ipvsadm::run(Personality::Ipvsadm, "shunt ipvsadm", words, &socket));
        }
        Command::Top(top) => top.run(&socket, out),
        Command::Edit(words) => words.run(&socket, out),
        Command::Plan(words) => words.run(&socket, &reading, out, complain),
        Command::Explain(arguments) => {
            let question = arguments.question().map_err(anyhow::Error::msg);
            let answer = question.and_then(|question| ask(&socket, Request::Explain(question)));
            answer.and_then(|answer| out(&arguments.render(&answer.data)))
        }
        Command::Capture(arguments) => arguments.run(&socket),
        Command::Reload => ask(&socket, Request::Reload).and_then(|answer| say(&answer)),
        Command::Announce { router } => {
            ask(&socket, Request::Announce { router }).and_then(|answer| say(&answer))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

/// If this program was called by a name of ipvsadm's: as what, how, and what follows.
fn called_ipvsadm() -> Option<(Personality, String, Vec<String>)> {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next()?;
    Some((Personality::of(&program)?, program, words.collect()))
}

fn run(options: Options, log: logging::Format, scripts: Scripts) -> anyhow::Result<()> {
    rights::enter(scripts).map_err(error::Error::GiveUp).context("shunt")?;
    // Made by a thread that has no rights, the one that writes the log has none.
    let log = std::thread::spawn(move || rights::keep(rights::NOTHING).and_then(|()| logging::start(log)));
    let _log = log.join().expect("beginning to log does not panic").context(
        "the journal of systemd cannot be logged to (/run/systemd/journal/socket): choose --log human or --log json",
    )?;
    shunt::panic::end_by_thread();
    let helper = || rights::keep(rights::HELPER).expect("what was given up once can be given up again");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().on_thread_start(helper).build();
    let runtime = runtime.context("the control thread cannot be set up")?;
    let done = runtime.block_on(supervisor::run(&options));
    // A look-up that hangs in the C library keeps a thread, and nobody waits for it.
    runtime.shutdown_background();
    done.map_err(|error| match error {
        // Its lines are FILE:LINE:COLUMN: already.
        error::Error::Config(faults) => {
            anyhow::anyhow!(faults.render(std::io::stderr().is_terminal()).trim_end().to_owned())
        }
        error => anyhow::anyhow!("shunt: {error}"),
    })
}

fn guard() -> anyhow::Result<()> {
    rights::keep(rights::GUARD).context("the guard cannot give up its rights")?;
    runtime()?.block_on(shunt::guard::stand()).context("addresses of a director that was killed may be left")
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("the control thread cannot be set up")
}

fn check(file: &std::path::Path, reading: &config::Options) -> anyhow::Result<()> {
    let color = std::io::stderr().is_terminal();
    match config::load_with(file, reading) {
        Ok(loaded) => {
            complain(&loaded.warnings.render(color));
            let runtime = runtime()?;
            complain(&runtime.block_on(shunt::programs::foresee(&loaded)).render(color));
            // A user database that hangs holds nobody up.
            runtime.shutdown_background();
            let reals: usize = loaded.model.services.iter().map(|service| service.reals.len()).sum();
            let services = config::counted(loaded.model.services.len(), "service");
            let reals = config::counted(reals, "real server");
            let routers = match loaded.model.vrrp.routers.len() {
                0 => String::new(),
                routers => format!(", {}", config::counted(routers, "virtual router")),
            };
            out(&format!("{}: valid: {services}, {reals}{routers}\n", file.display()))
        }
        Err(faults) => anyhow::bail!("{}{}", faults.render(color), faults.summary()),
    }
}

fn doctor(words: &doctor::Words, reading: &config::Options, socket: &std::path::Path) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let report = runtime.block_on(doctor::examine(words, reading, socket));
    // What hangs holds nobody up.
    runtime.shutdown_background();
    out(&report.render(words.json))?;
    match report.count(doctor::Level::Fail) {
        0 => Ok(()),
        _ => anyhow::bail!(report.summary()),
    }
}

fn convert(file: &std::path::Path, reading: &config::Options) -> anyhow::Result<()> {
    let color = std::io::stderr().is_terminal();
    match config::convert(file, reading) {
        Ok(converted) => {
            complain(&converted.lost.render(color));
            if converted.was_native {
                let file = file.display();
                complain(&format!(
                    "{file}: is native already; this is the same without comments and defaults\n"
                ));
            }
            out(&converted.text)
        }
        Err(faults) => anyhow::bail!("{}{}", faults.render(color), faults.summary()),
    }
}

fn ask(socket: &std::path::Path, request: Request) -> anyhow::Result<Answer> {
    let answer = client::ask(socket, request).map_err(anyhow::Error::msg)?;
    match answer.error {
        Some(why) => anyhow::bail!(why),
        None => Ok(answer),
    }
}

/// An answer in words.
fn say(answer: &Answer) -> anyhow::Result<()> {
    out(&format!("{}\n", answer.data.as_str().unwrap_or_default()))
}

fn print(what: What, answer: &Answer, json: bool) -> anyhow::Result<()> {
    match json {
        true => out(&format!("{:#}\n", answer.data)),
        false => out(&table::render(what, &answer.data)),
    }
}

/// Says it on standard error; that nobody reads it any more is no reason to end otherwise.
fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints; that the reader has seen enough (`| head`) is no error.
fn out(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("stdout"),
    }
}
