//! dm-verity: trees compared with veritysetup's byte for byte, verified, and damaged.

#![allow(
    clippy::unwrap_used,
    reason = "a test may fail by panicking, in its helpers too"
)]

#[path = "support/referee.rs"]
mod referee;

use formats::verity::{self, Error, HashTree, Verity};
use proptest::prelude::*;
use std::fs;

const UUID: &str = "01234567-89ab-4cde-8f01-23456789abcd";
const UUID_BYTES: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\x4c\xde\x8f\x01\x23\x45\x67\x89\xab\xcd";

/// Blocks that differ from each other, and a few that do not.
fn data(blocks: usize) -> Vec<u8> {
    let mut data = vec![0; blocks * 4096];
    for (i, block) in data.chunks_exact_mut(4096).enumerate() {
        block.fill((i % 7) as u8);
        block[..4].copy_from_slice(&(i as u32 / 2).to_le_bytes());
    }
    data
}

fn tree(data: &[u8], salt: &[u8], piece: usize) -> Verity {
    let mut tree = HashTree::new(salt, UUID_BYTES).unwrap();
    for piece in data.chunks(piece) {
        tree.update(piece);
    }
    tree.finish().unwrap()
}

fn volume(verity: &Verity) -> Vec<u8> {
    let mut volume = Vec::new();
    verity.write(&mut volume).unwrap();
    assert_eq!(volume.len() as u64, verity.size());
    volume
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn trees_are_those_of_veritysetup() {
    let test = "verity::trees_are_those_of_veritysetup";
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let long_salt: Vec<u8> = (0..=255).collect();
    for (blocks, salt) in [
        (1, &long_salt[..32]),
        (2, &long_salt[..32]),
        (128, &long_salt[..0]),
        (129, &long_salt[..1]),
        (1500, &long_salt[..]),
        (128 * 128 + 1, &long_salt[..32]),
    ] {
        let data = data(blocks);
        let verity = tree(&data, salt, 5 << 20);
        let (data_path, hash_path) = (path("data"), path("hash"));
        fs::write(&data_path, &data).unwrap();
        // An old file would be overwritten in place.
        let _ = fs::remove_file(&hash_path);
        let salt = if salt.is_empty() {
            "-".to_owned()
        } else {
            hex(salt)
        };
        let uuid = format!("--uuid={UUID}");
        let args = [
            "format",
            &data_path,
            &hash_path,
            "--hash=sha256",
            &uuid,
            "--salt",
            &salt,
        ];
        let sizes = ["--data-block-size=4096", "--hash-block-size=4096"];
        let Some(text) = referee::run(test, "veritysetup", &[&args[..], &sizes[..]].concat())
        else {
            return;
        };
        let root_hash = hex(&verity.root_hash);
        assert!(text.contains(&root_hash), "{blocks}: {root_hash} in {text}");
        let theirs = fs::read(&hash_path).unwrap();
        let ours = volume(&verity);
        let differs = theirs.iter().zip(&ours).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{blocks} blocks");
        assert_eq!(theirs.len(), ours.len(), "{blocks} blocks");
        fs::write(&hash_path, &ours).unwrap();
        referee::run(
            test,
            "veritysetup",
            &["verify", &data_path, &hash_path, &root_hash],
        );
    }
}

#[test]
fn what_cannot_be_hashed_is_refused() {
    let finish = |len: usize| {
        let mut tree = HashTree::new(b"salt", UUID_BYTES).unwrap();
        tree.update(&vec![0; len]);
        tree.finish()
    };
    for len in [0, 1, 4095, 4097, (4 << 20) + 1] {
        assert!(matches!(finish(len), Err(Error::Length(l)) if l == len as u64));
    }
    assert!(matches!(
        HashTree::new(&[0; 257], UUID_BYTES),
        Err(Error::Salt(257))
    ));
}

#[test]
fn the_first_damaged_block_is_named() {
    let blocks = 20_000;
    let good = data(blocks);
    let verity = tree(&good, b"salt", 4096);
    let hashes = volume(&verity);
    let superblock = verity::verify(&good, &hashes, &verity.root_hash).unwrap();
    assert_eq!(&superblock, verity.superblock());
    // Superblock, top level, 2 blocks below it, 157 over the data.
    assert_eq!(hashes.len(), (1 + 1 + 2 + 157) * 4096);
    for (block, level) in [(1, 2), (2, 1), (3, 1), (4, 0), (160, 0)] {
        let mut bad = hashes.clone();
        bad[block * 4096 + 17] ^= 1;
        let error = verity::verify(&good, &bad, &verity.root_hash).unwrap_err();
        let named = matches!(error, Error::HashBlock { block: b, level: l } if (b, l) == (block as u64, level));
        assert!(named, "{block}: {error}");
    }
    let mut bad = good.clone();
    for block in [19_999, 1024, 1023, 0] {
        bad[block * 4096 + 4095] ^= 1;
        let error = verity::verify(&bad, &hashes, &verity.root_hash).unwrap_err();
        assert!(
            matches!(error, Error::DataBlock { block: b } if b == block as u64),
            "{error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn pieces_do_not_matter(pieces in prop::collection::vec(0..3_000_000_usize, 1..5)) {
        let total: usize = pieces.iter().sum::<usize>().next_multiple_of(4096).max(4096);
        let data = data(total / 4096);
        let whole = tree(&data, b"salt", data.len());
        let mut parts = HashTree::new(b"salt", UUID_BYTES).unwrap();
        let mut rest = &data[..];
        for piece in pieces {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            parts.update(now);
            rest = later;
        }
        parts.update(rest);
        let parts = parts.finish().unwrap();
        prop_assert_eq!(parts.root_hash, whole.root_hash);
        prop_assert_eq!(volume(&parts), volume(&whole));
    }

    #[test]
    fn no_superblock_makes_it_panic(at in 0..600_usize, byte in any::<u8>(), blocks in 1..300_usize) {
        let data = data(blocks);
        let verity = tree(&data, b"salt", data.len());
        let mut hashes = volume(&verity);
        hashes[at] = byte;
        let _ = verity::verify(&data, &hashes, &verity.root_hash);
        let _ = verity::verify(&data, &hashes[..at].to_vec(), &verity.root_hash);
    }
}
