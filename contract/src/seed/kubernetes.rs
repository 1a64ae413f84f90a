//! Settings of Kubernetes: its three components that take further arguments, and the leases by which one of
//! several controller managers and schedulers leads.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// Further names and addresses of the API server's certificate.
    pub cert_sans: Vec<String>,
    /// Further arguments of each component, by name without dashes; none contradicts what Seedbed sets.
    pub extra_args: BTreeMap<Component, BTreeMap<String, String>>,
    /// How controller manager and scheduler are elected.
    pub leases: Leases,
    /// What the API server writes down.
    pub audit: Audit,
    /// The ports that services of type NodePort get.
    pub node_ports: RangeInclusive<u16>,
}

/// What the API server writes down of what it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audit {
    /// Nothing.
    None,
    /// Who changed what, who read what, and of Secrets only that they were asked for; not what Kubernetes' own parts
    /// read all the time.
    #[default]
    Default,
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Audit::None => "none",
            Audit::Default => "default",
        })
    }
}

/// A part of the control plane that takes further arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
}

impl Component {
    /// All of them.
    pub const ALL: [Component; 3] = [
        Component::ApiServer,
        Component::ControllerManager,
        Component::Scheduler,
    ];

    /// Its key in the seed and in kubeadm's configuration.
    pub fn key(self) -> &'static str {
        match self {
            Component::ApiServer => "apiServer",
            Component::ControllerManager => "controllerManager",
            Component::Scheduler => "scheduler",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Component::ApiServer => "API server",
            Component::ControllerManager => "controller manager",
            Component::Scheduler => "scheduler",
        })
    }
}

/// The lease of the leading controller manager or scheduler, in seconds (client-go's `leaderelection`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leases {
    /// After so long without a renewal, another may lead.
    pub duration: u32,
    /// After so long without success, the leader gives up.
    pub renew_deadline: u32,
    /// Between two attempts to take or to renew it.
    pub retry_period: u32,
}

impl Kubernetes {
    /// The further arguments of a component.
    pub fn args(&self, component: Component) -> impl Iterator<Item = (&str, &str)> {
        let args = self.extra_args.get(&component).into_iter().flatten();
        args.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn explain(&self, line: &mut impl FnMut(&str, &dyn fmt::Display)) {
        for san in &self.cert_sans {
            line("kubernetes.certSANs", san);
        }
        for component in Component::ALL {
            let key = format!("kubernetes.{}", component.key());
            for (name, value) in self.args(component) {
                line(&key, &format_args!("--{name}={value}"));
            }
        }
        let leases = &self.leases;
        line("kubernetes.leases.duration", &leases.duration);
        line("kubernetes.leases.renewDeadline", &leases.renew_deadline);
        line("kubernetes.leases.retryPeriod", &leases.retry_period);
        line("kubernetes.audit", &self.audit);
    }
}
