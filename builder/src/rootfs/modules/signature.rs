//! Who signed the modules of a kernel.

use super::{ModuleError, decompress, directory, uncompressed};
use formats::module_signature;
use formats::tree::{Content, Kind, Tree};
use formats::x509::Certificate;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use std::collections::BTreeMap;

/// Whom the signature of each module of `version` names: IssuerAndSerialNumber in DER, or `None` for a module that
/// is not signed. Keys are paths in the tree. No signature is checked.
///
/// # Errors
/// A module cannot be read, or what is at its end is no signature that Linux takes.
pub fn signers(
    tree: &Tree,
    version: &str,
) -> Result<BTreeMap<String, Option<Vec<u8>>>, ModuleError> {
    let files: Vec<(String, &Content)> = files(tree, version).collect();
    files
        .into_par_iter()
        .map(|(path, content)| {
            let bytes = decompress(&path, content)?;
            let signature = module_signature::read(&bytes);
            let signature = signature.map_err(|source| damaged(&path, source))?;
            let signer = signature.map(|signature| signature.signer().to_vec());
            Ok((path, signer))
        })
        .collect()
}

/// Checks that `certificate` made the signature of the module at `path`.
///
/// # Errors
/// It did not, or the module cannot be read.
pub fn verify(tree: &Tree, path: &str, certificate: &Certificate) -> Result<(), ModuleError> {
    let Some(Kind::File(content)) = tree.get(path).map(|node| &node.kind) else {
        return Err(ModuleError::NoKernel(path.to_owned()));
    };
    let bytes = decompress(path, content)?;
    let signature = module_signature::read(&bytes);
    let signature = signature.map_err(|source| damaged(path, source))?;
    let verified = signature.map(|signature| signature.verify(certificate));
    verified
        .unwrap_or(Err(module_signature::Error::OtherCertificate))
        .map_err(|source| damaged(path, source))
}

/// Every file below the version's directory that is a module, whatever depmod would choose.
pub fn files<'t>(
    tree: &'t Tree,
    version: &str,
) -> impl Iterator<Item = (String, &'t Content)> + use<'t> {
    let directory = directory(version);
    let all: Vec<_> = tree
        .descendants(&directory)
        .filter_map(|(path, node)| match &node.kind {
            Kind::File(content) if uncompressed(&path).is_some() => Some((path, content)),
            _ => None,
        })
        .collect();
    all.into_iter()
}

fn damaged(path: &str, source: module_signature::Error) -> ModuleError {
    ModuleError::Signature {
        path: path.to_owned(),
        source,
    }
}
