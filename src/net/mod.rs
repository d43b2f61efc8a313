//! Access to servers: TLS as used in grids, secrets, and errors of connections.

pub(crate) mod path_names;
pub(crate) mod secret;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod uri;
