//! Values to the texts of other programs' files. All of it is pure: no file is read or written here.

pub mod audit;
pub mod cni;
pub mod containerd;
pub mod encryption;
pub mod etcd;
pub mod firewall;
pub mod names;
pub mod networkd;
