//! Running other programs: shown before they run, named when they fail.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, bail};

use crate::context::Context;

/// Says something to the developer, on standard error: standard output belongs to the programs that are run.
pub(crate) fn note(text: &str) {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "xtask: {text}");
}

/// Cargo, as it started this program, in the repository.
pub(crate) fn cargo(context: &Context) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(&context.root);
    command
}

/// Shows the command, runs it and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    note(&format!("$ {shown}"));
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// What the command prints, or `None` when it cannot be started or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Runs the command without showing it; what it says is told when it fails.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("`{shown}` failed ({}): {}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

/// A command that runs beside others. What it says is kept until it is waited for, so that it is shown in one piece.
pub(crate) struct Aside {
    shown: String,
    end: JoinHandle<io::Result<Output>>,
}

/// Starts a command that runs beside others.
pub(crate) fn aside(mut command: Command) -> Aside {
    let shown = shown(&command);
    note(&format!("$ {shown} (beside what follows)"));
    Aside { shown, end: thread::spawn(move || command.stdin(Stdio::null()).output()) }
}

impl Aside {
    /// Waits for the command to end, shows what it said and fails when it failed.
    pub(crate) fn wait(self) -> Result<()> {
        let Aside { shown, end } = self;
        let Ok(output) = end.join() else { bail!("the thread that waits for `{shown}` panicked") };
        let output = output.with_context(|| format!("cannot start `{shown}`"))?;
        let said = [output.stdout, output.stderr].concat();
        note(&format!("$ {shown} (it has ended)\n{}", String::from_utf8_lossy(&said).trim_end()));
        if !output.status.success() {
            bail!("`{shown}` failed ({})", output.status);
        }
        Ok(())
    }
}

fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// The program of this name on the search path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c exit 3` failed (exit status: 3)");
        let error = run(&mut Command::new("/no/such/program")).unwrap_err().to_string();
        assert_eq!(error, "cannot start `program`");
    }

    #[test]
    fn a_quiet_failure_tells_what_was_said() {
        let error = check(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c echo why >&2; exit 3` failed (exit status: 3): why");
        check(&mut Command::new("true")).unwrap();
    }

    #[test]
    fn a_command_beside_others_fails_when_it_is_waited_for() {
        let start = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            aside(command)
        };
        let (good, bad) = (start("echo fine"), start("exit 3"));
        assert_eq!(bad.wait().unwrap_err().to_string(), "`sh -c exit 3` failed (exit status: 3)");
        good.wait().unwrap();
        let error = aside(Command::new("/no/such/program")).wait().unwrap_err().to_string();
        assert_eq!(error, "cannot start `program`");
    }

    #[test]
    fn output_is_that_of_success() {
        assert_eq!(output(Command::new("sh").args(["-c", "echo yes"])).as_deref(), Some("yes\n"));
        assert_eq!(output(Command::new("sh").args(["-c", "echo no; exit 1"])), None);
        assert_eq!(output(&mut Command::new("/no/such/program")), None);
    }

    #[test]
    fn finds_programs_on_the_path() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program"), None);
    }
}
