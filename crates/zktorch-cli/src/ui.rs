//! Everything that is printed: results on standard output, notes, progress and errors on standard error.

#![expect(clippy::print_stderr, reason = "the one module of the project that prints")]

use crate::args::Common;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How to talk to the user.
pub struct Ui {
    /// JSON instead of text.
    pub json: bool,
    /// More detail.
    pub verbose: bool,
    bars: bool,
    bar: RefCell<Option<(ProgressBar, Instant, String)>>,
}

/// A handle on a progress bar.
pub struct Counter(ProgressBar);

impl Counter {
    /// How far the work is.
    pub fn set(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Ui {
    /// By the flags; progress bars only on a terminal.
    pub fn new(common: Common) -> Ui {
        let bars = !common.quiet && std::io::stderr().is_terminal();
        Ui { json: common.json, verbose: common.verbose, bars, bar: RefCell::new(None) }
    }

    /// A line of the result for people; nothing under `--json`.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            self.finish();
            out(text.as_ref());
        }
    }

    /// The result for programs; nothing without `--json`.
    pub fn result(&self, value: &serde_json::Value) {
        if self.json {
            self.finish();
            out(&value.to_string());
        }
    }

    /// Text as it is, whatever the flags (completion scripts).
    pub fn raw(&self, text: &str) {
        out(text.trim_end());
    }

    /// Something that the user should not overlook, even under `--quiet`.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.finish();
        eprintln!("warning: {}", text.as_ref());
    }

    /// Begins a phase; the one before it ends.
    pub fn phase(&self, name: &str) {
        self.finish();
        let bar = if self.bars {
            let bar = ProgressBar::new_spinner();
            // Fast phases never show a spinner.
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.set_message(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        *self.bar.borrow_mut() = Some((bar, Instant::now(), name.to_owned()));
    }

    /// Begins a phase of known length; [`Ui::counter`] moves its bar.
    pub fn bar(&self, name: &str, length: u64) {
        self.finish();
        let bar = if self.bars {
            let bar = ProgressBar::new(length);
            let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed:.dim} {eta:.dim}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        } else {
            ProgressBar::hidden()
        };
        *self.bar.borrow_mut() = Some((bar, Instant::now(), name.to_owned()));
    }

    /// Moves the bar of the phase that runs, from any thread.
    pub fn counter(&self) -> Counter {
        Counter(self.bar.borrow().as_ref().map_or_else(ProgressBar::hidden, |(bar, _, _)| bar.clone()))
    }

    /// Ends the phase that runs, if one does.
    pub fn finish(&self) {
        if let Some((bar, began, name)) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
            if self.verbose {
                eprintln!("{name}: {}", seconds(began.elapsed().as_secs_f64()));
            }
        }
    }

    /// An error: under `--json` as `{"error": …}` on standard output, else as text on standard error.
    pub fn error(&self, code: &str, message: &str, help: Option<&str>) {
        self.finish();
        if self.json {
            out(&serde_json::json!({ "error": error_json(code, message, help) }).to_string());
        } else {
            eprintln!("{}", render_error(code, message, help));
        }
    }
}

/// Standard output that is closed early (`| head`) is no reason to fail.
fn out(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// The error as an object.
pub fn error_json(code: &str, message: &str, help: Option<&str>) -> serde_json::Value {
    serde_json::json!({ "code": code, "message": message, "help": help })
}

/// Most lines of an error: a screen.
const MAX_LINES: usize = 30;

fn render_error(code: &str, message: &str, help: Option<&str>) -> String {
    // Some libraries begin their text with the code; it is said once.
    let message = message.strip_prefix(code).map_or(message, |m| m.trim_start_matches(':').trim_start());
    let mut text = format!("error[{code}]: {message}");
    if let Some(help) = help {
        text.push_str(&format!("\nhelp: {help}"));
    }
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > MAX_LINES {
        let (head, tail) = (&lines[..MAX_LINES - 4], &lines[lines.len() - 3..]);
        return format!("{}\n  … {} more lines\n{}", head.join("\n"), lines.len() - MAX_LINES + 1, tail.join("\n"));
    }
    text
}

/// `1.23 s`, `45.6 ms`.
pub fn seconds(s: f64) -> String {
    if s >= 100.0 {
        format!("{s:.0} s")
    } else if s >= 1.0 {
        format!("{s:.2} s")
    } else {
        format!("{:.1} ms", s * 1e3)
    }
}

/// `1.2 MB`.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// `12,345`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// `1 leaf`, `12,345 leaves`.
pub fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// `1 inference`, `64 inferences`.
pub fn inferences(n: usize) -> String {
    counted(n, "inference", "inferences")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
        assert_eq!((inferences(1), counted(2_000, "leaf", "leaves")), ("1 inference".to_owned(), "2,000 leaves".to_owned()));
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(seconds(0.0123), "12.3 ms");
    }

    #[test]
    fn an_error_fits_on_a_screen() {
        let long = "x\n".repeat(100);
        let text = render_error("E0001", &long, Some("do this"));
        assert_eq!(text.lines().count(), MAX_LINES);
        assert!(text.ends_with("help: do this"));
    }

    #[test]
    fn the_code_is_said_once() {
        assert_eq!(render_error("E0501", "E0501: truncated", None), "error[E0501]: truncated");
    }
}
