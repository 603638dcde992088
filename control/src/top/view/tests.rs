use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::top::terminal::draw;

fn board() -> Board {
    let start = Instant::now();
    let mut board = Board::default();
    board.hear(start, Ok(example::sample(start, 0)));
    let later = start + Duration::from_secs(1);
    let mut sample = example::sample(later, 200_000);
    sample.routers[0].state = "BACKUP".into();
    sample.routers[0].reason = "heard priority 200 from 198.51.100.2".into();
    board.hear(later, Ok(sample));
    board
}

fn drawn(board: &Board, look: &mut Look, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, board, look)).unwrap();
    let buffer = terminal.backend().buffer();
    let line =
        |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned() + "\n";
    (0..height).map(line).collect()
}

#[test]
fn a_frame_of_80_by_24_is_the_golden_one() {
    assert_eq!(drawn(&board(), &mut Look::default(), 80, 24), include_str!("80x24.txt"));
}

#[test]
fn a_frame_of_120_by_40_is_the_golden_one_and_says_why() {
    let frame = drawn(&board(), &mut Look::default(), 120, 40);
    assert!(frame.contains("check dns: no answer within 5 s"), "{frame}");
    assert_eq!(frame, include_str!("120x40.txt"));
}

#[test]
fn no_line_is_wider_than_the_terminal_and_what_is_cut_is_marked() {
    let mut board = board();
    let now = board.now.as_mut().unwrap();
    now.routers[0].name = "ルータ".repeat(60);
    now.reals[0].real = Some("x".repeat(300));
    for (width, height) in [(1, 1), (9, 3), (20, 8), (79, 24), (80, 24), (120, 40), (300, 100)] {
        let lines = lines(&board, &mut Look::default(), width, Some(height));
        assert!(lines.len() <= height, "{width}x{height}");
        for line in lines {
            assert!(line.width() <= width, "{width}x{height}: {line}");
        }
        drawn(&board, &mut Look::default(), width as u16, height as u16);
    }
    assert!(text(&board, &Look::default(), 80).contains("xx… up"));
}

#[test]
fn rows_are_sorted_filtered_and_moved() {
    let board = board();
    let order = |look: &Look| {
        let text = text(&board, look, 80);
        let found: Vec<usize> =
            ["192.0.2.21", "192.0.2.22"].iter().filter_map(|name| text.find(&format!("  {name} "))).collect();
        (found.len(), found.is_sorted())
    };
    assert_eq!(order(&Look::default()), (2, false), "the one with more frames is first");
    assert_eq!(order(&Look { reversed: true, ..Look::default() }), (2, true));
    assert_eq!(order(&Look { column: Column::Name, ..Look::default() }), (2, true));
    assert_eq!(order(&Look { filter: "0.2.22".into(), ..Look::default() }), (1, true));
    assert_eq!(order(&Look { filter: "DOWN".into(), ..Look::default() }), (0, true));
    let mut look = Look { first: 1000, ..Look::default() };
    let frame = drawn(&board, &mut look, 80, 14);
    assert!(look.first < 5 && frame.contains("2001:db8:1:2:3:4:5:1234"), "{frame}");
    let frame = drawn(&board, &mut Look::default(), 80, 14);
    assert!(frame.contains("more rows below"), "{frame}");
}

#[test]
fn a_director_that_is_away_is_said_to_be() {
    let mut board = Board::default();
    board.hear(Instant::now(), Err("no shunt runs".into()));
    let frame = drawn(&board, &mut Look::default(), 80, 24);
    assert!(
        frame.contains("shunt: away") && frame.contains("NO ANSWER, asking again: no shunt runs"),
        "{frame}"
    );
}

#[test]
fn a_number_takes_six_characters_at_most() {
    let said = [0.0, 1.0, 12.34, 999.4, 999.9, 1234.0, 99_960.0, 999_600.0, 1e9, 1.5e15];
    let said = said.map(|number| short(Some(number)));
    assert_eq!(said, ["0", "1", "12.3", "999", "1.00k", "1.23k", "100k", "1.00M", "1.00G", "1.50P"]);
    assert_eq!(short(None), "-");
}
