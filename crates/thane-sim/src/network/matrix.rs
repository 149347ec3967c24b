//! Measured round-trip times between places, as a matrix.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// More places than this are refused: the matrix is kept as a whole.
const PLACES_MAX: usize = 20_000;
/// Round-trip times over this are refused, in milliseconds: no network is that slow, so the unit is wrong.
const RTT_MS_MAX: f64 = 600_000.0;

/// Round-trip times between places. In TOML and JSON it is written as its CSV text, or as the name of a built-in one.
#[derive(Clone, PartialEq)]
pub struct Matrix {
    /// Under which it is built in.
    name: Option<&'static str>,
    places: usize,
    /// Round-trip times in milliseconds, row by row; none is missing.
    rtts: Arc<[f32]>,
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matrix of {} places, median {:?}", self.places, self.median())
    }
}

impl Matrix {
    /// 50 regions of a cloud around the world: median round-trip times, from 1 to 400 ms. (Microsoft's published table for Azure;
    /// see the crate's `data/README.md`.)
    pub fn azure() -> Self {
        match Self::from_csv(include_str!("../../data/azure-rtt.csv")) {
            Ok(matrix) => Self { name: Some("azure"), ..matrix },
            Err(wrong) => unreachable!("invariant: the built-in matrix can be read: {wrong}"),
        }
    }

    /// The built-in matrix of this name, if there is one.
    pub fn built_in(name: &str) -> Option<Self> {
        (name == "azure").then(Self::azure)
    }

    /// Reads CSV: one row for each place, with the round-trip times to all places in milliseconds. A first row and a first
    /// column that are not numbers are names. With names, a column belongs to the place whose row bears its name, and columns of
    /// other names are left out. A time that is missing (blank, 0 off the diagonal, or `nan`) is taken from the opposite
    /// direction, or else is the median of all. Lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// What is wrong, with the line, as a sentence.
    pub fn from_csv(text: &str) -> Result<Self, String> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| {
                (number, line.split(',').map(|cell| cell.trim().trim_matches('"')).collect())
            })
            .collect::<Vec<(usize, Vec<&str>)>>();
        let is_name = |cell: &str| !cell.is_empty() && cell.parse::<f64>().is_err();
        let is_header = |cells: &[&str]| cells.iter().skip(1).any(|cell| is_name(cell));
        let header = if lines.first().is_some_and(|(_, cells)| is_header(cells)) {
            Some(lines.remove(0).1)
        } else {
            None
        };
        let has_names = lines.first().is_some_and(|(_, cells)| is_name(cells[0])) || header.is_some();
        let names: Vec<&str> = lines.iter().map(|(_, cells)| cells[0]).collect();
        let places = lines.len();
        if !(2..=PLACES_MAX).contains(&places) {
            return Err(format!("a matrix has 2 to {PLACES_MAX} rows, this one has {places}"));
        }
        let columns = columns(&names, header.as_deref(), has_names, places)?;
        let mut cells = vec![f32::NAN; places * places];
        for (row, (line, texts)) in lines.iter().enumerate() {
            for (column, source) in columns.iter().enumerate() {
                let cell = source.and_then(|source| texts.get(source)).copied().unwrap_or_default();
                cells[row * places + column] =
                    rtt(cell, row == column).map_err(|wrong| format!("line {line}: {wrong}"))?;
            }
        }
        fill(&mut cells, places)?;
        Ok(Self { name: None, places, rtts: cells.into() })
    }

    /// How many places it has.
    pub fn places(&self) -> usize {
        self.places
    }

    /// The round-trip time between two places; numbers past the last begin anew, so that any number of hosts finds a place.
    pub fn rtt(&self, from: usize, to: usize) -> Duration {
        let ms = self.rtts[from % self.places * self.places + to % self.places];
        Duration::from_nanos((f64::from(ms) * 1e6).round() as u64)
    }

    /// The median of all round-trip times between different places.
    pub fn median(&self) -> Duration {
        let mut all: Vec<f32> = (0..self.places * self.places)
            .filter(|index| index / self.places != index % self.places)
            .map(|index| self.rtts[index])
            .collect();
        all.sort_by(f32::total_cmp);
        Duration::from_nanos((f64::from(all[all.len() / 2]) * 1e6) as u64)
    }

    fn to_csv(&self) -> String {
        let row = |row: &[f32]| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        self.rtts.chunks(self.places).map(row).collect::<Vec<_>>().join("\n")
    }
}

/// For each place, which of a line's cells holds the time to it, if one does.
fn columns(
    names: &[&str],
    header: Option<&[&str]>,
    has_names: bool,
    places: usize,
) -> Result<Vec<Option<usize>>, String> {
    let Some(header) = header else {
        let first = usize::from(has_names);
        return Ok((first..first + places).map(Some).collect());
    };
    let named: Vec<Option<usize>> = names
        .iter()
        .map(|name| header.iter().skip(1).position(|column| column == name).map(|index| index + 1))
        .collect();
    if named.iter().flatten().count() < 2 {
        return Err("the names in the first line are not those at the beginning of the rows; they must be the places, too".into());
    }
    Ok(named)
}

/// One cell, NaN when it is missing.
fn rtt(cell: &str, on_diagonal: bool) -> Result<f32, String> {
    if cell.is_empty() || cell.eq_ignore_ascii_case("nan") {
        return Ok(f32::NAN);
    }
    match cell.parse::<f64>() {
        Ok(0.0) if !on_diagonal => Ok(f32::NAN),
        Ok(ms) if (0.0..=RTT_MS_MAX).contains(&ms) => Ok(ms as f32),
        _ => Err(format!("{cell:?} is no round-trip time; it must be milliseconds, 0 to {RTT_MS_MAX}")),
    }
}

/// Puts something in the place of what is missing.
fn fill(cells: &mut [f32], places: usize) -> Result<(), String> {
    let mut known: Vec<f32> = (0..cells.len())
        .filter(|index| index / places != index % places && cells[*index].is_finite())
        .map(|index| cells[index])
        .collect();
    if known.is_empty() {
        return Err("a matrix without a single round-trip time between two places".into());
    }
    known.sort_by(f32::total_cmp);
    let median = known[known.len() / 2];
    for row in 0..places {
        for column in 0..places {
            let (here, there) = (row * places + column, column * places + row);
            if cells[here].is_finite() {
                continue;
            }
            cells[here] = if row == column {
                // Two hosts at one place.
                known[0].min(0.5)
            } else if cells[there].is_finite() {
                cells[there]
            } else {
                median
            };
        }
    }
    Ok(())
}

impl Serialize for Matrix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_str(&self.to_csv()),
        }
    }
}

impl<'de> Deserialize<'de> for Matrix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Self::built_in(&text) {
            Some(matrix) => Ok(matrix),
            None => Self::from_csv(&text).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms / 1e3)
    }

    #[test]
    fn the_built_in_matrix_has_the_published_times() {
        let azure = Matrix::azure();
        assert_eq!(azure.places(), 50);
        // Australia Central to Australia East, and to Brazil South, as the table tells.
        assert_eq!(azure.rtt(0, 2), ms(8.0));
        assert_eq!(azure.median(), ms(150.0));
        assert_eq!(azure.rtt(50, 52), azure.rtt(0, 2), "the 51st host is where the first is");
    }

    #[test]
    fn numbers_alone_and_names_are_read_and_what_is_missing_is_made_up_for() {
        let bare = Matrix::from_csv("0,10,20\n12,0,\n20,,0\n").expect("three places");
        assert_eq!((bare.rtt(0, 1), bare.rtt(1, 0)), (ms(10.0), ms(12.0)));
        assert_eq!((bare.rtt(1, 2), bare.rtt(2, 1)), (ms(20.0), ms(20.0)), "the median");
        let named = Matrix::from_csv("from,x,b,a\n# remark\na,9,,0\nb,9,0,7\n").expect("two places");
        assert_eq!(named.places(), 2);
        assert_eq!((named.rtt(0, 1), named.rtt(1, 0)), (ms(7.0), ms(7.0)), "the opposite direction");
        let again: Matrix =
            serde_json::from_str(&serde_json::to_string(&bare).expect("text")).expect("read again");
        assert_eq!(again, bare);
    }

    #[test]
    fn what_is_no_matrix_is_refused_with_its_line() {
        for (text, says) in [
            ("", "2 to"),
            ("1\n", "2 to"),
            ("0,x1\n3,0\n", "2 to"),
            ("-,x,y\na,1,2\nb,3,4\n", "first line"),
            ("0,1\n-3,0\n", "line 2"),
            ("0,1\n1e9,0\n", "line 2"),
            (",\n,\n", "without a single"),
        ] {
            let wrong = Matrix::from_csv(text).expect_err("it was taken");
            assert!(wrong.contains(says), "{text:?}: {wrong}");
        }
    }
}
