//! Clients of HTTP as they are: curl, wrk, httpx, Node's fetch, `ws`, Chromium.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::web::content;
use support::web_node::{Folder, counter, errors, expect_files_back, open_files, proxy};
use support::web_server::Upstream;
use support::{Node, eventually, tools, web_peers};

/// How long one client may take.
const LIMIT: Duration = Duration::from_secs(60);

fn script(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    folder.join(name).to_str().expect("a path in UTF-8").to_owned()
}

/// A node in front of the test's own server, and what curl needs to speak to it.
struct Stage {
    upstream: Upstream,
    node: Node,
    folder: Folder,
    files: usize,
}

impl Stage {
    fn new(driver: &str) -> Self {
        let upstream = Upstream::start();
        let node = proxy(driver, &[upstream.addr]);
        let files = open_files(&node);
        Self { upstream, node, folder: Folder::new(), files }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.node.http[0])
    }

    /// What curl writes, and what it says of the conversation.
    #[track_caller]
    fn curl(&self, args: &[&str], path: &str) -> (Vec<u8>, String) {
        let mut command = Command::new("curl");
        command.args(["-sS", "-v", "--max-time", "40"]).args(args).arg(self.url(path));
        let output = tools::run(&mut command, LIMIT);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "curl {args:?} {path}: {}\n{said}", output.status);
        (output.stdout, said)
    }

    /// Nothing went wrong behind the clients' backs, and nothing is left.
    #[track_caller]
    fn end(self) {
        self.upstream.expect_no_complaints();
        assert_eq!(counter(&self.node, "corelane_http_errors_total", &["status=\"5"]), 0);
        assert_eq!(errors(&self.node, "truncated"), 0);
        drop(self.upstream);
        expect_files_back(&self.node, self.files);
    }
}

fn curl_gets_and_sends(driver: &str) {
    let stage = Stage::new(driver);
    for path in ["/bytes/0", "/bytes/70000", "/chunked/300000", "/close/50000", "/trailers/5000"] {
        let len = path.rsplit('/').next().and_then(|n| n.parse().ok()).expect("a length");
        for version in ["--http1.1", "--http1.0"] {
            let (got, _) = stage.curl(&[version], path);
            assert!(got == content(path, len), "{version} {path}: {} bytes", got.len());
        }
    }
    let (got, _) = stage.curl(&["-d", "a=b&c=d"], "/echo");
    assert_eq!(got, b"a=b&c=d");
    let (head, said) = stage.curl(&["-I"], "/bytes/12345");
    assert!(String::from_utf8_lossy(&head).contains("Content-Length: 12345"), "{said}");
    let big = content("big", 10 << 20);
    let file = stage.folder.path("big");
    fs::write(&file, &big).expect("write");
    let from = format!("@{}", file.display());
    // curl would wait half a minute before it sent without having been told to.
    let expecting =
        ["-H", "Expect: 100-continue", "--expect100-timeout", "30", "--data-binary", &from];
    let (got, said) = stage.curl(&expecting, "/echo");
    assert!(got == big && said.contains("< HTTP/1.1 100 Continue"), "{} {said}", got.len());
    let (got, said) = stage.curl(&["-T", &file.display().to_string()], "/echo");
    assert!(got == big, "{said}");
    let piped = format!("cat {} | curl -sS -T - {}", file.display(), stage.url("/echo"));
    let output = tools::run(Command::new("bash").args(["-c", &piped]), LIMIT);
    assert!(output.stdout == big, "{}", String::from_utf8_lossy(&output.stderr));
    stage.end();
}

fn curl_keeps_its_connection(driver: &str) {
    let stage = Stage::new(driver);
    let (one, two) = (stage.url("/bytes/5"), stage.url("/chunked/5"));
    let format = "%{num_connects} %{http_code}\n";
    let mut command = Command::new("curl");
    command.args(["-sS", "-w", format, "-o", "/dev/null", "-o", "/dev/null", &one, &two]);
    assert_eq!(tools::must(&mut command, LIMIT), "1 200\n0 200\n");
    // HTTP/1.0 with keep-alive, too (RFC 9112 appendix C.2.2).
    let mut command = Command::new("curl");
    command.args(["-sS", "--http1.0", "-H", "Connection: keep-alive", "-w", format]);
    command.args(["-o", "/dev/null", "-o", "/dev/null", &one, &one]);
    assert_eq!(tools::must(&mut command, LIMIT), "1 200\n0 200\n");
    // Trailers come for who says that he takes them (RFC 9110 section 6.5.1).
    let taking = ["--raw", "-i", "-H", "TE: trailers", "-H", "Connection: TE"];
    let (got, _) = stage.curl(&taking, "/trailers/10");
    assert!(got.ends_with(b"\r\n0\r\nX-Sum: 42\r\n\r\n"), "{}", String::from_utf8_lossy(&got));
    let (got, said) = stage.curl(&["-i"], "/status/404");
    assert!(got.starts_with(b"HTTP/1.1 404 "), "{said}");
    stage.end();
}

fn curl_upgrades(driver: &str) {
    let stage = Stage::new(driver);
    let upgrading = ["-i", "-N", "-H", "Connection: Upgrade", "-H", "Upgrade: echo"];
    let args = ["--max-time", "1"].iter().chain(&upgrading);
    let mut command = Command::new("curl");
    // It goes on until its time is up: status 28, or until the server has closed.
    command.arg("-sS").args(args).arg(stage.url("/upgrade"));
    let output = tools::run(&mut command, LIMIT);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("HTTP/1.1 101 "), "{output:?}");
    assert!(said.to_lowercase().contains("upgrade: echo"), "{said}");
    assert_eq!(counter(&stage.node, "corelane_http_tunnels_total", &[]), 1);
    stage.end();
}

/// What wrk counted: requests, and lines that speak of failures.
#[track_caller]
fn wrk(args: &[&str], url: &str) -> u64 {
    let mut command = Command::new("wrk");
    let text = tools::must(command.args(["-t", "2", "-d", "2s"]).args(args).arg(url), LIMIT);
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    let line = text.lines().find(|line| line.contains(" requests in ")).expect("a sum");
    line.trim().split(' ').next().and_then(|n| n.parse().ok()).expect("a number")
}

fn wrk_loads_it(driver: &str) {
    let stage = Stage::new(driver);
    let url = stage.url("/bytes/100");
    let single = wrk(&["-c", "40"], &url);
    let long = wrk(&["-c", "10"], &stage.url("/chunked/100000"));
    let lua = stage.folder.write(
        "pipeline.lua",
        "init = function(args)\n  local all = {}\n  for n = 1, 16 do all[n] = wrk.format('GET', \
         '/bytes/' .. n) end\n  requests = table.concat(all)\nend\n\
         request = function() return requests end\n",
    );
    let pipelined = wrk(&["-c", "20", "-s", &lua.display().to_string()], &url);
    println!("{driver}: {single} single, {long} long, {pipelined} pipelined");
    assert!(single > 1_000 && long > 100 && pipelined > 1_000);
    let counted = counter(&stage.node, "corelane_http_requests_total", &[]);
    assert!(counted >= single + long + pipelined, "{counted} are counted");
    stage.end();
}

fn httpx_works(driver: &str) {
    let stage = Stage::new(driver);
    let mut command = Command::new(tools::python());
    let text = tools::must(command.arg(script("httpx_client.py")).arg(stage.url("")), LIMIT);
    assert_eq!(text.matches("ok ").count(), 4, "{text}");
    stage.end();
}

fn node_fetch_works(driver: &str) {
    let stage = Stage::new(driver);
    let mut command = Command::new("node");
    let text = tools::must(command.arg(script("fetch.js")).arg(stage.url("")), LIMIT);
    assert_eq!(text, "ok\n");
    eventually("what it has left is let go", Duration::from_secs(10), || {
        counter(&stage.node, "corelane_http_connections", &["side=\"client\""]) == 0
    });
    stage.end();
}

fn websockets_pass(driver: &str) {
    let server = web_peers::node("ws", 0, Duration::from_secs(5));
    let node = proxy(driver, &[server.addr]);
    let files = open_files(&node);
    let mut command = Command::new("node");
    command.env("NODE_PATH", tools::node_modules()).arg(script("websocket.js"));
    let text = tools::must(command.arg(node.http[0].to_string()), LIMIT);
    assert_eq!(text, "ok\n");
    assert_eq!(counter(&node, "corelane_http_tunnels_total", &[]), 52);
    drop(server);
    expect_files_back(&node, files);
}

fn chromium_shows_a_page(driver: &str) {
    let server = web_peers::node("page", 0, Duration::from_secs(5));
    let node = proxy(driver, &[server.addr]);
    let browser = web_peers::chromium(&format!("http://{}/", node.http[0]));
    let told = server.line("report ", LIMIT);
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let expected = serde_json::json!({
        "image": 16, "style": "rgb(1, 2, 3)", "parts": 30, "echo": true,
        "message": "over a socket", "socket": 4001,
    });
    assert_eq!(told, expected);
    drop(browser);
    assert_eq!(counter(&node, "corelane_http_errors_total", &["status=\"5"]), 0);
}

on_each_driver!(
    curl_gets_and_sends,
    curl_keeps_its_connection,
    curl_upgrades,
    wrk_loads_it,
    httpx_works,
    node_fetch_works,
    websockets_pass,
    chromium_shows_a_page,
);
