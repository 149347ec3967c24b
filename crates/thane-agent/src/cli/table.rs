//! Tables on a terminal: as wide as it is, and no wider.
//!
//! A pipe or a file gets [`crate::format::table`] instead, which scripts take apart line by line.

use crate::format::for_terminal;

/// The least room that is worth a column of its own.
const ROOM_MIN: usize = 20;

/// What stands before each line of a cell that got a place of its own.
const INDENT: usize = 4;

/// Lines up `rows` in columns, with two spaces between them. If the table would be wider than `width` the cells of the column `elastic` are
/// broken into lines, at commas and spaces where there are any; where there is no room even for that they stand below
/// their row. Nothing is left out. `paint` gives each cell its colour, by column and text; cells are harmless to a terminal by then.
pub(super) fn fitted<const COLUMNS: usize>(
    rows: &[[String; COLUMNS]],
    elastic: usize,
    width: usize,
    paint: impl Fn(usize, &str) -> String,
) -> String {
    let rows: Vec<[String; COLUMNS]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| for_terminal(cell.trim()).replace(['\n', '\t'], " ")))
        .collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let others: usize = widths.iter().sum::<usize>() - widths[elastic] + 2 * (COLUMNS - 1);
    let room = width.saturating_sub(others);
    let placement = match room {
        room if room >= widths[elastic] => Placement::Whole,
        ROOM_MIN.. => Placement::Broken(room),
        _ => Placement::Below(width.saturating_sub(INDENT).max(ROOM_MIN)),
    };
    if let Placement::Broken(room) = placement {
        widths[elastic] = room;
    }
    let lines = rows.iter().flat_map(|row| row_lines(row, elastic, &widths, placement, &paint));
    lines.collect::<Vec<_>>().join("\n")
}

/// Where the cells of the elastic column go.
#[derive(Debug, Clone, Copy)]
enum Placement {
    /// Between the others, as they are.
    Whole,
    /// Between the others, in lines of this many characters.
    Broken(usize),
    /// Below the row, in lines of this many characters.
    Below(usize),
}

fn row_lines<const COLUMNS: usize>(
    row: &[String; COLUMNS],
    elastic: usize,
    widths: &[usize; COLUMNS],
    placement: Placement,
    paint: &impl Fn(usize, &str) -> String,
) -> Vec<String> {
    let (mut pieces, is_below) = match placement {
        Placement::Whole => (vec![row[elastic].clone()], false),
        Placement::Broken(room) => (broken(&row[elastic], room), false),
        Placement::Below(room) => (broken(&row[elastic], room), true),
    };
    let first = if is_below || pieces.is_empty() { String::new() } else { pieces.remove(0) };
    let mut line = String::new();
    let mut gap = 0;
    for column in 0..COLUMNS {
        if column == elastic && is_below {
            continue;
        }
        let cell = if column == elastic { &first } else { &row[column] };
        if !cell.is_empty() {
            line.extend(std::iter::repeat_n(' ', gap));
            line.push_str(&paint(column, cell));
            gap = 0;
        }
        gap += widths[column] - cell.chars().count() + 2;
    }
    let indent = if is_below { INDENT } else { widths[..elastic].iter().sum::<usize>() + 2 * elastic };
    let rest = pieces.into_iter().map(|piece| format!("{:indent$}{}", "", paint(elastic, &piece)));
    std::iter::once(line).chain(rest).collect()
}

/// `text` in pieces of at most `room` characters, which end behind commas and spaces where they can.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.char_indices().nth(room).map_or(rest.len(), |(index, _)| index);
        let end = match rest[..end].rfind([',', ' ']) {
            Some(mark) if end < rest.len() => mark + 1,
            _ => end,
        };
        pieces.push(rest[..end].trim_end().to_owned());
        rest = &rest[end..];
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [[&str; 4]; 2] = [
        ["alpha", "10.0.0.1:7946", "alive", "dc=east,role=web,version=12"],
        ["b", "10.0.0.22:7946", "left", ""],
    ];

    fn shown(width: usize) -> String {
        let rows = ROWS.map(|row| row.map(String::from));
        fitted(
            &rows,
            3,
            width,
            |column, cell| if column == 2 { cell.to_uppercase() } else { cell.to_owned() },
        )
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        let expected =
            "alpha  10.0.0.1:7946   ALIVE  dc=east,role=web,version=12\nb      10.0.0.22:7946  LEFT";
        assert_eq!(shown(80), expected);
        assert_eq!(shown(57), expected);
    }

    #[test]
    fn what_does_not_fit_is_broken_in_its_column_or_stands_below() {
        assert_eq!(
            shown(56),
            "alpha  10.0.0.1:7946   ALIVE  dc=east,role=web,\n                              version=12\n\
             b      10.0.0.22:7946  LEFT"
        );
        assert_eq!(
            shown(40),
            "alpha  10.0.0.1:7946   ALIVE\n    dc=east,role=web,version=12\nb      10.0.0.22:7946  LEFT"
        );
        for width in [0, 1, 20, 41, 50, 56] {
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(letters(&shown(width)), letters(&shown(80)), "nothing is lost at {width}");
        }
    }

    #[test]
    fn a_column_in_the_middle_is_broken_too() {
        let rows = [["a", "k=v,l=w,m=x,n=y,o=z,p=0", "Version: 5"].map(String::from)];
        assert_eq!(
            fitted(&rows, 1, 36, |_, cell| cell.to_owned()),
            "a  k=v,l=w,m=x,n=y,o=z,   Version: 5\n   p=0"
        );
    }

    #[test]
    fn words_without_end_and_wide_characters_are_cut_where_they_must() {
        assert_eq!(broken("größergrößer", 5), ["größe", "rgröß", "er"]);
        assert_eq!(broken("a, b", 3), ["a,", "b"]);
        assert_eq!(broken("", 3), [""; 0]);
    }

    #[test]
    fn cells_cannot_reach_the_terminal() {
        let rows = [["a\x1b[31m\nb".to_owned(), "c".to_owned()]];
        assert_eq!(fitted(&rows, 1, 80, |_, cell| cell.to_owned()), "a\\x1b[31m b  c");
    }
}
