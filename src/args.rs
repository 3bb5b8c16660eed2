//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use controlplane::ProxyFlag;
use shards::limit;
use shards::settings::parse_bytes;

/// A thread-per-core data plane: an HTTP/1.1 reverse proxy with rate limits, and a cache and rate
/// limiter that speak Redis' protocol.
#[derive(Debug, Parser)]
#[command(name = "corelane", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeOptions,
}

/// What the command line says; ends the process with a usage error when it cannot be understood.
pub(crate) fn read() -> Command {
    let cli = Cli::parse();
    // `corelane` alone is `corelane serve`.
    let command = cli.command.unwrap_or(Command::Serve(cli.serve));
    if let Command::Serve(options) = &command
        && options.print
        && options.proxy.is_empty()
    {
        let text = "--print prints the documents that --proxy stands for: give it a --proxy";
        Cli::command().error(ErrorKind::MissingRequiredArgument, text).exit();
    }
    command
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of them, once")]
pub(crate) enum Command {
    /// Run a node (the default).
    Serve(ServeOptions),
    /// Say all that is wrong with a configuration, without a node.
    Validate {
        /// Files, and directories whose files are read (*.yaml, *.yml, *.json).
        #[arg(short = 'f', long = "file", value_name = "FILE_OR_DIR", num_args = 1.., required = true)]
        files: Vec<PathBuf>,
    },
    /// Say what a kind of document is, or a field of it.
    Explain {
        /// As in HTTPRoute or HTTPRoute.spec.rules; without, all kinds are listed.
        #[arg(value_name = "KIND[.FIELD...]")]
        what: Option<String>,
    },
    /// Print a JSON Schema of configurations, for editors.
    Schema {
        /// Of this kind alone.
        kind: Option<String>,
    },
}

/// Flags of `corelane serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeOptions {
    /// Where Redis clients connect; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6379", value_parser = address_as_in("127.0.0.1:6379"))]
    pub(crate) resp: SocketAddr,
    /// Where clients of a cluster connect: the first shard's port, which the others' follow;
    /// `off` for none. By default 127.0.0.1:7000, or none where those ports are taken.
    #[arg(long, value_name = "ADDRESS", value_parser = listen_as_in("127.0.0.1:7000"))]
    pub(crate) cluster: Option<Listen>,
    /// Where HTTP clients connect. By default 127.0.0.1:8080, or nowhere where that port is taken
    /// and no route needs it. Gateways listen on the same host; `off` for no port but theirs, on
    /// 127.0.0.1.
    #[arg(long, value_name = "ADDRESS", value_parser = listen_as_in("127.0.0.1:8080"))]
    pub(crate) http: Option<Listen>,
    /// File, or named pipe that has a reader, that a JSON line is added to for each HTTP request;
    /// SIGHUP opens it anew.
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,
    /// File of YAML or JSON documents, or a directory of such files; may be given several times.
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub(crate) config: Vec<PathBuf>,
    /// Send requests for a host and paths below a path (all, without) to a backend, as in
    /// example.com/api=http://127.0.0.1:9000; may be given several times, for one place, too.
    #[arg(long, value_name = "[HOST/PATH=]URL")]
    pub(crate) proxy: Vec<ProxyFlag>,
    /// Print the documents that --proxy stands for and end.
    #[arg(long)]
    pub(crate) print: bool,
    /// Where health checks and metrics are, a loopback address; `off` for nowhere.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = listen_as_in("127.0.0.1:9901"))]
    pub(crate) admin: Listen,
    /// How to talk to the kernel.
    #[arg(long, value_enum, default_value_t = DriverChoice::Auto)]
    pub(crate) driver: DriverChoice,
    /// Shards, one thread each; by default one on each core that this process may use, at most
    /// eight for each.
    #[arg(long, value_name = "N")]
    pub(crate) shards: Option<u16>,
    /// Cores for the shards, as in 0,2-3; by default all that are allowed.
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    pub(crate) cpus: Option<CpuList>,
    /// Memory for keys and values, as in 512mb or 4gb; 0, the default, for no limit. What a
    /// Keyspace says of it does not count then.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) maxmemory: Option<u64>,
    /// Buckets of rate limits that owe something at a time, divided among the shards.
    #[arg(long, value_name = "N", default_value_t = limit::DEFAULT_BUCKETS, value_parser = clap::value_parser!(u32).range(1..=i64::from(limit::MOST_BUCKETS)))]
    pub(crate) limit_buckets: u32,
    /// File that holds the password clients have to give.
    #[arg(long, value_name = "FILE")]
    pub(crate) requirepass_file: Option<PathBuf>,
    /// Microseconds to look for work before sleeping; 0 for not at all.
    #[arg(long, value_name = "US", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) spin: u32,
}

/// Drivers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DriverChoice {
    /// io_uring where the kernel allows it, epoll otherwise.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Nowhere.
    Off,
    /// There; port 0 takes a free one.
    At(SocketAddr),
}

/// Cores by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuList(pub(crate) Vec<usize>);

pub(crate) fn parse_cpus(text: &str) -> Result<CpuList, String> {
    let wrong = || format!("expected core numbers and ranges, as in 0,2-3, not '{text}'");
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: usize = from.parse().map_err(|_| wrong())?;
        let to: usize = to.parse().map_err(|_| wrong())?;
        if from > to || to > 4096 {
            return Err(wrong());
        }
        cpus.extend((from..=to).filter(|cpu| !cpus.contains(cpu)).collect::<Vec<_>>());
    }
    Ok(CpuList(cpus))
}

fn address_as_in(
    example: &'static str,
) -> impl Fn(&str) -> Result<SocketAddr, String> + Clone + Send + Sync + 'static {
    move |text| {
        text.parse().map_err(|_| format!("expected an IP address and a port, as in {example}"))
    }
}

fn listen_as_in(
    example: &'static str,
) -> impl Fn(&str) -> Result<Listen, String> + Clone + Send + Sync + 'static {
    move |text| match text {
        "off" => Ok(Listen::Off),
        _ => text
            .parse()
            .map(Listen::At)
            .map_err(|_| format!("expected an IP address and a port, as in {example}, or off")),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text)
        .ok_or_else(|| format!("expected bytes, as in 100000, 512mb or 4gb, not '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn where_to_listen() {
        let listen = listen_as_in("127.0.0.1:7000");
        assert_eq!(listen("off"), Ok(Listen::Off));
        assert_eq!(listen("[::1]:7"), Ok(Listen::At("[::1]:7".parse().unwrap())));
        for bad in ["on", "7000", "localhost:7000", "127.0.0.1", ""] {
            assert!(listen(bad).is_err_and(|why| why.contains("127.0.0.1:7000, or off")), "{bad}");
        }
    }

    #[test]
    fn core_lists() {
        assert_eq!(parse_cpus("0,2-4"), Ok(CpuList(vec![0, 2, 3, 4])));
        assert_eq!(parse_cpus("2,0-2,2"), Ok(CpuList(vec![2, 0, 1])), "each once");
        for bad in ["", "x", "3-1", "1,", "-1"] {
            assert!(parse_cpus(bad).is_err(), "{bad}");
        }
    }
}
