//! The command line, as a user types it.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod happy;
mod job;
mod metric;
mod rejection;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files of the crate's `assets`.
fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

/// A folder with a cache of its own.
struct World {
    dir: tempfile::TempDir,
}

/// What a command did.
struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Done {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", self.stdout, self.stderr))
    }

    fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }
}

impl World {
    fn new() -> World {
        World { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs `zktorch` with words separated by spaces.
    fn run(&self, line: &str) -> Done {
        self.args(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn args(&self, args: &[&str]) -> Done {
        let output = Command::new(env!("CARGO_BIN_EXE_zktorch"))
            .args(args)
            .current_dir(self.dir.path())
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The multilayer perceptron, compiled and set up, with an input.
    fn with_keys() -> World {
        let world = World::with_model();
        world.run("setup m.zkt --pk m.pk --vk m.vk").succeeded();
        world
    }

    /// The multilayer perceptron, compiled, with an input.
    fn with_model() -> World {
        let world = World::new();
        std::fs::copy(asset("digits_mlp.onnx"), world.path("m.onnx")).unwrap();
        world.write("input.json", format!("{{\"input_data\": [{:?}]}}", pixels()));
        world.run("compile m.onnx -o m.zkt --calibrate input.json").succeeded();
        world
    }

    /// [`World::with_keys`] and a proof.
    fn with_proof() -> World {
        let world = World::with_keys();
        world.run("prove m.zkt --pk m.pk --input input.json -o m.proof").succeeded();
        world
    }

    /// Names of all files in the folder.
    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Runs a command that must fail as bad input: exit code 2, the error's code, a screen of text that holds `words`, a line of help, and
    /// no file more or less than before. The same under `--json`.
    fn refuses(&self, line: &str, code: &str, words: &str) {
        let before = self.files();
        let done = self.run(line);
        assert_eq!(done.code, 2, "{line}: {}{}", done.stdout, done.stderr);
        assert!(done.stdout.is_empty(), "{line}: {}", done.stdout);
        let error = done.stderr.lines().skip_while(|l| !l.starts_with("error")).collect::<Vec<_>>().join("\n");
        assert!(error.starts_with(&format!("error[{code}]: ")), "{line}: {}", done.stderr);
        assert!(error.contains(words), "{line}: {error}");
        assert!(error.contains("\nhelp: "), "{line}: {error}");
        assert!(error.lines().count() <= 30 && !error.contains("panicked"), "{line}: {error}");
        let json = self.run(&format!("{line} --json"));
        assert_eq!(json.code, 2, "{line}");
        assert_eq!(json.json()["error"]["code"], code, "{line}");
        let after: Vec<String> = self.files().into_iter().filter(|f| f != "cache").collect();
        let before: Vec<String> = before.into_iter().filter(|f| f != "cache").collect();
        assert_eq!(after, before, "{line}");
    }
}

/// An 8x8 image of a one.
fn pixels() -> Vec<f32> {
    (0..64).map(|i| if (3..5).contains(&(i % 8)) { 1.0 } else { 0.125 * (i % 3) as f32 }).collect()
}
