//! Arguments only: what is done with them is in the library.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use shunt::admin::protocol::{Answer, DEFAULT_LIMIT, Request, What};
use shunt::admin::{client, table};
use shunt::supervisor::{self, Options};
use shunt::{config, error, plan};
use tracing_appender::non_blocking::NonBlockingBuilder;
use tracing_subscriber::EnvFilter;

/// A layer-4 director: direct server return over AF_XDP, with health checks and VIP ownership, in one program.
///
/// Exit codes: 0 done, 1 the answer is no, 2 usage.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    daemon: Daemon,
    /// Which lines with `@ID` of a keepalived.conf count [default: the host's name up to the first dot]
    #[arg(long, short = 'i', global = true, value_name = "ID")]
    config_id: Option<String>,
}

#[derive(Args)]
struct Daemon {
    /// The daemon's admin socket [env: SHUNT_SOCKET] [default: /run/shunt/shunt.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the director in the foreground
    Run {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Validate a configuration: every fault as FILE:LINE:COLUMN: message
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the native configuration that means the same as a keepalived.conf, or as what `ipvsadm-save -n` prints
    Convert {
        /// The file, in any format
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON schema of the native format, for editors
    Schema,
    /// Show what a running director does
    Show {
        /// What to show
        #[arg(value_enum)]
        what: What,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Most flows listed
        #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT)]
        limit: usize,
    },
    /// Say what a configuration would change, and what would become of the flows of a running director
    Plan {
        /// The configuration; the daemon reads it, as its own user
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Plan a configuration and bring it into force, for good or on trial
    Apply {
        /// The configuration; the daemon reads it, as its own user
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Go back by itself unless `shunt confirm` follows within this, 1s to 24h
        #[arg(long, value_name = "TIME", value_parser = plan::command::confirm_time)]
        confirm: Option<Duration>,
    },
    /// What was applied on trial stays
    Confirm,
    /// Make a running director read its configuration again
    Reload,
    /// Wait for the end of the director that has started this, and take its addresses away if it was killed
    #[command(name = shunt::guard::WORD, hide = true)]
    Guard,
    /// Announce the addresses of active virtual routers (gratuitous ARP, neighbour advertisements)
    Announce {
        /// Its name [default: all]
        #[arg(value_name = "ROUTER")]
        router: Option<String>,
    },
}

impl Daemon {
    fn socket(self) -> PathBuf {
        self.socket
            .or_else(|| std::env::var_os("SHUNT_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from("/run/shunt/shunt.sock"))
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let socket = cli.daemon.socket();
    let mut reading = config::Options::default();
    if let Some(id) = cli.config_id {
        reading.config_id = id;
    }
    let done = match cli.command {
        Command::Run { config } => run(Options { config, reading, socket }),
        Command::Guard => guard(),
        Command::Check { file } => check(&file, &reading),
        Command::Convert { file } => convert(&file, &reading),
        Command::Schema => out(&config::schema()),
        Command::Show { what, json, limit } => {
            ask(&socket, Request::Show { what, limit }).and_then(|answer| print(what, &answer, json))
        }
        Command::Plan { file, json } => {
            plan::command::plan(&socket, &file, json).map_err(anyhow::Error::msg).and_then(|text| out(&text))
        }
        // The plan is for who looks; what came of it is the answer.
        Command::Apply { file, confirm } => plan::command::apply(&socket, &file, confirm, complain)
            .map_err(anyhow::Error::msg)
            .and_then(|text| out(&text)),
        Command::Confirm => ask(&socket, Request::Confirm).and_then(|answer| say(&answer)),
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

fn run(options: Options) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("SHUNT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Through a thread of its own, and lossy: whoever reads the log, slowly, never or no more, cannot hold up the
    // control thread. What it says at the end is written before this returns.
    let (log, _writer) = NonBlockingBuilder::default().lossy(true).finish(std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(log)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = runtime()?;
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
