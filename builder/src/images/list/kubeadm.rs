//! The images of a control plane that kubeadm sets up: what `kubeadm config images list` prints for a version.
//!
//! Four images have the version of Kubernetes; CoreDNS and pause have versions of their own, which kubeadm has
//! compiled in. They are a table here, taken from what kubeadm of each release prints, so that a list needs
//! neither the network nor a program that was just downloaded. etcd is not listed: it is no container on a
//! machine of ours.
//!
//! A version beyond the table is refused, since a guess would be found wrong on a machine without a network.

/// The default registry since v1.22 and before.
const DEFAULTS: [&str; 2] = ["registry.k8s.io", "k8s.gcr.io"];
const COMPONENTS: [&str; 4] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
];

/// From this minor and patch on, until the next row: CoreDNS and pause.
const TABLE: &[(u32, u32, &str, &str)] = &[
    (20, 0, "1.7.0", "3.2"),
    (21, 0, "v1.8.0", "3.4.1"),
    (22, 0, "v1.8.4", "3.5"),
    (23, 0, "v1.8.6", "3.6"),
    (24, 0, "v1.8.6", "3.7"),
    (25, 0, "v1.9.3", "3.8"),
    (26, 0, "v1.9.3", "3.9"),
    (27, 0, "v1.10.1", "3.9"),
    (28, 0, "v1.10.1", "3.9"),
    (29, 0, "v1.11.1", "3.9"),
    (30, 0, "v1.11.1", "3.9"),
    (30, 5, "v1.11.3", "3.9"),
    (31, 0, "v1.11.1", "3.10"),
    (31, 1, "v1.11.3", "3.10"),
    (32, 0, "v1.11.3", "3.10"),
    (33, 0, "v1.12.0", "3.10"),
    (34, 0, "v1.12.1", "3.10.1"),
    (35, 0, "v1.13.1", "3.10.1"),
];

/// Why there is no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeadmError {
    /// The text is no version of a release.
    #[error("{0:?} is not a version such as v1.34.1")]
    Version(String),
    /// The table has no row for it.
    #[error(
        "the images of kubeadm {0} are not known to this seedbed, which knows v1.{first} to v1.{last}: \
         list them below images:, and leave kubernetes.images out",
        first = TABLE[0].0, last = TABLE[TABLE.len() - 1].0
    )]
    Unknown(String),
}

/// The images, and which of them is pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeadm {
    /// Full references.
    pub images: Vec<String>,
    /// The pause image, one of them.
    pub pause: String,
}

/// The images of Kubernetes `version` (`v1.34.1`) in `repository`, kubeadm's `imageRepository`.
pub fn images(version: &str, repository: &str) -> Result<Kubeadm, KubeadmError> {
    let bad = || KubeadmError::Version(version.to_owned());
    let numbers = version.strip_prefix("v1.").ok_or_else(bad)?;
    let numbers = numbers.split(['-', '+']).next().unwrap_or_default();
    let (minor, patch) = numbers.split_once('.').ok_or_else(bad)?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| bad());
    let (minor, patch) = (number(minor)?, number(patch)?);
    let mut rows = TABLE.iter().rev().filter(|row| row.0 == minor);
    let (_, _, coredns, pause) = rows
        .find(|row| row.1 <= patch)
        .ok_or_else(|| KubeadmError::Unknown(version.to_owned()))?;
    let repository = repository.trim_end_matches('/');
    // Since v1.21 CoreDNS is one folder deeper, though not in repositories of one's own.
    let folder = match minor >= 21 && DEFAULTS.contains(&repository) {
        true => "coredns/",
        false => "",
    };
    let pause = format!("{repository}/pause:{pause}");
    let mut images: Vec<String> = COMPONENTS
        .iter()
        .map(|name| format!("{repository}/{name}:{version}"))
        .collect();
    images.push(format!("{repository}/{folder}coredns:{coredns}"));
    images.push(pause.clone());
    Ok(Kubeadm { images, pause })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R032: as `kubeadm config images list` of these releases prints it, without etcd.
    #[test]
    fn lists_are_those_of_kubeadm() {
        let check = |version: &str, repository: &str, coredns: &str, pause: &str| {
            let found = images(version, repository).unwrap();
            let components = COMPONENTS.map(|name| format!("{repository}/{name}:{version}"));
            let mut expected = components.to_vec();
            expected.extend([
                format!("{repository}/{coredns}"),
                format!("{repository}/{pause}"),
            ]);
            assert_eq!(found.images, expected);
            assert_eq!(found.pause, format!("{repository}/{pause}"));
        };
        check("v1.20.2", "k8s.gcr.io", "coredns:1.7.0", "pause:3.2");
        check(
            "v1.30.4",
            "registry.k8s.io",
            "coredns/coredns:v1.11.1",
            "pause:3.9",
        );
        check(
            "v1.30.5",
            "registry.k8s.io",
            "coredns/coredns:v1.11.3",
            "pause:3.9",
        );
        check(
            "v1.31.0",
            "registry.k8s.io",
            "coredns/coredns:v1.11.1",
            "pause:3.10",
        );
        check(
            "v1.34.1",
            "registry.k8s.io",
            "coredns/coredns:v1.12.1",
            "pause:3.10.1",
        );
        check(
            "v1.34.1",
            "harbor.example/k8s",
            "coredns:v1.12.1",
            "pause:3.10.1",
        );
    }

    /// R021: any version is a string, and what is not known is said.
    #[test]
    fn versions_beyond_the_table_are_refused() {
        for version in ["v1.19.0", "v1.99.0"] {
            let error = images(version, "registry.k8s.io").unwrap_err();
            assert_eq!(error, KubeadmError::Unknown(version.into()));
        }
        for version in ["1.34.1", "v1.34", "v2.0.0", "v1.x.1"] {
            let error = images(version, "registry.k8s.io").unwrap_err();
            assert_eq!(error, KubeadmError::Version(version.into()));
        }
    }
}
