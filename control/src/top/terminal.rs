//! The terminal: draws what comes, hears keys, and leaves it as it was.
//!
//! One thread asks the daemon, one waits for signals; this one draws. Both others end with the process.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::widgets::Paragraph;
use ratatui::{DefaultTerminal, Frame};
use tokio::signal::unix::{SignalKind, signal};

use super::keys::{self, Next};
use super::rates::Board;
use super::sample::Sample;
use super::view::{self, Look};

/// Longest wait between two looks at what has come.
const PATIENCE: Duration = Duration::from_millis(50);

enum News {
    Look(Instant, Result<Sample, String>),
    /// A signal that says: end.
    End,
}

/// Shows the daemon at `socket` until a key or a signal ends it.
///
/// # Errors
/// The terminal cannot be used, or signals cannot be waited for.
pub fn run(socket: &Path, interval: Duration) -> anyhow::Result<()> {
    let (tell, news) = channel();
    watch_signals(tell.clone())?;
    let socket = socket.to_owned();
    thread::spawn(move || {
        loop {
            let start = Instant::now();
            let look = super::ask(&socket);
            if tell.send(News::Look(Instant::now(), look)).is_err() {
                return;
            }
            thread::sleep(interval.saturating_sub(start.elapsed()));
        }
    });
    // It is given back by the hook that this sets if anything panics, and below if nothing does.
    let mut terminal = ratatui::try_init().context("the terminal cannot be used: --once prints one frame")?;
    let done = show(&mut terminal, &news);
    ratatui::restore();
    done
}

fn show(terminal: &mut DefaultTerminal, news: &Receiver<News>) -> anyhow::Result<()> {
    let (mut board, mut look) = (Board::default(), Look::default());
    loop {
        terminal.draw(|frame| draw(frame, &board, &mut look)).context("the terminal")?;
        loop {
            while event::poll(Duration::ZERO).context("the terminal")? {
                match event::read().context("the terminal")? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        if keys::press(&mut look, key) == Next::End {
                            return Ok(());
                        }
                        terminal.draw(|frame| draw(frame, &board, &mut look)).context("the terminal")?;
                    }
                    Event::Resize(..) => {
                        terminal.draw(|frame| draw(frame, &board, &mut look)).context("the terminal")?;
                    }
                    _ => {}
                }
            }
            match news.recv_timeout(PATIENCE) {
                Ok(News::Look(at, heard)) => {
                    board.hear(at, heard);
                    break;
                }
                Ok(News::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// One frame, as large as the terminal.
pub fn draw(frame: &mut Frame<'_>, board: &Board, look: &mut Look) {
    let area = frame.area();
    let lines = view::lines(board, look, area.width.into(), Some(area.height.into()));
    frame.render_widget(Paragraph::new(lines), area);
}

/// A runtime of its own: signals are waited for nowhere else in this program but in the daemon.
fn watch_signals(tell: Sender<News>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("signals")?;
    let (mut term, mut hangup, mut interrupt) = {
        let _inside = runtime.enter();
        let listen = |kind| signal(kind).context("signals");
        (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?, listen(SignalKind::interrupt())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = term.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        let _ = tell.send(News::End);
    });
    Ok(())
}
