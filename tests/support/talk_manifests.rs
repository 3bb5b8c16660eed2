//! What a case's head says, as the documents of an operator.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::format::{Case, File};

/// The manifests of a case whose servers listen at these addresses.
pub fn manifests(file: &File, case: &Case, addresses: &[(char, SocketAddr)]) -> String {
    let mut all = match &case.yaml {
        Some(name) => {
            let block = file.blocks.get(name);
            block.unwrap_or_else(|| panic!("no manifests are called {name}")).clone()
        }
        None => route(case),
    };
    for (name, at) in addresses {
        all = all.replace(&format!("$ip.{name}"), &at.ip().to_string());
        all = all.replace(&format!("$port.{name}"), &at.port().to_string());
    }
    for (name, at) in addresses {
        service(&mut all, &name.to_string(), "least-request");
        slice(&mut all, &name.to_string(), 0, *at);
    }
    for several in &case.services {
        let policy = if several.round_robin { "round-robin" } else { "least-request" };
        service(&mut all, &several.name, policy);
        for (n, member) in several.members.iter().enumerate() {
            let at = addresses.iter().find(|(name, _)| name == member).expect("a server");
            slice(&mut all, &several.name, n, at.1);
        }
    }
    all
}

/// A route that takes everything, and its limits.
fn route(case: &Case) -> String {
    let service = case.services.first().map_or(case.servers[0].to_string(), |s| s.name.clone());
    let mut out = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: all}}\n\
         spec:\n  rules:\n  - name: all\n    backendRefs: [{{name: {service}, port: 80}}]\n"
    );
    for line in &case.rule {
        let _ = writeln!(out, "    {line}");
    }
    if !case.limits.is_empty() {
        out.push_str(
            "---\napiVersion: corelane.dev/v1\nkind: RateLimitPolicy\nmetadata: {name: limits}\n\
             spec:\n  targetRefs:\n  - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: all}\n\
             \x20 limits:\n",
        );
        for limit in &case.limits {
            let _ = writeln!(out, "  - {limit}");
        }
    }
    out
}

fn service(out: &mut String, name: &str, policy: &str) {
    let _ = write!(
        out,
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n\
         \x20 annotations: {{corelane.dev/balance: {policy}}}\nspec: {{ports: [{{port: 80}}]}}\n"
    );
}

fn slice(out: &mut String, name: &str, n: usize, at: SocketAddr) {
    let _ = write!(
        out,
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-{n}\n\
         \x20 labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\n\
         endpoints: [{{addresses: [{}]}}]\nports: [{{port: {}}}]\n",
        at.ip(),
        at.port()
    );
}
