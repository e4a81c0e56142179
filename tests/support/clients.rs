//! Clients that others made, fetched once and kept in the user's cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Python packages with exact versions: a client of the Open Inference Protocol, and a maker of clients from OpenAPI.
const REQUIREMENTS: &str = "tritonclient[http,grpc]==2.73.0\nopenapi-python-client==0.29.1\n";

const GRPCURL: &str = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3";

/// The folder with the programs of a Python environment that has the clients.
pub fn python() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let environment = cache().join("clients");
        let installed = environment.join("installed.txt");
        if fs::read_to_string(&installed).is_ok_and(|text| text == REQUIREMENTS) {
            return environment.join("bin");
        }
        fs::create_dir_all(cache()).unwrap();
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        run(Command::new(environment.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(REQUIREMENTS.lines()));
        // Written last: an installation that was cut short is begun anew.
        fs::write(installed, REQUIREMENTS).unwrap();
        environment.join("bin")
    })
}

/// The program grpcurl, from source.
pub fn grpcurl() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let (_, version) = GRPCURL.split_once('@').unwrap();
        let folder = cache().join(format!("grpcurl-{version}"));
        let program = folder.join("grpcurl");
        if !program.is_file() {
            run(go().args(["install", GRPCURL]).env("GOBIN", &folder).env("CGO_ENABLED", "0"));
        }
        program
    })
}

/// Go, where its installer puts it unless it is on the search path.
fn go() -> Command {
    let usual = Path::new("/usr/local/go/bin/go");
    let found = Command::new("go").arg("version").output().is_ok();
    Command::new(if found { Path::new("go") } else { usual })
}

fn cache() -> PathBuf {
    let folder = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = folder.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache"));
    folder.join("coterie")
}

/// Runs a client's command, which must succeed, and gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?} needs a program that is not there: {error}"),
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}
