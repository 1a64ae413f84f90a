//! The messages of `containerd.services.snapshots.v1`, as far as a snapshotter reads and writes them.
//!
//! Numbers and types of the fields are containerd's protocol. The field 1 of every request names the
//! snapshotter and is left out: a proxy is asked about itself only.

use std::collections::BTreeMap;

/// A request to make a snapshot: `PrepareSnapshotRequest` and `ViewSnapshotRequest`, which are alike.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MakeRequest {
    /// The name of the snapshot to make.
    #[prost(string, tag = "2")]
    pub(super) key: String,
    /// The committed snapshot below it; empty for none.
    #[prost(string, tag = "3")]
    pub(super) parent: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) labels: BTreeMap<String, String>,
}

/// A request that only names a snapshot: `MountsRequest`, `RemoveSnapshotRequest`, `StatSnapshotRequest` and
/// `UsageRequest`, which are alike.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyRequest {
    #[prost(string, tag = "2")]
    pub(super) key: String,
}

/// `CommitSnapshotRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CommitRequest {
    /// The name that the snapshot gets.
    #[prost(string, tag = "2")]
    pub(super) name: String,
    /// The name that it had while it was active.
    #[prost(string, tag = "3")]
    pub(super) key: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) labels: BTreeMap<String, String>,
}

/// `UpdateSnapshotRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UpdateRequest {
    #[prost(message, optional, tag = "2")]
    pub(super) info: Option<Info>,
    #[prost(message, optional, tag = "3")]
    pub(super) update_mask: Option<FieldMask>,
}

/// `google.protobuf.FieldMask`: which fields to change; none means all that can change.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FieldMask {
    #[prost(string, repeated, tag = "1")]
    pub(super) paths: Vec<String>,
}

/// `ListSnapshotsRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListRequest {
    /// What matches any of them is listed; without a filter, everything.
    #[prost(string, repeated, tag = "2")]
    pub(super) filters: Vec<String>,
}

/// `CleanupRequest` and `google.protobuf.Empty`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Nothing {}

/// The mounts that show a snapshot: `PrepareSnapshotResponse`, `ViewSnapshotResponse` and `MountsResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MountsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) mounts: Vec<Mount>,
}

/// `containerd.types.Mount`; containerd chooses the target.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Mount {
    /// File system type, or `bind`.
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) source: String,
    /// As in fstab, one option a string.
    #[prost(string, repeated, tag = "4")]
    pub(super) options: Vec<String>,
}

/// A snapshot's kind on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Unknown = 0,
    View = 1,
    Active = 2,
    Committed = 3,
}

/// What is known of a snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Info {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) parent: String,
    #[prost(enumeration = "Kind", tag = "3")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "4")]
    pub(super) created_at: Option<Timestamp>,
    #[prost(message, optional, tag = "5")]
    pub(super) updated_at: Option<Timestamp>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(super) labels: BTreeMap<String, String>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Timestamp {
    /// Since 1970.
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// `StatSnapshotResponse` and `UpdateSnapshotResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InfoResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<Info>,
}

/// `ListSnapshotsResponse`: one piece of the list.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) info: Vec<Info>,
}

/// `UsageResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UsageResponse {
    /// Bytes.
    #[prost(int64, tag = "1")]
    pub(super) size: i64,
    #[prost(int64, tag = "2")]
    pub(super) inodes: i64,
}
