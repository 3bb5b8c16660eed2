//! What touches sockets and disks: the event loop of a shard, the codecs, the servers.

pub mod bridge;
pub mod cache_server;
pub mod http1;
pub mod memory;
pub mod mesh;
pub mod net;
pub mod proxy;
pub mod publish;
pub mod resp;
pub mod runtime;
pub mod telemetry;
