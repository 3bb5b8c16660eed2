//! What touches sockets and disks: the event loop of a shard, the codecs, the servers.

pub mod cache_server;
pub mod net;
pub mod resp;
pub mod runtime;
pub mod telemetry;
