//! Where data goes: to standard output, or whole and at once into a file.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Writes data to a file, or to standard output where there is none. A file appears complete, or stays as it was.
///
/// Who reads a pipe may stop when they have enough: that is no failure, and it changes no exit status.
pub(crate) fn write(to: Option<&Path>, data: &[u8]) -> Result<(), Failure> {
    let (written, name) = match to {
        Some(path) => (write_file(path, data), path.display().to_string()),
        None => (write_stdout(data), "standard output".to_owned()),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("{name}: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes text to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(None, text.as_bytes())
}

/// As `print`, for text with colours, which are left out where nobody wants them.
pub(crate) fn print_coloured(text: &str) -> Result<(), Failure> {
    let choice = anstream::AutoStream::choice(&io::stdout());
    let mut plain = anstream::AutoStream::new(Vec::new(), choice);
    // Into memory: that can't fail.
    let _ = plain.write_all(text.as_bytes());
    write(None, &plain.into_inner())
}

fn write_stdout(data: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data)?;
    stdout.flush()
}

fn write_file(path: &Path, data: &[u8]) -> io::Result<()> {
    // Devices and pipes can't be replaced, only written to.
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return std::fs::write(path, data);
    }
    // A link stays: what it leads to is replaced.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(data)?;
    let mode = path
        .metadata()
        .map_or_else(|_| ordinary_mode(), |there| Ok(there.permissions()))?;
    file.as_file().set_permissions(mode)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What a file that is made in the ordinary way would have: temporary ones are for their owner alone.
fn ordinary_mode() -> io::Result<std::fs::Permissions> {
    use std::os::unix::fs::PermissionsExt;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    let umask = umask
        .and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .unwrap_or(0o077);
    Ok(std::fs::Permissions::from_mode(0o666 & !umask))
}
