//! A terminal for a program: a pseudo-terminal whose other end a test reads.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Reaped;

/// A program whose standard output and error are one terminal.
pub(crate) struct OnTerminal {
    pub(crate) process: Reaped,
    chunks: Receiver<Vec<u8>>,
    /// Everything shown so far.
    pub(crate) shown: String,
}

impl OnTerminal {
    /// Starts a program on a terminal with this many columns.
    pub(crate) fn start(command: &mut Command, columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = OpenOptions::new().read(true).write(true).open(path).unwrap();
        tcsetwinsize(&theirs, Winsize { ws_row: 25, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        command.stdout(Stdio::from(theirs.try_clone().unwrap())).stderr(Stdio::from(theirs));
        let process = Reaped(command.spawn().unwrap());
        // The terminal is at its end when nobody has it open, and the command's copies are open while it lives.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (send, chunks) = mpsc::channel();
        thread::spawn(move || {
            let mut ours = File::from(ours);
            let mut chunk = [0; 4096];
            loop {
                match ours.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(count) if send.send(chunk[..count].to_vec()).is_ok() => {}
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // How Linux tells that the other end is closed.
                    Ok(_) | Err(_) => return,
                }
            }
        });
        Self { process, chunks, shown: String::new() }
    }

    /// Waits until `text` is shown.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.shown.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.shown.push_str(&String::from_utf8_lossy(&chunk)),
                Err(reason) => panic!("{text:?} is not shown: {reason}: {:?}", self.shown),
            }
        }
    }

    /// Waits for the program's end; gives all that was shown, with plain line ends.
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        let exit_code = self.process.exit_code();
        while let Ok(chunk) = self.chunks.recv_timeout(Duration::from_secs(60)) {
            self.shown.push_str(&String::from_utf8_lossy(&chunk));
        }
        (exit_code, self.shown.replace("\r\n", "\n"))
    }
}
