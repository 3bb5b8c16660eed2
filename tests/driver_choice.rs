//! Which driver runs: chosen by the node, forced by a flag, staged by forbidding io_uring.

#![forbid(unsafe_code)]

mod support;

use support::{Node, Options};

/// An unprivileged user and group: Debian's `nobody`.
const NOBODY: u32 = 65_534;

/// That the node runs on epoll, says so and why in one line, and works.
#[track_caller]
fn falls_back(options: Options, because: &[&str]) -> Node {
    let node = Node::start_with(options);
    assert_eq!(node.driver, "epoll");
    let output = node.output();
    let listens = output.lines().find(|line| line.starts_with("resp listening on "));
    let line = listens.expect("the line was there").to_lowercase();
    assert!(line.contains("(driver epoll"), "it says what runs: {line}");
    assert!(because.iter().any(|word| line.contains(word)), "and why, one of {because:?}: {line}");
    assert!(!output.contains("panicked"), "{output}");
    let mut client = node.client();
    assert_eq!(client.call("SET k v").text(), "OK");
    assert_eq!(client.call("GET k").text(), "v");
    node
}

#[test]
fn io_uring_is_chosen_where_it_can_be_had() {
    let node = Node::start_with(Options::default());
    assert_eq!(node.driver, "uring");
}

#[test]
fn io_uring_forbidden() {
    falls_back(Options { forbid_uring: true, ..Options::default() }, &["forbid", "seccomp"]);
}

/// Root may lock what it wants, so the limit counts for another user only.
#[test]
fn no_locked_memory() {
    let options =
        Options { ulimit: Some("-l 0".to_owned()), user: Some(NOBODY), ..Options::default() };
    let node = falls_back(options, &["locked memory"]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.pid())).expect("limits");
    let locked = limits.lines().find(|line| line.starts_with("Max locked memory"));
    let words: Vec<_> = locked.expect("the limit").split_whitespace().collect();
    assert_eq!(words[3..5], ["0", "0"], "nothing may be locked");
    let mut client = node.client();
    let big = "v".repeat(4 << 20);
    assert_eq!(client.command(&["SET", "big", &big]).text(), "OK");
    assert_eq!(client.call("GET big").text(), big);
}

#[test]
fn io_uring_forbidden_and_no_locked_memory() {
    let ulimit = Some("-l 0".to_owned());
    falls_back(
        Options { forbid_uring: true, ulimit, ..Options::default() },
        &["forbid", "seccomp", "locked"],
    );
}

/// Asked for by name and not to be had: an error, not another driver.
#[test]
fn io_uring_by_name_is_not_replaced() {
    let options = Options { forbid_uring: true, ..Options::driver("uring") };
    let Err(said) = Node::try_start(options) else { panic!("it must not start") };
    assert!(said.contains("io_uring"), "{said}");
    assert!(said.contains("--driver"), "it says what to do: {said}");
    assert!(!said.contains("panicked"), "{said}");
}
