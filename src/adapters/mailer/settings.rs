//! The mailer's settings, made of the configuration's.

use super::{Route, Settings, SmtpServer, Tls};
use crate::config::{self, Config};

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let server = |server: &config::SmtpServer| SmtpServer {
            host: server.host.clone(),
            port: server.port,
            tls: match server.tls {
                config::Tls::None => Tls::None,
                config::Tls::Opportunistic => Tls::Opportunistic,
                config::Tls::StartTls => Tls::Required,
                config::Tls::Implicit => Tls::Implicit,
            },
            login: server.login.as_ref().map(|(user, password)| (user.clone(), password.expose().to_owned())),
            authorities: config.mail.authorities.as_ref().map(|own| own.pem.clone()),
        };
        let route = match &config.mail.route {
            config::Route::File(folder) => Route::File(folder.clone()),
            config::Route::Smtp(first) => Route::Smtp(server(first)),
        };
        Settings {
            route,
            from: config.mail.from.clone(),
            from_name: config.mail.from_name.expose().to_owned(),
            merchant: config.merchant.clone(),
            reply_to: config.mail.reply_to.clone(),
            bounce_to: config.mail.bounce_to.clone(),
            fallback: config.mail.fallback.as_ref().map(server),
            per_hour: config.mail.per_hour,
            attach_receipt: config.mail.attach_receipt,
            public_url: config.server.public_url.clone(),
            timeout: config.mail.timeout,
            connections_max: config.mail.connections_max,
        }
    }
}
