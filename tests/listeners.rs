//! Where HTTP requests come in: the default listener, those of Gateways, one port that is both;
//! and addresses that would send a request back to where it came in.

#![forbid(unsafe_code)]

mod support;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use support::refusal::{refused, serve};
use support::web::Web;
use support::web_node::{Folder, configured, counter, flags, manifests, open_files, reload};
use support::web_server::Upstream;
use support::{Node, Options, eventually, tools};

/// A port that nobody has, below those that the system gives to connections.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 600) as u16 * 10;
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port")
}

/// A Gateway on that port; `default` takes the routes that name none.
fn gateway(name: &str, port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\n\
         spec: {{listeners: [{{name: web, port: {port}, protocol: HTTP}}]}}\n"
    )
}

fn status(node: &Node, n: usize) -> u16 {
    Web::connect(node.http[n]).get("/bytes/10").status
}

/// One socket serves the Gateway, and whatever else is configured later.
fn a_gateway_on_the_port_of_the_flag(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let port = free_port();
    let with = manifests(&[upstream.addr], "", &gateway("default", port));
    let without = manifests(&[upstream.addr], "", "");
    for (first, then) in [(&with, &without), (&without, &with)] {
        let file = folder.write("config.yaml", first);
        let options = Options::driver(driver).arg("--http").arg(format!("127.0.0.1:{port}"));
        let node = Node::start_with(configured(options.arg("--shards").arg("2"), &file));
        assert_eq!(node.http, [SocketAddr::from(([127, 0, 0, 1], port))], "{}", node.output());
        assert_eq!(status(&node, 0), 200);
        folder.write("config.yaml", then);
        assert!(reload(&node), "{}", node.output());
        assert_eq!(status(&node, 0), 200, "the same socket");
        folder.write("config.yaml", first);
        assert!(reload(&node), "{}", node.output());
        assert_eq!(status(&node, 0), 200, "and back");
    }
}

/// A Gateway elsewhere: the default listener is there, and has no routes.
fn a_gateway_on_another_port(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let text = manifests(&[upstream.addr], "", &gateway("default", free_port()));
    let file = folder.write("config.yaml", &text);
    let node = Node::start_with(configured(Options::driver(driver), &file));
    assert_eq!(node.http.len(), 2, "{}", node.output());
    assert_eq!((status(&node, 0), status(&node, 1)), (404, 200));
}

/// Two flags, or a flag and a Gateway, for one port: the line names both.
fn one_port_for_two(driver: &str) {
    let folder = Folder::new();
    let [port, other] = [free_port(), free_port()];
    let at = format!("127.0.0.1:{port}");
    let everywhere = format!("0.0.0.0:{port}");
    let file = folder.write("config.yaml", &gateway("web", port)).display().to_string();
    let elsewhere = format!("127.0.0.1:{other}");
    for (args, names) in [
        (["--http", &at, "--admin", &at], ["--http", "--admin"]),
        (["--http", &at, "--resp", &at], ["--http", "--resp"]),
        (["--http", &everywhere, "--admin", &at], ["--http", "--admin"]),
        (["--resp", &at, "--admin", &at], ["--resp", "--admin"]),
        (["--http", &at, "--cluster", &at], ["--http", "--cluster"]),
        (["--resp", &at, "--config", &file], ["Gateway", "--resp"]),
        (["--admin", &at, "--config", &file], ["Gateway", "--admin"]),
    ] {
        let line = refused(&mut serve(driver, &args));
        for name in names {
            assert!(line.contains(name) && line.contains(&at), "{name}: {line}");
        }
        assert!(!line.contains("stop the program"), "which is this one: {line}");
    }
    // What another program has is told as that.
    let taken = TcpListener::bind(&at).expect("bind");
    let args = ["--http", &elsewhere, "--config", &file, "--shards", "2"];
    let line = refused(&mut serve(driver, &args));
    assert!(line.contains("Gateway") && line.contains("stop the program"), "{line}");
    let line = refused(&mut serve(driver, &["--http", &at, "--shards", "2"]));
    assert!(line.contains("--http") && line.contains("stop the program"), "{line}");
    drop(taken);
}

/// An address of the node itself as a backend would send requests round and round.
fn its_own_listener_as_a_backend(driver: &str) {
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let backend = format!("http://{at}");
    for listen in [at.clone(), format!("0.0.0.0:{port}"), format!("[::]:{port}")] {
        let line = refused(&mut serve(driver, &["--http", &listen, "--proxy", &backend]));
        assert!(line.contains(&format!("--proxy {backend}")), "which flag: {line}");
        assert!(line.contains(&listen), "which listener: {line}");
    }
    let other = format!("/api=http://127.0.0.9:{port}");
    let everywhere = format!("0.0.0.0:{port}");
    refused(&mut serve(driver, &["--http", &everywhere, "--proxy", &other]));
    let nowhere = format!("http://0.0.0.0:{port}");
    refused(&mut serve(driver, &["--http", &at, "--proxy", &nowhere]));

    // Another address with that port is another server.
    let upstream = Upstream::with(([127, 0, 0, 9], port).into(), support::web_server::site);
    let options = Options::driver(driver).arg("--http").arg(&at);
    let node = Node::start_with(flags(options, &[upstream.addr]));
    assert_eq!(status(&node, 0), 200);
}

/// In a file it has line and column, also when the port is a Gateway's and at SIGHUP.
fn its_own_listener_in_a_file(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let [port, web] = [free_port(), free_port()];
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let gateway = gateway("default", web);
    let good = manifests(&[upstream.addr], "", &gateway);
    let options = Options::driver(driver).arg("--http").arg(at(port).to_string());
    let file = folder.write("config.yaml", &good);
    let node = Node::start_with(configured(options.clone(), &file));
    let line = good.lines().position(|line| line.contains("EndpointSlice")).expect("it") + 5;
    for own in [port, web] {
        let bad = manifests(&[at(own)], "", &gateway);
        folder.write("config.yaml", &bad);
        let said = node.output().len();
        assert!(!reload(&node), "it is refused");
        let said = node.output()[said..].to_owned();
        let place = format!("{}:{line}:", file.display());
        assert!(said.contains(&place), "{place} is not in: {said}");
        assert!(
            said.contains(&at(own).to_string()) && said.contains("leads back to this node"),
            "{said}"
        );
        assert_eq!(status(&node, 1), 200, "what there was goes on");
    }
    drop(node);
    let Err(said) = Node::try_start(configured(options, &file)) else {
        panic!("it must not start")
    };
    assert!(said.contains(&format!("{}:{line}:", file.display())), "{said}");
}

/// Gateways on those ports, and routes to a server.
fn on_ports(upstream: SocketAddr, ports: &[u16]) -> String {
    let gateway = |port: &u16| gateway(&format!("port-{port}"), *port);
    let parents = ports.iter().map(|port| format!("{{name: port-{port}}}")).collect::<Vec<_>>();
    let parents = format!("  parentRefs: [{}]\n", parents.join(", "));
    let gateways = ports.iter().map(gateway).collect::<Vec<_>>().join("---\n");
    manifests(&[upstream], &parents, &gateways)
}

fn answered(at: SocketAddr) -> u16 {
    Web::connect(at).get("/bytes/10").status
}

fn is_refused(at: SocketAddr) -> bool {
    matches!(TcpStream::connect(at), Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

/// SIGHUP opens a new Gateway's port and closes one that has gone; a port that cannot be had
/// refuses the whole, and clients of the others notice nothing.
fn gateways_come_and_go(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let [a, b] = [free_port(), free_port()];
    let [at_a, at_b] = [a, b].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let file = folder.write("config.yaml", &on_ports(upstream.addr, &[a]));
    let options = Options::driver(driver).arg("--shards").arg("2");
    let node = Node::start_with(configured(options, &file));
    let serve_on = |ports: &[u16]| {
        folder.write("config.yaml", &on_ports(upstream.addr, ports));
        let said = node.output().len();
        let outcome = reload(&node);
        (outcome, node.output()[said..].to_owned())
    };
    assert_eq!((answered(at_a), is_refused(at_b)), (200, true));
    // But for connections, to servers too: the counter may be a moment ahead.
    let own_files = || open_files(&node) as u64 - counter(&node, "corelane_http_connections", &[]);
    let mut files = own_files();
    eventually("what is open settles", Duration::from_secs(10), || {
        std::mem::replace(&mut files, own_files()) == files
    });

    let steady = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let (mut kept, mut asked) = (Web::connect(at_a), 0);
            while steady.load(Ordering::Relaxed) {
                assert_eq!((kept.get("/bytes/10").status, answered(at_a)), (200, 200));
                asked += 1;
            }
            asked
        });
        let _end = Finally(|| steady.store(false, Ordering::Relaxed));
        for _ in 0..3 {
            let (taken, said) = serve_on(&[a, b]);
            assert!(taken && said.contains(&format!("http listening on http://{at_b}")), "{said}");
            let mut client = Web::connect(at_b);
            assert_eq!(client.get("/bytes/10").status, 200);

            let mut late = Web::connect(at_b);
            assert_eq!(late.get("/bytes/10").status, 200);

            let (taken, said) = serve_on(&[a]);
            assert!(taken && said.contains(&format!("no more on http://{at_b}")), "{said}");
            assert!(is_refused(at_b));
            let answer = client.get("/bytes/10");
            assert!(answer.status == 404 && answer.closes(), "it is let go: {}", answer.head);

            let (taken, said) = serve_on(&[a, b, node.resp.port()]);
            assert!(!taken && said.contains("--resp listens on"), "{said}");
            assert_eq!((answered(at_a), is_refused(at_b)), (200, true), "as it was");

            let other = TcpListener::bind(at_b).expect("the port is free");
            let (taken, said) = serve_on(&[a, b]);
            assert!(
                !taken && said.contains("Gateway") && said.contains("stop the program"),
                "{said}"
            );
            drop(other);

            let (taken, said) = serve_on(&[a, b]);
            assert!(taken, "{said}");
            assert_eq!(late.get("/bytes/10").status, 200, "who has waited is served again");
            assert!(serve_on(&[a]).0);
        }
        assert!(serve_on(&[a]).0);
        steady.store(false, Ordering::Relaxed);
        assert!(others.join().expect("served all the time") > 10);
    });
    eventually("sockets are closed", Duration::from_secs(10), || own_files() == files);
}

/// Runs something at the end of its scope, after a panic, too.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

alone_on_each_driver!(default_ports, on_default_ports);

/// Without `--http`: a Gateway on 8080 has that port, the default listener is not missed where
/// another program has it, and all addresses of the machine are its own.
fn on_default_ports(driver: &str) {
    let (upstream, folder) = (Upstream::start(), Folder::new());
    let options = || Options { default_http: true, ..Options::driver(driver) };
    let text = manifests(&[upstream.addr], "", &gateway("default", 8_080));
    let file = folder.write("config.yaml", &text);
    let node = Node::start_with(configured(options(), &file));
    assert_eq!(node.http, [SocketAddr::from(([127, 0, 0, 1], 8_080))], "{}", node.output());
    assert_eq!(status(&node, 0), 200);
    drop(node);

    let mut taken = None;
    eventually("the port is free again", Duration::from_secs(5), || {
        taken = TcpListener::bind("127.0.0.1:8080").ok();
        taken.is_some()
    });
    let text = manifests(&[upstream.addr], "", &gateway("default", 8_000));
    folder.write("config.yaml", &text);
    let node = Node::start_with(configured(options(), &file));
    assert_eq!(node.http, [SocketAddr::from(([127, 0, 0, 1], 8_000))], "{}", node.output());
    assert!(node.output().contains("no http port: "), "it says so: {}", node.output());
    assert_eq!(status(&node, 0), 200);

    drop((node, taken));

    let backend = format!("http://{}:8000", tools::OWN_ADDRESS);
    for everywhere in ["0.0.0.0:8000", "[::]:8000"] {
        let options = options().arg("--http").arg(everywhere).arg("--proxy").arg(&backend);
        let Err(said) = Node::try_start(options) else { panic!("it must not start") };
        assert!(said.contains(&backend) && said.contains("leads back to this node"), "{said}");
    }
}

on_each_driver!(
    a_gateway_on_the_port_of_the_flag,
    a_gateway_on_another_port,
    one_port_for_two,
    its_own_listener_as_a_backend,
    its_own_listener_in_a_file,
    gateways_come_and_go,
    default_ports,
);
