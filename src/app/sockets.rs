//! Both listeners: handed over by the service manager where it keeps them, bound otherwise.

mod unix;

use tokio::net::{TcpListener, UnixListener};

use super::Error;
use crate::adapters::systemd::{Handed, Inherited};
use crate::config::{Config, Listen};
use crate::http::Listener;
pub(super) use unix::Own;

/// Both listeners, bound.
pub struct Listeners {
    /// The shop.
    pub public: Bound,
    /// The admin.
    pub admin: Bound,
}

/// A listener, and where it is.
pub struct Bound {
    pub(super) listener: Listener,
    pub(super) place: Listen,
    /// A unix socket of our own: it goes when we do. The service manager's stays.
    pub(super) own: Option<Own>,
}

impl Bound {
    /// A listener at an address.
    ///
    /// # Errors
    /// It has none.
    pub fn tcp(listener: TcpListener) -> std::io::Result<Self> {
        let place = Listen::Tcp(listener.local_addr()?);
        Ok(Self { listener: listener.into(), place, own: None })
    }

    async fn at(place: &Listen) -> std::io::Result<Self> {
        match place {
            Listen::Tcp(address) => Self::tcp(TcpListener::bind(address).await?),
            Listen::Unix(path) => {
                let (listener, own) = unix::bind(path).await?;
                Ok(Self { listener: Listener::Unix(listener), place: place.clone(), own: Some(own) })
            }
        }
    }
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
        for Inherited { name, place, listener } in inherited {
            let taken = match name.as_str() {
                "public" => &mut public,
                "admin" => &mut admin,
                _ if place == config.server.listen => &mut public,
                _ if place == config.admin.listen => &mut admin,
                _ => return Err(Error::Stray(place)),
            };
            if taken.is_some() {
                return Err(Error::Stray(place));
            }
            let listener = match listener {
                Handed::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
                Handed::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
            };
            *taken = Some(Bound { listener, place, own: None });
        }
        let or_bind = async |taken: Option<Bound>, place: &Listen| match taken {
            Some(bound) => Ok(bound),
            None => Bound::at(place).await.map_err(|why| Error::Listen(place.clone(), why)),
        };
        Ok(Self {
            public: or_bind(public, &config.server.listen).await?,
            admin: or_bind(admin, &config.admin.listen).await?,
        })
    }
}
