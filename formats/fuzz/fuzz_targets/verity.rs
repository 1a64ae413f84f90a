//! dm-verity's volumes: what is found good has the root hash that its data gives.
#![no_main]

use formats::verity::{HashTree, verify};
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 4096;
const HASH: usize = 32;

/// The root hash, one byte for the number of data blocks, the data, the hash volume.
fn volumes() -> Vec<(&'static str, Vec<u8>)> {
    let data = vec![1; 3 * BLOCK];
    let mut tree = HashTree::new(b"salt", [7; 16]).unwrap();
    tree.update(&data);
    let verity = tree.finish().unwrap();
    let mut input = verity.root_hash.to_vec();
    input.push(3);
    input.extend(data);
    verity.write(&mut input).unwrap();
    vec![("three", input)]
}

fuzz_target!(init: seeds(volumes), |input: &[u8]| {
    let Some((root, rest)) = input.split_first_chunk::<HASH>() else { return };
    let Some((blocks, rest)) = rest.split_first() else { return };
    let (data, hashes) = rest.split_at(rest.len().min(usize::from(*blocks) * BLOCK));
    if let Ok(superblock) = verify(&data, &hashes, root) {
        let mut tree = HashTree::new(&superblock.salt, superblock.uuid).unwrap();
        tree.update(&data[..superblock.data_blocks as usize * BLOCK]);
        assert_eq!(&tree.finish().unwrap().root_hash, root);
    }
});
