//! The node's identity file: which node a data folder belongs to, in which version. Knows no log.
//!
//! 24 bytes: magic `QVRNODE\0`, version u32, node u64, crc32c of the 20 bytes before; little endian.

use std::io;
use std::path::Path;

use quiver_base::{Error, NodeId, Result, SqlState};

use crate::fs::{RaftFs, read_all, replace};

const MAGIC: &[u8; 8] = b"QVRNODE\0";
const VERSION: u32 = 1;
const LEN: usize = 24;
/// The identity file's name in the node's folder.
pub(crate) const FILE: &str = "NODE";

/// Reads the identity file, or writes it into a folder that is new. A folder that has a log and no
/// identity is damaged; one of another node, or of a newer Quiver, is not ours to touch.
pub(crate) fn claim(fs: &dyn RaftFs, dir: &Path, node: NodeId, has_log: bool) -> Result<()> {
    let path = dir.join(FILE);
    match fs.open(&path, false) {
        Ok(file) => {
            let bytes = read_all(file.as_ref()).map_err(|e| Error::io(path.display(), e))?;
            let found = decode(&bytes, &path)?;
            if found != node {
                return Err(Error::new(
                    SqlState::CONFIG_FILE_ERROR,
                    format!("data folder \"{}\" belongs to node {found}, not to node {node}", dir.display()),
                ));
            }
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound && has_log => {
            Err(Error::corrupt(format!("{} is missing, but the folder has a log", path.display())))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            replace(fs, &path, &encode(node)).map_err(|e| Error::io(path.display(), e))
        }
        Err(e) => Err(Error::io(path.display(), e)),
    }
}

fn encode(node: NodeId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&node.0.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], path: &Path) -> Result<NodeId> {
    let damaged = || Error::corrupt(format!("{} is not a node identity file", path.display()));
    if bytes.len() < 12 || &bytes[..8] != MAGIC {
        return Err(damaged());
    }
    // The version comes first: a newer file may have another length and another checksum.
    let version = u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes"));
    if version > VERSION {
        return Err(Error::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("{} has version {version}; this Quiver reads up to version {VERSION}", path.display()),
        )
        .with_hint("Start it with the Quiver that wrote it, or a newer one."));
    }
    let crc = crc32c::crc32c(&bytes[..bytes.len().min(20)]);
    if bytes.len() != LEN || bytes[20..] != crc.to_le_bytes() {
        return Err(damaged());
    }
    Ok(NodeId(u64::from_le_bytes(bytes[12..20].try_into().expect("8 bytes"))))
}
