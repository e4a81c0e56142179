//! Is a binary static? An image FROM scratch has no dynamic loader, so one that names a loader cannot start there.

use anyhow::{Context as _, Result, bail};

/// The dynamic loader that a 64-bit little-endian ELF binary asks for; `None` for a static one.
pub(crate) fn interpreter(binary: &[u8]) -> Result<Option<String>> {
    const LOADER: u32 = 3; // PT_INTERP
    const LITTLE_ENDIAN_64: &[u8] = b"\x7fELF\x02\x01";
    if !binary.starts_with(LITTLE_ENDIAN_64) {
        bail!("not a 64-bit little-endian ELF binary");
    }
    let table = usize::try_from(u64::from_le_bytes(bytes(binary, 32)?))?;
    let size = usize::from(u16::from_le_bytes(bytes(binary, 54)?));
    let count = usize::from(u16::from_le_bytes(bytes(binary, 56)?));
    for index in 0..count {
        let header = table.checked_add(index * size).context("a program header lies outside the file")?;
        if u32::from_le_bytes(bytes(binary, header)?) != LOADER {
            continue;
        }
        let offset = usize::try_from(u64::from_le_bytes(bytes(binary, header + 8)?))?;
        let length = usize::try_from(u64::from_le_bytes(bytes(binary, header + 32)?))?;
        let name = binary
            .get(offset..)
            .and_then(|rest| rest.get(..length))
            .context("the loader's name lies outside the file")?;
        return Ok(Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()));
    }
    Ok(None)
}

fn bytes<const N: usize>(binary: &[u8], at: usize) -> Result<[u8; N]> {
    let found = binary.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().context("the ELF header is cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one program header of the given type, followed by the loader's name.
    fn binary(kind: u32) -> Vec<u8> {
        let mut binary = vec![0; 64 + 56];
        binary[..6].copy_from_slice(b"\x7fELF\x02\x01");
        binary[32..40].copy_from_slice(&64u64.to_le_bytes());
        binary[54..56].copy_from_slice(&56u16.to_le_bytes());
        binary[56..58].copy_from_slice(&1u16.to_le_bytes());
        binary[64..68].copy_from_slice(&kind.to_le_bytes());
        let name = b"/lib64/ld.so\0";
        let offset = binary.len() as u64;
        binary[72..80].copy_from_slice(&offset.to_le_bytes());
        binary[96..104].copy_from_slice(&(name.len() as u64).to_le_bytes());
        binary.extend_from_slice(name);
        binary
    }

    #[test]
    fn tells_static_from_dynamic() {
        assert_eq!(interpreter(&binary(3)).unwrap().as_deref(), Some("/lib64/ld.so"));
        assert_eq!(interpreter(&binary(1)).unwrap(), None);
    }

    #[test]
    fn refuses_what_is_not_a_whole_elf_binary() {
        assert!(interpreter(b"#!/bin/sh\n").is_err());
        assert!(interpreter(&binary(3)[..40]).is_err());
        assert!(interpreter(&binary(3)[..122]).is_err());
    }
}
