//! The command line about configurations: validate, explain, schema, and the documents that
//! flags stand for. No node is started.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use support::node::{binary, fresh_dir};
use support::tools;

fn corelane(args: &[&str]) -> Output {
    tools::run(Command::new(binary()).args(args), Duration::from_secs(10))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

/// Runs it to a good end; returns what it said.
#[track_caller]
fn good(args: &[&str]) -> String {
    let output = corelane(args);
    let (said, complaint) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success() && complaint.is_empty(), "{args:?}: {said}{complaint}");
    said
}

/// Runs it to a bad end; returns its complaint.
#[track_caller]
fn bad(args: &[&str], status: i32) -> String {
    let output = corelane(args);
    let (said, complaint) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(status), "{args:?}: {said}{complaint}");
    assert!(said.is_empty(), "errors go to stderr: {said}");
    complaint
}

fn manifests(folder: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("controlplane/tests/manifests");
    tests.join(folder)
}

#[test]
fn a_right_configuration_is_one_line() {
    let file = manifests("good/shop.yaml").display().to_string();
    let said = good(&["validate", "-f", &file]);
    assert!(said.starts_with("valid: 1 file, 10 documents: 3 rules"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_directory_is_its_files_by_name() {
    let folder = fresh_dir();
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n";
    for name in ["b.yml", "a.yaml", "c.json", ".d.yaml", "e.txt"] {
        fs::write(folder.join(name), service).expect("write");
    }
    let named = folder.display().to_string();
    let complaint = bad(&["validate", "-f", &named], 1);
    let lines: Vec<_> = complaint.lines().collect();
    assert_eq!(lines.len(), 3, "{complaint}");
    assert_eq!(lines[0], "corelane: 2 errors in the configuration");
    let first = format!("the first is at {named}/a.yaml:3:18");
    assert!(lines[1].starts_with(&format!("{named}/b.yml:3:18: ")), "{complaint}");
    assert!(lines[2].starts_with(&format!("{named}/c.json:3:18: ")), "{complaint}");
    assert!(lines[1..].iter().all(|line| line.ends_with(&first)), "{complaint}");
    fs::remove_dir_all(folder).expect("remove");
}

#[test]
fn what_cannot_be_read_is_told_with_the_rest() {
    let folder = fresh_dir();
    fs::write(folder.join("a.yaml"), b"a: \xff").expect("write");
    let named = folder.display().to_string();
    let ports = manifests("bad/ports.yaml").display().to_string();
    let complaint = bad(&["validate", "-f", &named, "/nowhere/x.yaml", "-f", &ports], 1);
    for part in [
        "4 errors in the configuration",
        "/a.yaml: not UTF-8 from byte 3 on",
        "/nowhere/x.yaml: no such file or directory",
        "ports.yaml:14:21: ",
    ] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
    fs::remove_dir_all(folder).expect("remove");
}

/// Whoever copies the page has a configuration.
#[test]
fn the_examples_of_the_documentation_are_one_configuration() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let page = fs::read_to_string(page).expect("the page");
    let blocks = page.split("```yaml\n").skip(1);
    let blocks: Vec<_> = blocks.map(|rest| rest.split("```").next().expect("its end")).collect();
    assert!(blocks.len() >= 6, "one for each kind");
    let folder = fresh_dir();
    let file = folder.join("all.yaml");
    fs::write(&file, blocks.join("---\n")).expect("write");
    let said = good(&["validate", "-f", &file.display().to_string()]);
    let expected = format!("valid: 1 file, {} documents: 1 rule, 1 backend with 2", blocks.len());
    assert!(said.starts_with(&expected), "{said}");
    fs::remove_dir_all(folder).expect("remove");
}

/// A link that leads nowhere would take its documents from a node without a word.
#[test]
fn what_is_named_as_a_manifest_and_is_no_file_is_told() {
    let folder = fresh_dir();
    let path = |name: &str| folder.join(name);
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n";
    fs::write(path("a.yaml"), service).expect("write");
    fs::create_dir(path("folder.yaml")).expect("a folder");
    let named = folder.display().to_string();
    good(&["validate", "-f", &named]);
    symlink("/nonexist", path("l.yaml")).expect("a link");
    symlink("r.yaml", path("r.yaml")).expect("a link");
    symlink("a.yaml", path("ignored.txt")).expect("a link");
    let mkfifo = tools::run(Command::new("mkfifo").arg(path("p.json")), Duration::from_secs(10));
    assert!(mkfifo.status.success());
    let _socket = UnixListener::bind(path("s.yml")).expect("a socket");
    let complaint = bad(&["validate", "-f", &named], 1);
    for part in [
        "4 errors in the configuration",
        "/l.yaml: a link to /nonexist: no such file or directory",
        "/r.yaml: a link to r.yaml: too many levels of symbolic links",
        "/p.json: expected a file, not a pipe",
        "/s.yml: expected a file, not a pipe",
    ] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
    fs::remove_dir_all(folder).expect("remove");
}

#[test]
fn explain_says_what_a_field_is() {
    let page = good(&["explain", "HTTPRoute"]);
    assert!(page.contains("EXAMPLE:") && page.contains("spec <object>, required"), "{page}");
    let page = good(&["explain", "httproute.spec.rules.matches.path.type"]);
    for part in
        ["<string>, default PathPrefix", "PathPrefix or Exact", "Not supported yet: Regular"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let complaint = bad(&["explain", "HTTPRoute.spec.rulse"], 1);
    assert_eq!(complaint, "corelane: HTTPRoute.spec has no field 'rulse'; did you mean rules?\n");
    // Of the fields of Gateway API those that are supported: not useDefaultGateways.
    let complaint = bad(&["explain", "HTTPRoute.spec.filters"], 1);
    let there = "there is parentRefs, hostnames, rules";
    assert_eq!(complaint, format!("corelane: HTTPRoute.spec has no field 'filters'; {there}\n"));
    let complaint = bad(&["explain", "HTTPRout"], 1);
    assert_eq!(complaint, "corelane: there is no kind 'HTTPRout'; did you mean HTTPRoute?\n");
}

#[test]
fn the_schema_is_json() {
    let schema: Value = serde_json::from_str(&good(&["schema"])).expect("JSON");
    let kinds = schema["oneOf"].as_array().expect("kinds");
    let names: Vec<_> = kinds.iter().map(|kind| kind["title"].as_str().expect("a name")).collect();
    assert_eq!(
        names,
        ["Gateway", "HTTPRoute", "Service", "EndpointSlice", "RateLimitPolicy", "Keyspace"]
    );
    let schema: Value = serde_json::from_str(&good(&["schema", "HTTPRoute"])).expect("JSON");
    let rule = &schema["properties"]["spec"]["properties"]["rules"]["items"];
    assert_eq!(rule["additionalProperties"], false);
    assert!(rule["properties"]["matches"].is_object() && rule["properties"]["filters"].is_null());
    bad(&["schema", "Gatway"], 1);
}

#[test]
fn flags_are_documents() {
    let flags = [
        "serve",
        "--print",
        "--proxy",
        "example.com/api=http://127.0.0.1:9000",
        "--proxy",
        "example.com/api=http://[::1]:9001",
        "--proxy",
        "http://localhost",
    ];
    let printed = good(&flags);
    let folder = fresh_dir();
    let file = folder.join("printed.yaml");
    fs::write(&file, &printed).expect("write");
    let said = good(&["validate", "-f", &file.display().to_string()]);
    assert_eq!(
        said,
        "valid: 1 file, 7 documents: 2 rules, 2 backends with 3 endpoints, 0 limits\n"
    );
    fs::remove_dir_all(folder).expect("remove");
}

/// A flag that is not listened to would be worse than an error: one of them is the password's.
#[test]
fn flags_before_a_subcommand_are_a_usage_error() {
    for flags in [
        &["--requirepass-file", "/nonexistent/pw", "--proxy", "http://127.0.0.1:9101"][..],
        &["--resp", "127.0.0.1:0"],
        &["--config", "/nonexistent", "--http", "127.0.0.1:0"],
        &["--driver", "epoll"],
        &["--print", "--proxy", "http://127.0.0.1:9101"],
    ] {
        for subcommand in [
            &["serve", "--config=/nonexistent"][..],
            &["validate", "-f", "/nonexistent"],
            &["explain", "Service"],
            &["schema"],
        ] {
            let complaint = bad(&[flags, subcommand].concat(), 2);
            let told = format!("'{}' cannot be used with", subcommand[0]);
            for part in [&*told, flags[0], "<COMMAND>"] {
                assert!(complaint.contains(part), "{part}: {complaint}");
            }
        }
    }
}

#[test]
fn help_says_what_it_is_and_what_goes_together() {
    let help = good(&["--help"]);
    let first = help.split("\n\n").next().expect("words");
    for part in ["HTTP/1.1 reverse proxy", "cache", "rate limit"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(!help.contains("[OPTIONS] [COMMAND]"), "not both: {help}");
}

#[test]
fn print_without_anything_to_print_is_a_usage_error() {
    for args in [&["serve", "--print"][..], &["--print"], &["--print", "--config", "/nonexistent"]]
    {
        let complaint = bad(args, 2);
        assert!(complaint.contains("the documents that --proxy stands for"), "{complaint}");
    }
}

#[test]
fn addresses_are_told_by_example() {
    for (flag, given, expected) in [
        ("--resp", "localhost:6379", "as in 127.0.0.1:6379"),
        ("--resp", "6379", "as in 127.0.0.1:6379"),
        ("--http", "80", "as in 127.0.0.1:8080, or off"),
        ("--cluster", "on", "as in 127.0.0.1:7000, or off"),
        ("--admin", "9901", "as in 127.0.0.1:9901, or off"),
    ] {
        let complaint = bad(&["serve", flag, given], 2);
        assert!(complaint.contains(expected) && complaint.contains(given), "{complaint}");
    }
}

#[test]
fn wrong_flags_are_told() {
    let complaint = bad(&["serve", "--proxy", "https://127.0.0.1"], 2);
    assert!(complaint.contains("https to a backend is not supported yet"), "{complaint}");
    let complaint = bad(&["serve", "--print", "--proxy", "Example.com=http://127.0.0.1"], 1);
    assert!(
        complaint.contains("--proxy:6:15: spec.hostnames[0]: expected a DNS name"),
        "{complaint}"
    );
    let wrong = manifests("bad/ports.yaml").display().to_string();
    let output = corelane(&["serve", "--config", &wrong, "--resp", "127.0.0.1:0"]);
    let complaint = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "a wrong file ends the start: {complaint}");
    assert!(complaint.contains("2 errors in the configuration"), "{complaint}");
}
