//! Both listeners: handed over by the service manager where it keeps them, bound otherwise.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Error;
use crate::adapters::systemd::Inherited;
use crate::config::Config;

/// Both listeners, bound.
pub struct Listeners {
    /// The shop.
    pub public: TcpListener,
    /// The admin.
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds the configured addresses.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        Self::take(config, Vec::new()).await
    }

    /// Takes over what was handed over, and binds what was not. A socket is the public or the admin listener by its name
    /// (`FileDescriptorName=public` or `admin`), else by its address.
    ///
    /// # Errors
    /// An address cannot be listened on, or a socket is neither.
    pub async fn take(config: &Config, inherited: Vec<Inherited>) -> Result<Self, Error> {
        let (mut public, mut admin) = (None, None);
        for socket in inherited {
            let address = socket.listener.local_addr()?;
            let place = match socket.name.as_str() {
                "public" => &mut public,
                "admin" => &mut admin,
                _ if address == config.server.listen => &mut public,
                _ if address == config.admin.listen => &mut admin,
                _ => return Err(Error::Stray(address)),
            };
            if place.replace(TcpListener::from_std(socket.listener)?).is_some() {
                return Err(Error::Stray(address));
            }
        }
        let or_bind = async |taken: Option<TcpListener>, address: SocketAddr| match taken {
            Some(listener) => Ok(listener),
            None => TcpListener::bind(address).await.map_err(|why| Error::Listen(address, why)),
        };
        Ok(Self {
            public: or_bind(public, config.server.listen).await?,
            admin: or_bind(admin, config.admin.listen).await?,
        })
    }
}
