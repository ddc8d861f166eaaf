//! Where `import` writes: all or nothing.
//!
//! Owns: temporary files beside the targets, their modes, and the renaming. A file of secrets is never readable by others, not
//! for a moment.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use super::entries::Secrets;
use super::{Problem, option};

/// Where configuration and secrets go.
pub(super) struct Targets<'a> {
    output: Option<&'a Path>,
    secrets: Option<&'a Path>,
}

impl<'a> Targets<'a> {
    /// Finds what would fail before authentik is asked.
    pub(super) fn check(output: Option<&'a Path>, secrets: Option<&'a Path>) -> Result<Self, Problem> {
        for (name, file) in [("--output", output), ("--secrets-file", secrets)] {
            let Some(file) = file else { continue };
            let what = if file.exists() && !file.is_file() {
                "is not a file"
            } else if !folder(file).is_dir() {
                "is in no folder that is there"
            } else {
                continue;
            };
            return Err(option(name, format!("{}: {what}", file.display())));
        }
        if output.is_some() && output == secrets {
            return Err(option("--secrets-file", "must be another file than that of --output"));
        }
        Ok(Self { output, secrets })
    }

    /// Writes both, or none.
    pub(super) fn write(
        &self,
        configuration: &str,
        is_secret: bool,
        secrets: &Secrets,
    ) -> Result<(), Problem> {
        let output = self.output.map(|file| Unfinished::write("--output", file, configuration, is_secret));
        let output = output.transpose()?;
        let secrets =
            self.secrets.map(|file| Unfinished::write("--secrets-file", file, &secrets.lines(), true));
        let secrets = secrets.transpose()?;
        if output.is_none() {
            let mut stdout = io::stdout().lock();
            let written = stdout.write_all(configuration.as_bytes()).and_then(|()| stdout.flush());
            written.map_err(|error| Problem::CannotRun(format!("standard output: {error}")))?;
        }
        // A configuration without its secrets is refused by the filter; secrets without the configuration harm nobody.
        secrets.map_or(Ok(()), Unfinished::finish)?;
        output.map_or(Ok(()), Unfinished::finish)
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A whole file beside its target; removed when dropped.
struct Unfinished<'a> {
    option: &'static str,
    target: &'a Path,
    file: NamedTempFile,
}

impl<'a> Unfinished<'a> {
    fn write(name: &'static str, target: &'a Path, text: &str, is_secret: bool) -> Result<Self, Problem> {
        let fault = |error: io::Error| option(name, format!("{}: {error}", target.display()));
        let mut builder = Builder::new();
        if let Some(mode) = mode(is_secret) {
            builder.permissions(mode);
        }
        let mut file = builder.prefix(".authentik-proxy-wasm-").tempfile_in(folder(target)).map_err(fault)?;
        file.write_all(text.as_bytes()).map_err(fault)?;
        file.as_file().sync_all().map_err(fault)?;
        Ok(Self { option: name, target, file })
    }

    fn finish(self) -> Result<(), Problem> {
        let Self { option: name, target, file } = self;
        let fault =
            |error: tempfile::PersistError| option(name, format!("{}: {}", target.display(), error.error));
        file.persist(target).map(drop).map_err(fault)
    }
}

/// Of a secret file: that of its owner alone. Of another: what the umask leaves.
#[cfg(unix)]
fn mode(is_secret: bool) -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(Permissions::from_mode(if is_secret { 0o600 } else { 0o666 }))
}

#[cfg(not(unix))]
fn mode(_: bool) -> Option<Permissions> {
    None
}
