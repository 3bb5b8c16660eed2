//! Twenty thousand idle HTTP connections, or as many as the limit of open files allows: what each
//! costs, and that the node goes on.

#![forbid(unsafe_code)]

mod support;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use support::web::Web;
use support::web_node::{allow_files, counter, expect_files_back, open_files, proxy};
use support::web_server::Upstream;
use support::{eventually, tell};

/// Open files of this process are shared by its tests: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

const WANTED: usize = 20_000;
/// Open files that a node keeps for itself; of the others it gives fifteen of sixteen to clients.
const OWN: usize = 64;
/// Clients that the test has besides, with some to spare.
const OTHERS: usize = 50;
/// Clients that speak at the same time.
const AT_A_TIME: usize = 200;
/// Most that an idle connection may cost, in bytes of the node's resident memory.
const BYTES_EACH: u64 = 1024;

/// Connections that a node takes, up to those wanted. The test's own process has the same limit
/// and needs no more files than the node: one a client, and two for each of the node's connections
/// to the server behind, which are no more than speak at a time.
fn allowed() -> usize {
    let files = allow_files(3 * WANTED as u64) as usize;
    let clients = (files - OWN) / 16 * 15 - OTHERS;
    assert!(clients + 2 * AT_A_TIME + OTHERS < files, "the test's own process has no room");
    WANTED.min(clients) / AT_A_TIME * AT_A_TIME
}

fn idle_connections_are_cheap(driver: &str) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = allowed();
    let upstream = Upstream::start();
    let node = proxy(driver, &[upstream.addr]);
    let files = open_files(&node);
    let mut first = Web::connect(node.http[0]);
    assert_eq!(first.get("/bytes/1000").status, 200);
    let before = node.resident_bytes();
    let mut clients: Vec<Web> = Vec::with_capacity(count);
    while clients.len() < count {
        let from = clients.len();
        clients.extend((0..AT_A_TIME).map(|_| Web::connect(node.http[0])));
        for web in &mut clients[from..] {
            web.send("GET /bytes/1000 HTTP/1.1\r\nHost: a\r\nUser-Agent: one of many\r\n\r\n");
        }
        for web in &mut clients[from..] {
            let answer = web.answer();
            assert_eq!((answer.status, answer.body.len()), (200, 1_000), "{}", answer.head);
            web.forget_buffer();
        }
    }
    let open = counter(&node, "corelane_http_connections", &["side=\"client\""]);
    assert_eq!(open, count as u64 + 1);
    let each = node.resident_bytes().saturating_sub(before) / count as u64;
    tell(&format!("{driver}: {each} bytes for each of {count} idle HTTP connections"));
    assert!(each <= BYTES_EACH, "{each} bytes an idle connection");
    assert_eq!(first.get("/bytes/7").status, 200);
    assert_eq!(clients[count / 2].get("/bytes/9").body.len(), 9);
    drop(clients);
    eventually("all are gone", Duration::from_secs(20), || {
        counter(&node, "corelane_http_connections", &["side=\"client\""]) == 1
    });
    assert_eq!(first.get("/bytes/11").status, 200);
    drop((first, upstream));
    expect_files_back(&node, files);
}

on_each_driver!(idle_connections_are_cheap);
