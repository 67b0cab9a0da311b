//! A pseudo-terminal with a program on it, and what a person would see there.
//!
//! Knows just the control codes that the demo writes; another one ends it with an error, so that nothing is shown
//! wrongly without a word.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Colour (0 to 7), bold, dimmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    pub colour: Option<u8>,
    pub bold: bool,
    pub dimmed: bool,
}

/// What stands in each place, row by row.
pub type Picture = Vec<Vec<(char, Style)>>;

pub struct Terminal {
    child: Child,
    master: File,
    output: Receiver<Vec<u8>>,
    /// Bytes that are not yet a whole character or code.
    rest: Vec<u8>,
    picture: Picture,
    at: (usize, usize),
    style: Style,
    /// On the other screen, which programs give back at their end.
    pub alternate: bool,
    pub cursor_shown: bool,
}

impl Terminal {
    pub fn run(mut command: Command, columns: u16, rows: u16) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.into_string().map_err(io::Error::other)?;
        tcsetwinsize(&master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        let slave = OpenOptions::new().read(true).write(true).open(name)?;
        let child = command
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave))
            .spawn()?;
        drop(command);
        let master = File::from(master);
        let mut reader = master.try_clone()?;
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            // An error is the end, too: the program closed its side.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let picture = vec![vec![(' ', Style::default()); columns.into()]; rows.into()];
        let (rest, at, style) = (Vec::new(), (0, 0), Style::default());
        Ok(Self { child, master, output, rest, picture, at, style, alternate: false, cursor_shown: true })
    }

    #[allow(dead_code, reason = "the recorder presses nothing")]
    pub fn press(&mut self, keys: &str) -> io::Result<()> {
        self.master.write_all(keys.as_bytes())
    }

    #[allow(dead_code, reason = "the recorder lets the program end by itself")]
    pub fn terminate(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    /// Waits for the next picture that is complete; none when the program has ended.
    pub fn next(&mut self, patience: Duration) -> io::Result<Option<&Picture>> {
        let until = Instant::now() + patience;
        loop {
            if self.take()? {
                return Ok(Some(&self.picture));
            }
            match self.output.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.rest.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => return Err(io::Error::other("no picture came in time")),
            }
        }
    }

    /// Waits for the end; what stands on the terminal then.
    pub fn end(mut self, patience: Duration) -> io::Result<(ExitStatus, String)> {
        while self.next(patience)?.is_some() {}
        let status = self.child.wait()?;
        if self.alternate || !self.cursor_shown {
            return Err(io::Error::other("the terminal was not given back"));
        }
        Ok((status, text(&self.picture)))
    }

    /// Takes what has come up to the end of a picture; whether it came to one.
    fn take(&mut self) -> io::Result<bool> {
        while let Some(first) = self.rest.first() {
            if *first == 0x1b {
                let Some(end) = self.rest.iter().skip(2).position(|b| b.is_ascii_alphabetic()) else {
                    return Ok(false);
                };
                let code: Vec<u8> = self.rest.drain(..end + 3).collect();
                if self.control(&String::from_utf8_lossy(&code[2..]))? {
                    return Ok(true);
                }
                continue;
            }
            let width = match first {
                0..0x80 => 1,
                0xc0..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if self.rest.len() < width {
                return Ok(false);
            }
            let bytes: Vec<u8> = self.rest.drain(..width).collect();
            String::from_utf8_lossy(&bytes).chars().for_each(|letter| self.put(letter));
        }
        Ok(false)
    }

    fn put(&mut self, letter: char) {
        let (row, column) = self.at;
        match letter {
            '\r' => self.at.1 = 0,
            '\n' if row + 1 < self.picture.len() => self.at.0 += 1,
            '\n' => {
                let columns = self.picture[0].len();
                self.picture.remove(0);
                self.picture.push(vec![(' ', Style::default()); columns]);
            }
            _ => {
                if let Some(place) = self.picture[row].get_mut(column) {
                    *place = (letter, self.style);
                }
                self.at.1 += 1;
            }
        }
    }

    /// Does what a code says; whether it ends a picture.
    fn control(&mut self, code: &str) -> io::Result<bool> {
        let (row, column) = self.at;
        let blank = (' ', Style::default());
        match code {
            "?1049h" => self.alternate = true,
            "?1049l" => {
                self.alternate = false;
                self.picture.iter_mut().for_each(|row| row.fill(blank));
                self.at = (0, 0);
            }
            "?25l" | "?25h" => self.cursor_shown = code == "?25h",
            "?7l" | "?7h" | "?2026h" => {}
            "?2026l" => return Ok(true),
            "K" => self.picture[row].iter_mut().skip(column).for_each(|place| *place = blank),
            "J" => {
                self.picture[row].iter_mut().skip(column).for_each(|place| *place = blank);
                self.picture.iter_mut().skip(row + 1).for_each(|row| row.fill(blank));
            }
            _ => match code.strip_suffix('H').and_then(|place| place.split_once(';')) {
                Some((row, column)) => {
                    let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
                    self.at = (number(row)? - 1, number(column)? - 1);
                }
                None => self.dress(code)?,
            },
        }
        Ok(false)
    }

    fn dress(&mut self, code: &str) -> io::Result<()> {
        let unknown = || io::Error::other(format!("an unknown control code: {code:?}"));
        for number in code.strip_suffix('m').ok_or_else(unknown)?.split(';') {
            match number.parse().unwrap_or_default() {
                0 => self.style = Style::default(),
                1 => self.style.bold = true,
                2 => self.style.dimmed = true,
                colour @ 30..38 => self.style.colour = Some(colour - 30),
                _ => return Err(unknown()),
            }
        }
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only if it still runs, that is, after something went wrong.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().unwrap_or_default();
            drop(self.child.wait());
        }
    }
}

/// A picture as lines of text.
pub fn text(picture: &Picture) -> String {
    let line = |row: &Vec<(char, Style)>| row.iter().map(|(letter, _)| *letter).collect::<String>();
    picture.iter().map(|row| line(row).trim_end().to_owned() + "\n").collect()
}
