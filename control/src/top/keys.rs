//! What keys do to what is shown.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::view::Look;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Draw again.
    On,
    /// The user has seen enough.
    End,
}

/// Longest text that is looked for, characters.
const LONGEST: usize = 60;

/// Changes `look` as the key says.
pub fn press(look: &mut Look, key: KeyEvent) -> Next {
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Next::End;
    }
    if look.typing {
        match key.code {
            KeyCode::Enter => look.typing = false,
            KeyCode::Esc => (look.typing, look.filter) = (false, String::new()),
            KeyCode::Backspace => drop(look.filter.pop()),
            KeyCode::Char(c) if look.filter.chars().count() < LONGEST => look.filter.push(c),
            _ => {}
        }
        return Next::On;
    }
    match key.code {
        KeyCode::Char('q') => return Next::End,
        KeyCode::Char('s') => look.column = look.column.next(),
        KeyCode::Char('r') => look.reversed = !look.reversed,
        KeyCode::Char('/') => look.typing = true,
        KeyCode::Esc => look.filter.clear(),
        KeyCode::Down | KeyCode::Char('j') => look.first = look.first.saturating_add(1),
        KeyCode::Up | KeyCode::Char('k') => look.first = look.first.saturating_sub(1),
        KeyCode::PageDown => look.first = look.first.saturating_add(10),
        KeyCode::PageUp => look.first = look.first.saturating_sub(10),
        _ => {}
    }
    Next::On
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_q_ends_it_unless_it_is_part_of_what_is_looked_for() {
        let mut look = Look::default();
        let mut press = |c| press(&mut look, KeyEvent::new(c, KeyModifiers::NONE));
        for c in "/q".chars() {
            assert_eq!(press(KeyCode::Char(c)), Next::On);
        }
        assert_eq!(press(KeyCode::Enter), Next::On);
        assert_eq!(press(KeyCode::Char('s')), Next::On);
        assert_eq!(press(KeyCode::Char('q')), Next::End);
        assert_eq!(look.filter, "q");
        assert_ne!(look.column, Look::default().column);
    }
}
