//! Mail about changes (`smtp_alert`), in keepalived's words, by SMTP in plain text (RFC 5321).
//!
//! One mail after another, each a conversation of its own that may take `smtp_connect_timeout` from the first question for
//! the server's address to the last answer. What cannot be sent is not tried again, as with keepalived.
//!
//! *Invariants*
//! - at most 256 mails wait; the oldest go first, and are counted;
//! - failures and losses cost at most one line of the log in 10 s.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::lookup::Lookup;
use super::{Cause, News, Stage, Tasks, name, vrrp};
use crate::model::{Mail, MailServer};

/// Mails that wait at most.
const WAITING: usize = 256;

/// Shortest time between two complaints.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// Mail that is to be sent.
pub(super) struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    settings: Option<Mail>,
    waiting: VecDeque<Letter>,
    lost: u64,
}

/// One mail, as it is before anybody asks where it goes.
struct Letter {
    at: SystemTime,
    words: Words,
}

/// What a mail says.
pub(super) struct Words {
    /// The subject, without the director's name.
    pub(super) subject: String,
    pub(super) body: String,
    /// A fault of the director itself (`no_email_faults`).
    pub(super) is_fault: bool,
}

impl Outbox {
    /// Must be called on a tokio runtime.
    pub(super) fn new(settings: Option<Mail>, tasks: &Tasks) -> Outbox {
        let state = Mutex::new(State { settings, ..State::default() });
        let shared = Arc::new(Shared { state, filled: Notify::new() });
        tokio::spawn(work(shared.clone(), tasks.clone()));
        Outbox { shared }
    }

    /// All mail goes this way from now on; none: nowhere.
    pub(super) fn set(&self, settings: Option<Mail>) {
        let mut state = self.shared.state();
        if settings.is_none() {
            state.waiting.clear();
        }
        state.settings = settings;
    }

    /// Mails that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.state().waiting.len()
    }

    /// Sends mail, if there is anywhere to send it.
    pub(super) fn put(&self, words: Words) {
        let mut state = self.shared.state();
        let Some(settings) = &state.settings else { return };
        if words.is_fault && settings.no_faults {
            return;
        }
        if state.waiting.len() == WAITING {
            state.waiting.pop_front();
            state.lost += 1;
        }
        state.waiting.push_back(Letter { at: SystemTime::now(), words });
        self.shared.filled.notify_one();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// The next mail, the way it goes, and how many were lost before it.
    fn next(&self) -> Option<(Mail, Letter, u64)> {
        let mut state = self.state();
        let settings = state.settings.clone()?;
        let letter = state.waiting.pop_front()?;
        Some((settings, letter, std::mem::take(&mut state.lost)))
    }
}

/// Sends mail until the end.
async fn work(shared: Arc<Shared>, tasks: Tasks) {
    let (mut lookup, mut complaints) = (Lookup::new(), Complaints::default());
    loop {
        let Some((settings, letter, lost)) = shared.next() else {
            tokio::select! {
                () = shared.filled.notified() => continue,
                // Nothing is put any more, but something may have been before.
                () = tasks.reached(Stage::Closing) => match shared.state().waiting.is_empty() {
                    true => return,
                    false => continue,
                },
            }
        };
        if lost > 0 {
            complaints.say(&format!("{lost} mails about changes were lost: more than {WAITING} waited"));
        }
        tokio::select! {
            result = send(&mut lookup, &settings, &letter) => match result {
                Ok(()) => tracing::debug!(subject = letter.words.subject, "mail sent"),
                Err(reason) => complaints.say(&format!("mail \"{}\" was not sent: {reason}", letter.words.subject)),
            },
            () = tasks.reached(Stage::Over) => return,
        }
    }
}

/// Sends one mail, to the first of the server's addresses that takes it.
async fn send(lookup: &mut Lookup, mail: &Mail, letter: &Letter) -> Result<(), String> {
    let host = host_name();
    let message = message(mail, letter, &host)?;
    let helo = mail.helo.clone().unwrap_or(host);
    let conversation = async {
        let addresses = match &mail.server {
            MailServer::Address(address) => vec![*address],
            MailServer::Name(name) => {
                lookup.addresses(name).await.map_err(|error| format!("{name} was not found: {error}"))?
            }
        };
        let mut result = Err("there is no server".to_owned());
        for address in &addresses {
            let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.to_string())
                .port(mail.port)
                .hello_name(ClientId::Domain(helo.clone()))
                // For the connection, and for each step after it: one address must not take the time of all.
                .timeout(Some(mail.timeout / addresses.len() as u32))
                .build();
            match transport.send(message.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => result = Err(format!("{address}:{}: {}", mail.port, chain(&error))),
            }
        }
        result
    };
    match tokio::time::timeout(mail.timeout, conversation).await {
        Ok(result) => result,
        Err(_) => Err(format!("its server did not take it within {:?}", mail.timeout)),
    }
}

fn message(mail: &Mail, letter: &Letter, host: &str) -> Result<Message, String> {
    let from = mail.from.clone().unwrap_or_else(|| format!("root@{host}"));
    let mut message = Message::builder()
        .date(letter.at)
        .from(mailbox(&from, host)?)
        .subject(format!("[{}] {}", mail.router_id.as_deref().unwrap_or(host), letter.words.subject))
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        message = message.to(mailbox(to, host)?);
    }
    message.body(format!("{}\r\n", letter.words.body)).map_err(|error| error.to_string())
}

/// `user@host`, `Name <user@host>`; a `user` alone is one of this machine.
fn mailbox(text: &str, host: &str) -> Result<Mailbox, String> {
    let text = text.trim();
    let whole = if text.contains('@') { text.to_owned() } else { format!("{text}@{host}") };
    whole.parse().map_err(|error| format!("{text:?} is not a mail address: {error}"))
}

/// What is to be mailed of it; none: nothing.
pub(super) fn words(news: &News) -> Option<Words> {
    let (hooks, service, group, up, cause) = match news {
        News::Real { hooks, service, group, up, cause, .. }
        | News::Quorum { hooks, service, group, up, cause, .. } => (hooks, service, group, *up, cause),
        _ => return vrrp::words(news),
    };
    if !hooks.mail {
        return None;
    }
    let (state, name) = (name::state(up), name::service(service, group.as_deref()));
    let subject = match news {
        News::Real { real, port, .. } => {
            format!("Realserver {} of virtual server {name} - {state}", name::address(*real, *port, service))
        }
        _ => format!("Virtualserver {name} - {state}"),
    };
    let said = match (cause, news) {
        (Cause::Ending, _) => "Shutting down".to_owned(),
        (Cause::Removed, _) => "Removing".to_owned(),
        (Cause::Health(_), News::Real { up: true, .. }) => "CHECK succeed on service".to_owned(),
        (Cause::Health(why), News::Real { .. }) if why.is_empty() => "CHECK failed on service".to_owned(),
        (Cause::Health(why), News::Real { .. }) => {
            // Of a check it is said already that it failed.
            format!("CHECK failed on service : {}", why.strip_prefix("check failed: ").unwrap_or(why))
        }
        (Cause::Health(_), News::Quorum { up: true, needed, hysteresis, weight, .. }) => {
            let threshold = u64::from(*needed) + u64::from(*hysteresis);
            format!("Gained quorum {needed}+{hysteresis}={threshold} <= {weight}")
        }
        // As keepalived's log has it; its mail has `+` and `<=` here too.
        (Cause::Health(_), News::Quorum { needed, hysteresis, weight, .. }) => {
            let threshold = i64::from(*needed) - i64::from(*hysteresis);
            format!("Lost quorum {needed}-{hysteresis}={threshold} > {weight}")
        }
        _ => unreachable!("news of virtual routers have gone another way"),
    };
    Some(Words { subject, body: format!("=> {said} <="), is_fault: false })
}

/// The host's name, or `localhost`. The resolver is not asked for more of it: it may hang.
fn host_name() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(name) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => "localhost".to_owned(),
    }
}

/// An error with all that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

/// Complains now and then, about everything since the last time.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    fn say(&mut self, complaint: &str) {
        if self.last.is_some_and(|last| last.elapsed() < COMPLAINTS) {
            self.unsaid += 1;
            return;
        }
        self.last = Some(Instant::now());
        match std::mem::take(&mut self.unsaid) {
            0 => tracing::warn!("{complaint}"),
            unsaid => tracing::warn!("{complaint} ({unsaid} more complaints about mail were left out)"),
        }
    }
}
