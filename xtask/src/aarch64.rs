//! The kernel's lints and tests on AArch64, for which an emulator stands in: the bits must be those of every other machine.

use std::path::Path;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::process::{self, cargo, find, note};
use crate::tools;

/// Rust's name for the target.
const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Links for the target.
const LINKER: &str = "aarch64-linux-gnu-gcc";
/// Runs its programs.
const EMULATOR: &str = "qemu-aarch64-static";
/// Where Debian keeps the target's C library.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// What is said when one of them is missing.
const MISSING: &str = "an emulator, a linker and a C library are needed for the tests on AArch64; install them (on Debian: apt-get \
                       install qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross)";

/// Runs lints and the kernel's tests. They are left out where Rust's standard library for the target cannot be had, and unless `strict` where
/// programs are missing.
///
/// # Errors
/// If a lint or a test fails, or a program is missing and `strict`.
pub(crate) fn tests(context: &Context, strict: bool) -> Result<()> {
    if find(LINKER).is_none() || find(EMULATOR).is_none() || !Path::new(LIBRARIES).is_dir() {
        if strict {
            bail!(MISSING);
        }
        note(&format!("skipped: tests on AArch64 ({MISSING})"));
        return Ok(());
    }
    if let Err(error) = tools::add_target(TARGET) {
        note(&format!("skipped: tests on AArch64 (no standard library for {TARGET}: {error:#})"));
        return Ok(());
    }
    let command = |name: &str| {
        let mut command = cargo(context);
        command.args([name, "--package", "coterie-algorithms", "--lib", "--target", TARGET]);
        command.args(strict.then_some("--locked"));
        command
    };
    process::run(command("clippy").args(["--", "--deny", "warnings"]))?;
    process::run(
        command("test")
            .arg("kmeans::kernel::")
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER)
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", format!("{EMULATOR} -L {LIBRARIES}"))
            // The emulator takes tens of times as long as a machine.
            .env("PROPTEST_CASES", "8"),
    )
}
