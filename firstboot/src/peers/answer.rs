//! What a peer or an operator is told.

use crate::api;
use crate::host::Host;
use contract::paths::STATUS;
use contract::peer::{Request, Response};

/// The administrator's kubeconfig, which kubeadm writes.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// Answers one question; reads, and changes nothing.
pub(super) fn answer(host: &dyn Host, request: &Request) -> Response {
    match request {
        Request::Kubeconfig => match host.read_text(ADMIN) {
            Ok(Some(text)) => match api::ready(host) {
                Ok(()) => Response::Document(text),
                Err(trouble) => Response::NotYet(trouble.to_string()),
            },
            Ok(None) => Response::NotYet("the control plane is being made".into()),
            Err(error) => Response::Refused(format!("{error:#}")),
        },
        Request::Status => match host.read_text(STATUS) {
            Ok(Some(text)) => Response::Document(text),
            Ok(None) => Response::NotYet("the machine has just been started".into()),
            Err(error) => Response::Refused(format!("{error:#}")),
        },
    }
}
