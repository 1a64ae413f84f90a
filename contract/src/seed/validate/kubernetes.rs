//! The settings of Kubernetes, held against each other and against what Seedbed sets itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{Check, is_host};
use crate::seed::arguments;
use crate::seed::kubernetes::{Component, Kubernetes, Leases};

/// The API server's argument that the firewall follows.
const NODE_PORTS: &str = "service-node-port-range";

impl Check<'_> {
    pub(super) fn kubernetes(&mut self) -> Kubernetes {
        let file = &self.file.kubernetes;
        for (i, san) in file.cert_sans.iter().enumerate() {
            let name = san.strip_prefix("*.").unwrap_or(san);
            if san.parse::<IpAddr>().is_err() && !is_host(name) {
                let message = format!("{san:?} is neither a DNS name nor an IP address");
                let hint = "write it without scheme, port or path";
                self.fault(&format!("kubernetes.certSANs[{i}]"), message, hint);
            }
        }
        let extra_args = BTreeMap::from([
            (Component::ApiServer, file.api_server.extra_args.clone()),
            (
                Component::ControllerManager,
                file.controller_manager.extra_args.clone(),
            ),
            (Component::Scheduler, file.scheduler.extra_args.clone()),
        ]);
        for (component, args) in &extra_args {
            for name in args.keys() {
                self.argument(*component, name);
            }
        }
        let node_ports = self.node_ports();
        Kubernetes {
            cert_sans: file.cert_sans.clone(),
            extra_args,
            leases: self.leases(),
            audit: file.audit,
            node_ports,
        }
    }

    fn argument(&mut self, component: Component, name: &str) {
        let path = format!("kubernetes.{}.extraArgs.{name}", component.key());
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.starts_with('-') || !name.chars().all(known) {
            let message = format!("{name:?} is not the name of an argument");
            let hint = "write it without leading dashes, such as audit-log-maxage";
            self.fault(&path, message, hint);
        } else if let Some(refusal) = arguments::refusal(component, name) {
            let message = format!("--{name} of the {component} {}", refusal.reason);
            self.fault(&path, message, refusal.hint);
        }
    }

    /// The API server's range if the seed names one, else Kubernetes' own.
    fn node_ports(&mut self) -> RangeInclusive<u16> {
        let args = &self.file.kubernetes.api_server.extra_args;
        let Some(text) = args.get(NODE_PORTS) else {
            return 30000..=32767;
        };
        let parts = text.split_once('-');
        let range = parts.and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
        match range {
            Some(range) if *range.start() > 0 && !range.is_empty() => range,
            _ => {
                let path = format!("kubernetes.apiServer.extraArgs.{NODE_PORTS}");
                let message = format!("{text:?} is not a range of ports");
                self.fault(&path, message, "write it as 30000-32767");
                30000..=32767
            }
        }
    }

    /// client-go refuses to start with anything else, and adds up to a fifth to the period at random.
    fn leases(&mut self) -> Leases {
        let file = &self.file.kubernetes.leases;
        let (duration, deadline, period) = (file.duration, file.renew_deadline, file.retry_period);
        if duration <= deadline {
            let message = format!(
                "a lease of {duration} s ends before its renewal is given up after {deadline} s"
            );
            let hint = format!("give more than {deadline}, or a shorter renewDeadline");
            self.fault("kubernetes.leases.duration", message, hint);
        }
        if u64::from(deadline) * 5 <= u64::from(period) * 6 {
            let message = format!(
                "{deadline} s leave no time for a second attempt after {period} s, to which a fifth may be added"
            );
            let least = u64::from(period) * 6 / 5 + 1;
            let hint = format!("give at least {least}, or a shorter retryPeriod");
            self.fault("kubernetes.leases.renewDeadline", message, hint);
        }
        Leases {
            duration,
            renew_deadline: deadline,
            retry_period: period,
        }
    }
}
